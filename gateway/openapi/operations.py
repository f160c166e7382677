"""Methods as OpenAPI operations."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from gateway.contracts import Deployable, field_named
from gateway.edge.expectation import TEXT_MESSAGES
from gateway.envoy_routes import EVENT_STREAM
from gateway.openapi.bounds import Json
from gateway.openapi.errors import response_name
from gateway.openapi.paths import Place, places
from gateway.openapi.schemas import Schemas, is_required
from gateway.refusals import JSON
from gateway.routes import PathTemplate
from mesh.contract.catalogue import HTTP_BODY, KIND_PLACEHOLDER, HttpRoute, Kind, Method
from mesh.contract.image import comment

FILE = "application/octet-stream"
QUERY_DEPTH = 4
"""Messages within messages that query parameters may reach into."""
STREAM = (
    "A stream: one JSON object a line, each as this schema says, or as the data of one event "
    "where `Accept` holds `text/event-stream`. It is complete only if its last object says how "
    "it ended."
)


def operations(service: Deployable, schemas: Schemas) -> Iterator[tuple[str, str, Json]]:
    """Give path, verb in lower case, and operation of every route of a service."""
    for method in service.methods:
        for number, route in enumerate(method.routes):
            for place in places(service, method, route):
                operation = _operation(service, method, route, place, schemas)
                if number:
                    operation["operationId"] += f"_{number}"
                yield place.path, route.verb.lower(), operation


def _operation(
    service: Deployable, method: Method, route: HttpRoute, place: Place, schemas: Schemas
) -> Json:
    descriptor = method.descriptor
    holder = descriptor.containing_service
    bound = {variable.path for variable in PathTemplate.parse(route.template).variables}
    parameters = [*place.parameters, *_query(descriptor.input_type, route, bound, schemas)]
    operation: Json = {
        "operationId": _operation_id(method, place.kind),
        "tags": [holder.full_name],
        **_words(method, place.kind),
        **_rights(method, place.kind),
        "x-timeout-seconds": method.timeout.total_seconds(),
        "x-idempotent": method.idempotent,
    }
    if parameters:
        operation["parameters"] = parameters
    if method.upload is not None:
        operation["requestBody"] = {"required": True, "content": {FILE: {"schema": {}}}}
        operation["x-max-body-bytes"] = method.upload.max_bytes
    elif route.body:
        operation["requestBody"] = _request_body(descriptor, route, bound, schemas)
    operation["responses"] = {
        "200": _success(method, place.kind, schemas),
        "default": {"$ref": f"#/components/responses/{response_name(service)}"},
    }
    return operation


def _operation_id(method: Method, kind: Kind | None) -> str:
    _, service, name = method.path.rpartition("/")[0], *method.path[1:].split("/")
    plain = f"{service.removeprefix('secmesh.').replace('.', '_')}_{name}"
    return f"{plain}_{kind.collection}" if kind is not None else plain


def _words(method: Method, kind: Kind | None) -> Json:
    first, _, rest = comment(method.descriptor.full_name).partition("\n\n")
    summary = first.replace("\n", " ").rstrip(".")
    about = comment(kind.descriptor.full_name) if kind is not None else ""
    text = "\n\n".join(part for part in (rest, about) if part)
    words = {"summary": f"{summary}: {kind.collection}" if kind is not None else summary}
    return {**words, "description": text} if text else words


def _rights(method: Method, kind: Kind | None) -> Json:
    if method.without_token:
        return {"security": []}  # OpenAPI 3.1: an empty list takes the document's away
    return {"x-permission": _permission(method, kind)}


def _permission(method: Method, kind: Kind | None) -> str:
    if kind is None:
        return method.permission
    return method.permission.replace(
        KIND_PLACEHOLDER, f"{kind.option.module}.{kind.option.collection}"
    )


def _query(
    request: Descriptor, route: HttpRoute, bound: set[str], schemas: Schemas
) -> Iterator[Json]:
    if route.body == "*":
        return
    taken = bound | ({route.body} if route.body else set())
    yield from _parameters(request, "", "", taken, schemas, QUERY_DEPTH)


def _parameters(
    message: Descriptor, path: str, shown: str, taken: set[str], schemas: Schemas, depth: int
) -> Iterator[Json]:
    for field in message.fields:
        where = f"{path}{field.name}"
        name = f"{shown}{field.json_name}"
        if where in taken:
            continue
        if _is_text(field):
            schema = schemas.field(field)
            text = schema.pop("description", None)
            yield {
                "name": name,
                "in": "query",
                "required": is_required(field),
                **({"description": text} if text else {}),
                "schema": schema,
            }
        elif depth and field.message_type is not None and not field.is_repeated:
            inner = f"{where}.", f"{name}."
            yield from _parameters(field.message_type, *inner, taken, schemas, depth - 1)


def _is_text(field: FieldDescriptor) -> bool:
    return field.message_type is None or field.message_type.full_name in TEXT_MESSAGES


def _request_body(
    method: MethodDescriptor, route: HttpRoute, bound: set[str], schemas: Schemas
) -> Json:
    request = method.input_type
    field = field_named(request, route.body)
    if field is None:
        schema, required = schemas.object(request, bound), True
        if method.client_streaming:
            schema = {"type": "array", "minItems": 1, "items": schema}
    else:
        schema, required = schemas.field(field), is_required(field)
    return {"required": required, "content": {JSON: {"schema": schema}}}


def _success(method: Method, kind: Kind | None, schemas: Schemas) -> Json:
    answer = method.descriptor.output_type
    # The comment of an empty message tells how to use it in a contract.
    text = (answer.fields and comment(answer.full_name)) or "Done."
    if answer.full_name == HTTP_BODY:
        return {"description": "The document.", "content": {"*/*": {}}}
    schema = schemas.message(answer)
    if kind is not None:
        schema = _of_kind(answer, kind, schema)
    content: Json = {JSON: {"schema": schema}}
    if method.descriptor.server_streaming:
        text = STREAM
        content[EVENT_STREAM] = {"schema": {"type": "string"}}
    return {"description": text, "content": content}


def _of_kind(answer: Descriptor, kind: Kind, schema: Json) -> Json:
    """Say which body the records of an answer have."""
    if kind.envelope is None or kind.body_field is None:
        return schema
    body = kind.envelope.fields_by_name[kind.body_field].json_name
    if answer.full_name == kind.envelope.full_name:
        return {"allOf": [schema, {"required": [body]}]}
    properties: dict[str, Any] = {
        field.json_name: {"items": {"required": [body]}}
        for field in answer.fields
        if field.message_type is not None
        and field.message_type.full_name == kind.envelope.full_name
    }
    return {"allOf": [schema, {"properties": properties}]}
