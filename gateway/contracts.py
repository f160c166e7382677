"""The services that the contracts describe, as the gateway sees them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from mesh.contract.catalogue import Catalogue, HttpRoute, Method, is_map, load_catalogue
from mesh.contract.image import image

_PACKAGE = re.compile(r"^secmesh\.([a-z]+)\.v[0-9]+$")
KIBIBYTE = 1024
PLAIN_BODY_BYTES = 4 * 1024 * KIBIBYTE
"""Largest JSON body of a method whose contract asks for no more."""


class ServiceUnknown(Exception):
    """An address is given for a service that no contract describes."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no contract describes {name!r}; there are: {', '.join(sorted(known))}")


@dataclass(frozen=True)
class Deployable:
    """One process behind the gateway: a package with services."""

    name: str
    """Middle of the package's name: ``inventory`` of ``secmesh.inventory.v1``."""
    catalogue: Catalogue

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods in the order of their gRPC paths."""
        return tuple(self.catalogue.methods[path] for path in sorted(self.catalogue.methods))


@cache
def deployables() -> Mapping[str, Deployable]:
    """Give every deployable of the contracts by its name."""
    packages = {file.package for file in image().file if file.service}
    found: dict[str, Deployable] = {}
    for package in sorted(packages):
        if match := _PACKAGE.match(package):
            found[match[1]] = Deployable(match[1], load_catalogue(package))
    return MappingProxyType(found)


def select(names: Iterable[str]) -> tuple[Deployable, ...]:
    """Give the named deployables, sorted by name.

    Raises ServiceUnknown for a name without contract.
    """
    known = deployables()
    chosen = sorted(set(names))
    for name in chosen:
        if name not in known:
            raise ServiceUnknown(name, known)
    return tuple(known[name] for name in chosen)


def map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """Give the field that holds the values of a map, or None if the field is no map."""
    entry = field.message_type
    return entry.fields_by_name["value"] if entry is not None and is_map(field) else None


def field_at(message: Descriptor, path: str) -> FieldDescriptor | None:
    """Give the field that a dotted path leads to, by proto or JSON names, or None."""
    holder: Descriptor | None = message
    field: FieldDescriptor | None = None
    for name in path.split("."):
        if holder is None or (field is not None and field.is_repeated):
            return None
        field = field_named(holder, name)
        if field is None:
            return None
        holder = field.message_type
    return field


def field_named(message: Descriptor, name: str) -> FieldDescriptor | None:
    """Give a field by its proto or JSON name, or None."""
    return message.fields_by_name.get(name) or message.fields_by_camelcase_name.get(name)


def body_bytes(method: Method, route: HttpRoute) -> int:
    """Give the largest JSON body of a route in bytes.

    Every body may have 4 MiB. Where the contract bounds a ``bytes`` field higher,
    the body may hold its base64 form (RFC 4648: 4 characters for 3 bytes) as well. 0 for an
    upload, of which the edge reads nothing.
    """
    if method.upload is not None:
        return 0  # no JSON, and nothing the edge reads
    request = method.descriptor.input_type
    target = request if route.body == "*" else None
    if route.body and target is None:
        field = field_named(request, route.body)
        target = field.message_type if field is not None else None
    if target is None:
        return PLAIN_BODY_BYTES
    extra = 0
    for field in target.fields:
        if field.type == FieldDescriptor.TYPE_BYTES and not field.is_repeated:
            rules = field.GetOptions().Extensions[validate_pb2.field]
            extra += -(-rules.bytes.max_len // 3) * 4
    return max(PLAIN_BODY_BYTES, extra + 64 * KIBIBYTE if extra else 0)
