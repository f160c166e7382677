"""A plan's file on its way to the service: in one message, or part by part if it is large."""

from collections.abc import Iterator
from typing import IO

from google.api.httpbody_pb2 import HttpBody

from buf.validate import validate_pb2
from secmesh.inventory.v1 import (
    compliance_service_pb2,
    compliance_service_pb2_grpc,
    ssp_pb2,
    ssp_requests_pb2,
)
from secmesh.options.v1 import method_pb2

PART_BYTES = 1 << 20
MESSAGE_BYTES: int = (
    ssp_requests_pb2.ImportSspRequest.DESCRIPTOR.fields_by_name["document"]
    .GetOptions()
    .Extensions[validate_pb2.field]
    .bytes.max_len
)
"""Largest document that ImportSsp takes."""

UPLOAD_BYTES: int = (
    compliance_service_pb2.DESCRIPTOR.services_by_name["ComplianceService"]
    .methods_by_name["UploadSsp"]
    .GetOptions()
    .Extensions[method_pb2.method]
    .upload_bytes
)
"""Largest document that UploadSsp takes."""


def send_plan(
    stub: compliance_service_pb2_grpc.ComplianceServiceStub,
    request: ssp_requests_pb2.ImportSspRequest,
    file: IO[bytes],
) -> ssp_pb2.Ssp:
    """Import the plan that a file holds, read in parts if one message is too small for it."""
    request.document = file.read(MESSAGE_BYTES)
    more = file.read(PART_BYTES)
    return stub.UploadSsp(_parts(request, more, file)) if more else stub.ImportSsp(request)


def _parts(
    request: ssp_requests_pb2.ImportSspRequest, more: bytes, file: IO[bytes]
) -> Iterator[ssp_requests_pb2.UploadSspRequest]:
    message = ssp_requests_pb2.UploadSspRequest
    first, rest = request.document[:PART_BYTES], request.document[PART_BYTES:]
    yield message(
        parent=request.parent,
        ssp_id=request.ssp_id,
        baseline=request.baseline,
        format=request.format,
        file_name=request.file_name,
        file=HttpBody(data=first),
    )
    for start in range(0, len(rest), PART_BYTES):
        yield message(file=HttpBody(data=rest[start : start + PART_BYTES]))
    while more:
        yield message(file=HttpBody(data=more))
        more = file.read(PART_BYTES)
