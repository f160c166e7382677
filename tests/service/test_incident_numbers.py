"""The numbers that people call incidents by: counted in each tenant, whatever way they come."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mesh.identifiers import new_uuid
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1.record_ingest_pb2 import IngestRecordsRequest
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import (
    BatchWriteRecordsRequest,
    CreateRecordRequest,
    UpdateRecordRequest,
)
from tests.service.security_world import World, refused

PARENT = "tenants/numbered"


def incident(**values: Any) -> Record:
    record = Record()
    body: Any = record.incident
    body.title, body.source, body.severity, body.status = "Odd sign-in", "phone", 2, 1
    body.detect_time.GetCurrentTime()
    for name, value in values.items():
        setattr(body, name, value)
    return record


def create(record: Record, tenant: str = PARENT) -> CreateRecordRequest:
    return CreateRecordRequest(parent=f"{tenant}/incidents", record=record)


def numbers(found: Iterable[Any]) -> list[int]:
    return [each.incident.number for each in found]


def test_incidents_are_counted_whatever_way_they_come(analysis: World) -> None:
    stub, other = analysis.records_of("numbered"), analysis.records_of("numbered-too")
    first = stub.CreateRecord(create(incident(number=77)))
    assert first.incident.number == 1
    assert stub.GetRecord(GetRecordRequest(name=first.name)) == first
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: stub.CreateRecord(create(incident())), range(16)))
    assert sorted(numbers(made)) == [*range(2, 18)]
    batch = BatchWriteRecordsRequest(parent=PARENT)
    for _ in range(3):
        batch.writes.add(create=create(incident()))
    written = [each.record for each in stub.BatchWriteRecords(batch).results]
    assert numbers(written) == [18, 19, 20]
    # Who is refused takes no number.
    known = incident(source="wazuh", source_ref=new_uuid())
    stub.CreateRecord(create(known))
    assert refused(stub.CreateRecord, create(known)).reason == "RESOURCE_EXISTS"
    message = IngestRecordsRequest(parent=PARENT)
    for sequence in range(1, 4):
        message.items.add(sequence=sequence, record=incident())
    list(stub.IngestRecords(iter([message]), timeout=30))
    listed = stub.ListRecords(
        ListRecordsRequest(parent=f"{PARENT}/incidents", order_by="number", page_size=1000)
    )
    assert numbers(listed.records) == [*range(1, 25)]
    assert other.CreateRecord(create(incident(), "tenants/numbered-too")).incident.number == 1


def test_a_number_stays_and_is_nobody_elses_again(analysis: World) -> None:
    stub, tenant = analysis.records_of("numbered-once"), "tenants/numbered-once"
    made = [stub.CreateRecord(create(incident(), tenant)) for _ in range(2)]
    change = made[0]
    change.incident.title, change.incident.number = "Another title", 99
    assert stub.UpdateRecord(UpdateRecordRequest(record=change)).incident.number == 1
    stub.DeleteRecord(DeleteRecordRequest(name=made[1].name))
    assert stub.CreateRecord(create(incident(), tenant)).incident.number == 3
