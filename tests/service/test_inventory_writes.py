"""Collected kinds refuse what callers write, each by its reason and with nothing changed."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from mesh.client import refusal_of
from mesh.contract.catalogue import load_catalogue
from mesh.records.servicer import RecordServicer
from mesh.sql.answers import Answers
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1 import record_pb2, record_service_pb2_grpc, record_write_pb2
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from tests.derived import tables_of
from tests.inventory_store import inventory_store
from tests.service.server_fixtures import running

CATALOGUE = load_catalogue("secmesh.inventory.v1")
COLLECTIONS = sorted(CATALOGUE.record_kinds)


def _requests(collection: str) -> dict[str, Any]:
    parent, kind = f"tenants/acme/{collection}", CATALOGUE.record_kinds[collection]
    record = record_pb2.Record(name=f"{parent}/a")
    getattr(record, kind.body_field or "").SetInParent()
    create = record_write_pb2.CreateRecordRequest(parent=parent, record=record)
    update = record_write_pb2.UpdateRecordRequest(record=record, allow_missing=True)
    delete = DeleteRecordRequest(name=record.name)
    batch = record_write_pb2.BatchWriteRecordsRequest(parent="tenants/acme")
    batch.writes.add(delete=delete)
    return {
        "CreateRecord": create,
        "UpdateRecord": update,
        "DeleteRecord": delete,
        "BatchWriteRecords": batch,
    }


async def test_a_collected_kind_is_not_written(tmp_path: Path) -> None:
    engine = open_engine(inventory_store(tmp_path))
    store = Store(engine, tables_of(CATALOGUE), page_key=b"k" * 32)
    kept = record_pb2.Record(name="tenants/acme/iam_users/a", etag="e")
    kept.valid_from.seconds = 1
    kept.iam_user.username = "ana"
    async with store.transaction() as connection:
        await store.insert(connection, "iam_users", [kept])
    register = RecordServicer(CATALOGUE, store).add_to
    async with (
        running(tmp_path, register=register, dispose=engine.dispose, answers=Answers(store)) as up,
        grpc.aio.insecure_channel(up.address) as channel,
    ):
        stub: Any = record_service_pb2_grpc.RecordServiceStub(channel)
        for collection in COLLECTIONS:
            assert CATALOGUE.record_kinds[collection].option.output_only
            for method, request in _requests(collection).items():
                for request.request_id in ("", str(uuid4())):
                    with pytest.raises(grpc.aio.AioRpcError) as failed:
                        await getattr(stub, method)(request, metadata=up.metadata())
                    refused = refusal_of(failed.value)
                    assert refused.reason == "KIND_READ_ONLY", (method, collection)
                    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
                    assert refused.metadata["collection"] == collection
        delete = DeleteRecordRequest(name=kept.name)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.DeleteRecord(delete, metadata=up.metadata(roles=("operator",)))
        assert refusal_of(failed.value).metadata["permission"] == "inventory.iam_users.delete"
        assert await store.get("iam_users", kept.name) == kept
