"""What one service serves and keeps, read from its contracts and checked once at start-up."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, cached_property
from types import MappingProxyType

from google.api import annotations_pb2, field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import (
    Descriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)

from mesh.contract.image import package_files
from mesh.contract.names import NamePattern
from secmesh.options.v1 import field_pb2, kind_pb2, method_pb2
from secmesh_client.contract import is_idempotent, time_limit

HTTP_BODY = "google.api.HttpBody"
KIND_PLACEHOLDER = "{kind}"
NAME = "name"
"""The field of a resource name, which is kept as its ids."""
REQUEST_ID = "request_id"
WATCH_RECORDS = "WatchRecords"
_TENANT_AND_ID = 2
_PATH_VARIABLE = re.compile(r"\{([a-z_.]+)[=}]")
_PERMISSION = re.compile(r"^(\{kind\}|[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*)\.[a-z][a-z0-9_]*$")


class CatalogueError(Exception):
    """The contracts break a rule of their own; the message names the culprit."""

    def __init__(self, culprit: str, problem: str) -> None:
        super().__init__(f"{culprit}: {problem}")
        self.culprit = culprit
        self.problem = problem


def field_option(field: FieldDescriptor) -> field_pb2.Field:
    """Give the storage and disclosure rules of a field."""
    return field.GetOptions().Extensions[field_pb2.field]


def is_map(field: FieldDescriptor) -> bool:
    """Tell whether a field is a map."""
    message = field.message_type
    return bool(message is not None and message.GetOptions().map_entry)


@dataclass(frozen=True)
class Kind:
    """A message with a table: the body of a record, or a resource of its own."""

    descriptor: Descriptor
    option: kind_pb2.Kind
    pattern: NamePattern
    envelope: Descriptor | None = None
    """The message around a record's body; None for a resource of its own."""
    body_field: str | None = None
    """The envelope's oneof field that holds the body."""
    references: Mapping[str, NamePattern] = dataclasses.field(default_factory=dict)
    """Names that its references hold, by field."""

    @cached_property
    def collection(self) -> str:
        return self.option.collection

    @property
    def message(self) -> Descriptor:
        """The message that travels: the envelope of a record, else the resource itself."""
        return self.envelope if self.envelope is not None else self.descriptor

    def is_resource_name(self, field: FieldDescriptor) -> bool:
        """Tell whether a field holds the resource name; a body may have a name of its own."""
        holder = field.containing_type
        return (
            field.name == NAME and holder is not None and holder.full_name == self.message.full_name
        )

    def permission(self, verb: str) -> str:
        return f"{self.option.module}.{self.option.collection}.{verb}"

    @cached_property
    def key_needs(self) -> str:
        """The last field of the natural key, if a record may lack it and then has no such key.

        Empty where the key always holds. Of the other parts, absence is a value.
        """
        if not self.option.natural_key:
            return ""
        last = self.option.natural_key[-1]
        known = {field.name: field for field in (*self.envelope_fields, *self.descriptor.fields)}
        behaviour = known[last].GetOptions().Extensions[field_behavior_pb2.field_behavior]
        required = field_behavior_pb2.REQUIRED in behaviour
        return last if known[last].has_presence and not required else ""

    @cached_property
    def envelope_fields(self) -> tuple[FieldDescriptor, ...]:
        """The envelope's own fields, without the bodies."""
        if self.envelope is None:
            return ()
        return tuple(
            field
            for field in self.envelope.fields
            if field.containing_oneof is None or field.containing_oneof.name != "body"
        )


@dataclass(frozen=True)
class HttpRoute:
    """One REST binding of a method (google.api.http)."""

    verb: str
    """GET, POST, PATCH, PUT or DELETE."""
    template: str
    body: str
    """Empty, ``*`` for the whole request, or the field that the JSON body fills."""


@dataclass(frozen=True)
class Upload:
    """A file that a stream of requests brings, part by part."""

    field: str
    """Field of the request that holds a part, a ``google.api.HttpBody``."""
    max_bytes: int
    """Largest file."""


@dataclass(frozen=True)
class Method:
    """One RPC with the rules its contract states."""

    descriptor: MethodDescriptor
    path: str
    """As gRPC writes it, ``/package.Service/Method``."""
    permission: str
    timeout: timedelta
    idempotent: bool
    """Safe to send again: stated NO_SIDE_EFFECTS or IDEMPOTENT."""
    routes: tuple[HttpRoute, ...]
    names: tuple[str, ...]
    """Request fields that hold resource names, whose tenant must be the caller's.

    Dotted where the name stands in a resource of the request, as ``record.name``.
    """
    upload: Upload | None = None
    """None for a method that takes no file."""
    any_kind: bool = False
    """Asked of all collections, the permission for one kind is enough."""
    without_token: bool = False
    """Open to callers without a token; has no permission."""
    of_removed_tenants: bool = False
    """Served of tenants that were removed as well."""

    @property
    def per_kind(self) -> bool:
        """Whether the permission depends on the kind named by the request."""
        return KIND_PLACEHOLDER in self.permission

    @property
    def repeatable(self) -> bool:
        """Whether requests can name themselves by a ``request_id``, to be done once (AIP-155)."""
        field = self.descriptor.input_type.fields_by_name.get(REQUEST_ID)
        streams = self.descriptor.client_streaming or self.descriptor.server_streaming
        return field is not None and field.type == FieldDescriptor.TYPE_STRING and not streams


@dataclass(frozen=True)
class Catalogue:
    """All kinds and methods of one package."""

    package: str
    kinds: Mapping[str, Kind]
    """By collection."""
    methods: Mapping[str, Method]
    """By gRPC path."""

    @cached_property
    def record_kinds(self) -> Mapping[str, Kind]:
        """The kinds that live in the Record envelope, by collection."""
        return {name: kind for name, kind in self.kinds.items() if kind.envelope is not None}

    @cached_property
    def watched(self) -> bool:
        """Whether changes of records can be followed (WatchRecords), and so must be kept."""
        return f"/{self.package}.RecordService/{WATCH_RECORDS}" in self.methods

    @cached_property
    def services(self) -> tuple[str, ...]:
        """Full names of the services, sorted."""
        return tuple(sorted({method.path.split("/")[1] for method in self.methods.values()}))


@cache
def load_catalogue(package: str) -> Catalogue:
    """Read the catalogue of a package such as ``secmesh.inventory.v1``; once in a process.

    Raises CatalogueError, naming the culprit, if the contracts break their rules.
    """
    files = package_files(package)
    if not files:
        raise CatalogueError(package, "no contract of this package is in the image")
    return build_catalogue(package, files)


def build_catalogue(package: str, files: Iterable[FileDescriptor]) -> Catalogue:
    """Build and check a catalogue from files that are loaded already."""
    files = tuple(files)
    messages = [message for file in files for message in file.message_types_by_name.values()]
    services = [service for file in files for service in file.services_by_name.values()]
    kinds = _kinds(messages)
    methods = {method.path: method for service in services for method in _service_methods(service)}
    for collection, kind in kinds.items():
        kinds[collection] = replace(kind, references=_references(kind, kinds))
    _check_routes(methods.values())
    return Catalogue(package, MappingProxyType(kinds), MappingProxyType(methods))


def _kinds(messages: list[Descriptor]) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for kind in (*_record_kinds(messages), *_resource_kinds(messages)):
        other = kinds.setdefault(kind.collection, kind)
        if other is not kind:
            raise CatalogueError(
                kind.descriptor.full_name,
                f"collection {kind.collection!r} is taken by {other.descriptor.full_name}",
            )
        _check_kind(kind)
    return kinds


def _kind_option(message: Descriptor) -> kind_pb2.Kind | None:
    options = message.GetOptions()
    return options.Extensions[kind_pb2.kind] if options.HasExtension(kind_pb2.kind) else None


def _record_kinds(messages: list[Descriptor]) -> Iterator[Kind]:
    envelope = next((message for message in messages if message.name == "Record"), None)
    if envelope is None:
        return
    body = envelope.oneofs_by_name.get("body")
    if body is None:
        raise CatalogueError(envelope.full_name, "a record envelope has a oneof named body")
    for field in body.fields:
        message = field.message_type
        option = _kind_option(message) if message is not None else None
        if message is None or option is None:
            raise CatalogueError(f"{envelope.full_name}.{field.name}", "its message has no kind")
        pattern = NamePattern(f"tenants/{{tenant}}/{option.collection}/{{record}}")
        yield Kind(message, option, pattern, envelope, field.name)


def _resource_kinds(messages: list[Descriptor]) -> Iterator[Kind]:
    for message in messages:
        option = _kind_option(message)
        if option is None or not _names_itself(message):
            continue
        resource = message.GetOptions().Extensions[resource_pb2.resource]
        yield Kind(message, option, NamePattern(resource.pattern[0]))


def _names_itself(message: Descriptor) -> bool:
    return bool(message.GetOptions().Extensions[resource_pb2.resource].pattern)


def _check_kind(kind: Kind) -> None:
    culprit = kind.descriptor.full_name
    if not kind.option.module:
        raise CatalogueError(culprit, "its kind names no module")
    if not kind.collection:
        raise CatalogueError(culprit, "its kind names no collection")
    if kind.envelope is not None:
        # The envelope's name is kept as ids: a body may have a name of its own.
        clash = {field.name for field in kind.envelope_fields if field.name != NAME} & {
            field.name for field in kind.descriptor.fields
        }
        if clash:
            raise CatalogueError(culprit, f"its field {min(clash)!r} is one of the envelope too")
    known = {field.name for field in (*kind.descriptor.fields, *kind.envelope_fields)}
    wanted = {name for index in kind.option.indexes for name in index.fields}
    if missing := (wanted | set(kind.option.natural_key)) - known:
        raise CatalogueError(culprit, f"its kind names no field of its own: {min(missing)!r}")


def _references(kind: Kind, kinds: Mapping[str, Kind]) -> Mapping[str, NamePattern]:
    """Give the names that the references of a kind hold; the store keeps the last id of each."""
    found: dict[str, NamePattern] = {}
    for field in (*kind.descriptor.fields, *kind.envelope_fields):
        wanted = field_option(field).references
        if wanted:
            found[field.name] = _referred(kind, field, kinds.get(wanted))
    return MappingProxyType(found)


def _referred(kind: Kind, field: FieldDescriptor, target: Kind | None) -> NamePattern:
    culprit, wanted = f"{kind.descriptor.full_name}.{field.name}", field_option(field).references
    if target is None:
        raise CatalogueError(culprit, f"refers to {wanted!r}, which is no kind")
    if field.type != FieldDescriptor.TYPE_STRING or not field.has_presence:
        raise CatalogueError(culprit, "a reference is an optional string")
    if len(target.pattern.variables) != _TENANT_AND_ID:
        raise CatalogueError(culprit, f"refers to {wanted!r}, whose names hold other ids too")
    if target.option.history or kind.option.history:
        # A foreign key has one row at each end.
        raise CatalogueError(culprit, f"refers to {wanted!r}, and one of both keeps its past")
    return target.pattern


def _service_methods(service: ServiceDescriptor) -> Iterator[Method]:
    for method in service.methods:
        culprit = method.full_name
        options = method.GetOptions()
        if not options.HasExtension(method_pb2.method):
            raise CatalogueError(culprit, "has no (secmesh.options.v1.method) permission")
        rule = options.Extensions[method_pb2.method]
        if rule.without_token and rule.permission:
            raise CatalogueError(culprit, "needs a permission and takes callers without a token")
        if not (rule.without_token or _PERMISSION.match(rule.permission)):
            raise CatalogueError(culprit, f"permission {rule.permission!r} is ill-formed")
        routes = tuple(_routes(method))
        if not routes:
            raise CatalogueError(culprit, "has no google.api.http rule")
        yield Method(
            descriptor=method,
            path=f"/{service.full_name}/{method.name}",
            permission=rule.permission,
            timeout=time_limit(options),
            idempotent=is_idempotent(options),
            routes=routes,
            names=(*_name_fields(method.input_type), *_names_within(routes)),
            upload=_upload(method, rule.upload_bytes, routes),
            any_kind=rule.any_kind,
            without_token=rule.without_token,
            of_removed_tenants=rule.of_removed_tenants,
        )


def _upload(method: MethodDescriptor, max_bytes: int, routes: Iterable[HttpRoute]) -> Upload | None:
    parts = [
        field.name
        for field in method.input_type.fields
        if field.message_type is not None and field.message_type.full_name == HTTP_BODY
    ]
    if not (method.client_streaming and parts):
        if max_bytes:
            raise CatalogueError(method.full_name, f"takes no stream with a {HTTP_BODY}")
        return None
    if max_bytes <= 0:
        raise CatalogueError(method.full_name, "its upload has no upload_bytes")
    if len(parts) > 1 or any(route.body != parts[0] for route in routes):
        raise CatalogueError(method.full_name, "the body of its routes is not its upload")
    return Upload(parts[0], max_bytes)


def _routes(method: MethodDescriptor) -> Iterator[HttpRoute]:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    for binding in (rule, *rule.additional_bindings):
        verb = binding.WhichOneof("pattern")
        if verb in ("get", "post", "put", "patch", "delete"):
            yield HttpRoute(verb.upper(), getattr(binding, verb), binding.body)


def _name_fields(request: Descriptor) -> Iterator[str]:
    for field in request.fields:
        if field.GetOptions().HasExtension(resource_pb2.resource_reference):
            yield field.name


def _names_within(routes: Iterable[HttpRoute]) -> Iterator[str]:
    """Give the names that paths fill in a resource of the request (AIP-134)."""
    paths = [path for route in routes for path in _PATH_VARIABLE.findall(route.template)]
    yield from dict.fromkeys(path for path in paths if "." in path)


def _check_routes(methods: Iterable[Method]) -> None:
    taken: dict[tuple[str, str], Method] = {}
    for method in methods:
        for route in method.routes:
            shape = (route.verb, re.sub(r"\{[a-z_.]+=([^}]*)\}", r"\1", route.template))
            other = taken.setdefault(shape, method)
            if other is not method:
                raise CatalogueError(
                    method.descriptor.full_name,
                    f"its route {route.verb} {route.template} is taken by "
                    f"{other.descriptor.full_name}",
                )
