"""The error responses: google.rpc.Status with the reasons of the contracts."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, EnumValueDescriptor
from google.rpc import code_pb2, status_pb2

from gateway.contracts import Deployable
from gateway.openapi.bounds import Json
from gateway.openapi.schemas import Schemas
from gateway.refusals import JSON, http_status
from mesh.contract.image import comment, package_files
from mesh.errors import DOMAIN
from secmesh.options.v1 import reason_pb2
from secmesh.rpc.v1 import error_reason_pb2

ENUM = "ErrorReason"
PREFIX = "ERROR_REASON_"
_STATUS = status_pb2.Status.DESCRIPTOR
_ERROR_INFO_URL = "type.googleapis.com/google.rpc.ErrorInfo"


def response_name(service: Deployable) -> str:
    """Give the component name of a service's error response."""
    return f"{service.name}.Error"


def error_response(service: Deployable, schemas: Schemas) -> Json:
    """Give the response that stands for every error of a service."""
    reasons = list(_reasons(service))
    lines = [
        "Any error, always in this form; `details` hold an ErrorInfo with one of these reasons:",
        "",
        *map(_line, reasons),
    ]
    schema = {
        "allOf": [schemas.message(_STATUS), {"required": ["code", "message", "details"]}],
        "properties": {"details": {"contains": _error_info([_name(each) for each in reasons])}},
    }
    return {"description": "\n".join(lines), "content": {JSON: {"schema": schema}}}


def _enums(service: Deployable) -> Iterator[EnumDescriptor]:
    yield error_reason_pb2.DESCRIPTOR.enum_types_by_name[ENUM]
    for file in package_files(service.catalogue.package):
        if ENUM in file.enum_types_by_name:
            yield file.enum_types_by_name[ENUM]


def _reasons(service: Deployable) -> Iterator[EnumValueDescriptor]:
    for enum in _enums(service):
        yield from (value for value in enum.values if value.number)


def _name(value: EnumValueDescriptor) -> str:
    return str(value.name).removeprefix(PREFIX)


def _line(value: EnumValueDescriptor) -> str:
    option = value.GetOptions().Extensions[reason_pb2.reason]
    text = comment(f"{value.type.full_name}.{value.name}").split("\n\n")[0].replace("\n", " ")
    code = code_pb2.Code.Name(option.code)
    return f"- `{_name(value)}` ({http_status(option.code)}, {code}): {text}"


def _error_info(reasons: list[str]) -> Json:
    properties: dict[str, Any] = {
        "@type": {"const": _ERROR_INFO_URL},
        "reason": {"type": "string", "enum": reasons},
        "domain": {"const": DOMAIN},
        "metadata": {
            "type": "object",
            "properties": {"request_id": {"type": "string"}},
            "required": ["request_id"],
            "additionalProperties": {"type": "string"},
        },
    }
    return {"type": "object", "properties": properties, "required": list(properties)}
