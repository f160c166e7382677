"""Path templates as OpenAPI paths, one for each collection where a method serves many."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor

from gateway.contracts import Deployable, field_at
from gateway.openapi.bounds import Json, rules_of
from gateway.routes import ANY_SEGMENT, PathTemplate, Variable
from mesh.contract.catalogue import HttpRoute, Kind, Method

RECORD_VARIABLE = "record"
_VARIABLE = re.compile(r"([^/{}]+)/\{([a-z_]+)\}")


@dataclass(frozen=True)
class Place:
    """One OpenAPI path of a route."""

    path: str
    parameters: tuple[Json, ...]
    kind: Kind | None
    """The kind this path is about, where the route serves every kind."""


def variable_names(service: Deployable) -> dict[str, str]:
    """Give the variable that follows each collection in resource names: ``syncs`` -> ``sync``."""
    names: dict[str, str] = {}
    for kind in service.catalogue.kinds.values():
        names.update(_VARIABLE.findall(kind.pattern.text))
    return names


def places(service: Deployable, method: Method, route: HttpRoute) -> Iterator[Place]:
    """Give the paths of a route, for each kind of record one if it serves them all."""
    names = variable_names(service)
    template = PathTemplate.parse(route.template)
    if not method.per_kind:
        yield _place(method, template, names, None)
        return
    for kind in service.catalogue.record_kinds.values():
        yield _place(method, template, names, kind)


def _place(
    method: Method, template: PathTemplate, names: dict[str, str], kind: Kind | None
) -> Place:
    segments = list(template.segments)
    patterns = _patterns(method, template)
    parameters: list[Json] = []
    for index, segment in enumerate(template.segments):
        if segment != ANY_SEGMENT:
            continue
        before = segments[index - 1]
        if kind is not None and before.startswith("{"):
            segments[index] = kind.collection
            continue
        name = RECORD_VARIABLE if _is_kind(before, kind) else names.get(before, f"{before}_id")
        segments[index] = f"{{{name}}}"
        schema = {"type": "string"}
        if index in patterns:
            schema["pattern"] = patterns[index]
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    verb = f":{template.verb}" if template.verb else ""
    return Place("/" + "/".join(segments) + verb, tuple(parameters), kind)


def _is_kind(segment: str, kind: Kind | None) -> bool:
    return kind is not None and segment == kind.collection


def _patterns(method: Method, template: PathTemplate) -> dict[int, str]:
    """Give the expression for each wildcard, cut out of the one for the whole name."""
    found: dict[int, str] = {}
    for variable in template.variables:
        field = field_at(method.descriptor.input_type, variable.path)
        pieces = _pieces(field, variable) if field is not None else []
        for offset, piece in enumerate(pieces):
            if variable.segments[offset] == ANY_SEGMENT:
                found[variable.first + offset] = f"^{piece}$"
    return found


def _pieces(field: FieldDescriptor, variable: Variable) -> list[str]:
    pattern = rules_of(field).string.pattern
    if not (pattern.startswith("^") and pattern.endswith("$")):
        return []
    pieces = pattern[1:-1].split("/")
    return pieces if len(pieces) == len(variable.segments) else []
