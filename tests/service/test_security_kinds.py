"""Every kind of security record, over one real server on one real PostgreSQL.

The kinds come from the catalogue, the records from descriptors and bounds: nothing is listed by
hand, and a kind that is added to the contract is tested by that.
"""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2
from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import Kind, field_option
from mesh.identifiers import new_uuid
from mesh.records.fields import copy_field
from mesh.sql.secrets import drop_secrets
from secmesh.records.v1 import watch_pb2
from secmesh.records.v1.aggregate_pb2 import AggregateRecordsRequest
from secmesh.records.v1.ingest_pb2 import IngestResult
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.records.v1.watch_pb2 import WatchRecordsRequest
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1.record_ingest_pb2 import IngestRecordsRequest
from secmesh.security.v1.record_write_pb2 import (
    BatchWriteRecordsRequest,
    CreateRecordRequest,
    UpdateRecordRequest,
)
from secmesh_client import CallRefused
from tests.databases import security_database
from tests.service.security_kinds import (
    as_given,
    body,
    changeable,
    enums_of,
    kinds,
    made_by_callers,
    plain_fields,
    references_of,
    required_of,
    stays,
    unique_sets,
)
from tests.service.security_records import (
    Tag,
    other_value,
    wanted_references,
)
from tests.service.security_world import TENANT, World, copy_of, refused, served

_WHOLE = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
_FILTERED = 6
"""Conditions of one filter."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        security_database() as access,
        served(access, tmp_path_factory.mktemp("home")) as made,
    ):
        made.parents = {}
        yield made


@kinds()
def test_what_is_created_is_read_again(world: World, kind: Kind) -> None:
    request, record = world.create(kind, "read")
    assert record.name == f"{request.parent}/{request.record_id}"
    assert record.etag
    assert record.create_time == record.update_time
    sent = body(kind, request.record)
    drop_secrets(sent)
    assert body(kind, as_given(record)) == sent
    assert as_given(world.stub.GetRecord(GetRecordRequest(name=record.name))) == as_given(record)


@kinds()
def test_a_filter_on_any_field_finds_the_record(world: World, kind: Kind) -> None:
    record = world.shared(kind)
    parent = record.name.rpartition("/")[0]
    conditions = [
        f"{field.name} == {_literal(field, getattr(body(kind, record), field.name))}"
        for field in plain_fields(kind)
        if body(kind, record).HasField(field.name)
    ]
    assert conditions
    for start in range(0, len(conditions), _FILTERED):
        chosen = " && ".join(conditions[start : start + _FILTERED])
        request = ListRecordsRequest(parent=parent, filter=chosen, page_size=1000)
        assert record.name in {each.name for each in world.stub.ListRecords(request).records}
        request.filter = f"!({chosen})"
        assert record.name not in {each.name for each in world.stub.ListRecords(request).records}


def _literal(field: FieldDescriptor, value: Any) -> str:
    """Write a value as CEL does."""
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if field.cpp_type in _WHOLE else repr(float(value))


@kinds(lambda kind: changeable(kind) is not None and not kind.option.append_only)
def test_an_update_by_mask_needs_the_etag_it_names(world: World, kind: Kind) -> None:
    field = changeable(kind)
    assert field is not None
    record = world.make(kind, "update")
    change = copy_of(record)
    value = other_value(field, Tag(f"{kind.collection}/update"))
    setattr(body(kind, change), field.name, value)
    mask = field_mask_pb2.FieldMask(paths=[f"{kind.body_field}.{field.name}"])
    request = UpdateRecordRequest(record=change, update_mask=mask)
    changed = world.stub.UpdateRecord(request)
    assert getattr(body(kind, changed), field.name) == value
    assert changed.etag != record.etag
    expected = copy_of(changed)
    setattr(body(kind, expected), field.name, getattr(body(kind, record), field.name))
    for name in ("etag", "update_time"):
        expected.ClearField(name)
        record.ClearField(name)
    assert expected == record, "nothing but the field of the mask changes"
    error = refused(world.stub.UpdateRecord, request)
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert world.stub.GetRecord(GetRecordRequest(name=record.name)) == changed


@kinds(lambda kind: kind.option.append_only)
def test_a_fact_is_not_updated(world: World, kind: Kind) -> None:
    record = world.shared(kind)
    error = refused(world.stub.UpdateRecord, UpdateRecordRequest(record=copy_of(record)))
    assert error.reason == "KIND_APPEND_ONLY"
    assert as_given(world.stub.GetRecord(GetRecordRequest(name=record.name))) == as_given(record)


@kinds(stays)
def test_what_must_stay_is_not_deleted(world: World, kind: Kind) -> None:
    record = world.shared(kind)
    request = DeleteRecordRequest(name=record.name)
    assert refused(world.stub.DeleteRecord, request).reason == "KIND_APPEND_ONLY"
    assert as_given(world.stub.GetRecord(GetRecordRequest(name=record.name))) == as_given(record)


@kinds(lambda kind: not stays(kind))
def test_what_is_deleted_is_gone(world: World, kind: Kind) -> None:
    record = world.make(kind, "delete")
    world.stub.DeleteRecord(DeleteRecordRequest(name=record.name, etag=record.etag))
    error = refused(world.stub.GetRecord, GetRecordRequest(name=record.name))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    request = DeleteRecordRequest(name=record.name)
    assert refused(world.stub.DeleteRecord, request).reason == "RESOURCE_NOT_FOUND"


@kinds(made_by_callers)
def test_a_batch_is_done_whole_or_by_its_parts(world: World, kind: Kind) -> None:
    if stays(kind):
        request = world.prepare(kind, "batch", apart=True)
    else:
        request, record = world.create(kind, "batch")
        world.stub.DeleteRecord(DeleteRecordRequest(name=record.name))
    name = f"{request.parent}/{request.record_id}"
    batch = BatchWriteRecordsRequest(parent="tenants/acme")
    batch.writes.add(create=request)
    missing = DeleteRecordRequest(name="tenants/acme/users/none")
    batch.writes.add(delete=missing)
    error = refused(world.stub.BatchWriteRecords, batch)
    assert error.reason == "RESOURCE_NOT_FOUND"
    assert refused(world.stub.GetRecord, GetRecordRequest(name=name)).reason == error.reason
    batch.return_partial_success = True
    made, failed = world.stub.BatchWriteRecords(batch).results
    assert made.record.name == name
    assert failed.error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert as_given(world.stub.GetRecord(GetRecordRequest(name=name))) == as_given(made.record)


@kinds()
def test_records_are_counted_in_groups(world: World, kind: Kind) -> None:
    record = world.shared(kind)
    parent = record.name.rpartition("/")[0]
    field = next(iter([*enums_of(kind), *plain_fields(kind)]))
    request = AggregateRecordsRequest(
        parent=parent, group_by=[field.name], filter=f'record.name == "{record.name}"'
    )
    (group,) = world.stub.AggregateRecords(request).groups
    value = getattr(body(kind, record), field.name)
    if field.enum_type is not None:
        value = field.enum_type.values_by_number[value].name
    key = group.keys[0]
    assert (group.count, getattr(key, key.WhichOneof("value"))) == (1, value)


@kinds(lambda kind: made_by_callers(kind) and not stays(kind))
def test_what_is_ingested_is_watched(world: World, kind: Kind) -> None:
    parent = f"{TENANT}/{kind.collection}"
    watch = world.stub.WatchRecords(WatchRecordsRequest(parent=parent), timeout=30)
    assert next(watch).HasField("bookmark")
    request, *_ = world.create(kind, "ingest")
    name = f"{request.parent}/{request.record_id}"
    created = next(watch).changed
    assert (created.type, created.name) == (watch_pb2.RECORD_CHANGE_TYPE_CREATED, name)
    assert created.after == world.stub.GetRecord(GetRecordRequest(name=name))
    world.stub.DeleteRecord(DeleteRecordRequest(name=name))
    deleted = next(watch).changed
    assert (deleted.type, deleted.before) == (
        watch_pb2.RECORD_CHANGE_TYPE_DELETED,
        created.after,
    )
    request.record.name = name
    good, bad = copy_of(request.record), copy_of(request.record)
    bad.name = f"{request.parent}/{new_uuid()}"
    bad.ClearField(kind.body_field or "")
    new, rejected = ingest(world, good, bad)
    assert (new.outcome, new.name, new.durable) == (IngestResult.OUTCOME_NEW, name, True)
    assert rejected.outcome == IngestResult.OUTCOME_REJECTED
    assert rejected.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    ingested = next(watch).changed
    watch.cancel()
    assert ingested.type == watch_pb2.RECORD_CHANGE_TYPE_CREATED
    assert body(kind, as_given(ingested.after)) == body(kind, as_given(created.after))
    (again,) = ingest(world, good)
    assert again.outcome == IngestResult.OUTCOME_UNCHANGED


def ingest(world: World, *records: Any) -> list[IngestResult]:
    """Send records by one stream; give what became of each."""
    message = IngestRecordsRequest(parent=TENANT)
    for sequence, record in enumerate(records, start=1):
        message.items.add(sequence=sequence, record=record)
    answers = [*world.stub.IngestRecords(iter([message]), timeout=30)]
    assert answers[-1].ended.code == 0
    return [result for answer in answers for result in answer.results]


@kinds(lambda kind: made_by_callers(kind) and [*wanted_references(kind, whole=True)])
def test_a_reference_to_nothing_is_refused(world: World, kind: Kind) -> None:
    request = world.prepare(kind, "reference", apart=True)
    fields = [
        field for field in references_of(kind) if body(kind, request.record).HasField(field.name)
    ]
    for field in fields or references_of(kind):
        wrong = CreateRecordRequest()
        wrong.CopyFrom(request)
        target = field_option(field).references
        setattr(body(kind, wrong.record), field.name, f"tenants/acme/{target}/none")
        error = refused(world.stub.CreateRecord, wrong)
        assert error.reason == "REFERENCE_NOT_FOUND"
        assert error.metadata["field"].endswith(field.name)
        setattr(body(kind, wrong.record), field.name, f"tenants/beta/{target}/none")
        assert refused(world.stub.CreateRecord, wrong).reason == "REFERENCE_NOT_FOUND"
        setattr(body(kind, wrong.record), field.name, "tenants/acme/nothing/none")
        assert refused(world.stub.CreateRecord, wrong).reason == "FIELD_INVALID"


@kinds(lambda kind: made_by_callers(kind) and unique_sets(kind))
def test_a_duplicate_is_refused(world: World, kind: Kind) -> None:
    first, made = world.create(kind, "duplicate")
    *_, twin = world.plan(kind, "twin")
    natural = set(kind.option.natural_key)
    for fields in unique_sets(kind):
        present = all(body(kind, first.record).HasField(field.name) for field in fields)
        if not present and {field.name for field in fields} != natural:
            # Absence is a value in a natural key alone.
            continue
        again = CreateRecordRequest(parent=first.parent)
        again.CopyFrom(twin)
        for field in (*references_of(kind), *fields):
            copy_field(body(kind, first.record), body(kind, again.record), field)
        error = refused(world.stub.CreateRecord, again)
        assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS")
    assert refused(world.stub.CreateRecord, first).reason == "RESOURCE_EXISTS"
    assert world.stub.GetRecord(GetRecordRequest(name=made.name)) == made


@kinds(lambda kind: made_by_callers(kind) and enums_of(kind))
def test_a_value_that_an_enum_lacks_is_refused(world: World, kind: Kind) -> None:
    request = world.plan(kind, "enum")[-1]
    for field in enums_of(kind):
        wrong = CreateRecordRequest()
        wrong.CopyFrom(request)
        setattr(body(kind, wrong.record), field.name, 32_000)
        error = refused(world.stub.CreateRecord, wrong)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
        assert f"record.{kind.body_field}.{field.name}" in _fields_of(error)


@kinds()
def test_another_tenants_record_is_none(world: World, kind: Kind) -> None:
    record = world.shared(kind)
    change = UpdateRecordRequest(record=record)
    calls = {
        "GetRecord": GetRecordRequest(name=record.name),
        "UpdateRecord": change,
        "DeleteRecord": DeleteRecordRequest(name=record.name),
    }
    for method, request in calls.items():
        error = refused(getattr(world.strange, method), request)
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    collection = record.name.split("/")[2]
    own = ListRecordsRequest(parent=f"tenants/beta/{collection}")
    assert not world.strange.ListRecords(own).records
    assert as_given(world.stub.GetRecord(GetRecordRequest(name=record.name))) == as_given(record)


@kinds(lambda kind: made_by_callers(kind) and required_of(kind))
def test_a_required_field_that_is_missing_is_named(world: World, kind: Kind) -> None:
    request = world.plan(kind, "required")[-1]
    for field in required_of(kind):
        wrong = CreateRecordRequest()
        wrong.CopyFrom(request)
        body(kind, wrong.record).ClearField(field.name)
        error = refused(world.stub.CreateRecord, wrong)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
        assert _fields_of(error) == [f"record.{kind.body_field}.{field.name}"]


def _fields_of(error: CallRefused) -> list[str]:
    return [each.field for each in error.violations]
