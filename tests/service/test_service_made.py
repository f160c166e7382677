"""What the service alone tells, of what it did itself."""

import pytest

from secmesh.records.v1.ingest_pb2 import IngestResult
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from secmesh.security.v1.record_ingest_pb2 import IngestRecordsRequest
from secmesh.security.v1.record_write_pb2 import BatchWriteRecordsRequest, UpdateRecordRequest
from services.security.made import SERVICE_MADE
from tests.service.security_world import KINDS, TENANT, World, copy_of, refused


@pytest.mark.parametrize("collection", sorted(SERVICE_MADE))
def test_what_the_service_does_is_told_by_nobody_else(analysis: World, collection: str) -> None:
    world = analysis
    request = world.prepare(KINDS[collection], "told")
    batch = BatchWriteRecordsRequest(parent=TENANT)
    batch.writes.add(create=request)
    assert refused(world.stub.CreateRecord, request).reason == "KIND_READ_ONLY"
    assert refused(world.stub.BatchWriteRecords, batch).reason == "KIND_READ_ONLY"
    name = f"{request.parent}/{request.record_id}"
    record = copy_of(request.record)
    record.name = name
    update = UpdateRecordRequest(record=record, allow_missing=True)
    assert refused(world.stub.UpdateRecord, update).reason == "KIND_READ_ONLY"
    message = IngestRecordsRequest(parent=TENANT)
    message.items.add(sequence=1, record=record)
    answers = [*world.stub.IngestRecords(iter([message]), timeout=30)]
    (rejected,) = [result for answer in answers for result in answer.results]
    assert rejected.outcome == IngestResult.OUTCOME_REJECTED
    error = refused(world.stub.GetRecord, GetRecordRequest(name=name))
    assert error.reason == "RESOURCE_NOT_FOUND"
