"""Collected kinds take no streams of records."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import refusal_of
from mesh.contract.catalogue import load_catalogue
from mesh.records.servicer import RecordServicer
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1 import record_ingest_pb2, record_service_pb2_grpc
from tests.derived import tables_of
from tests.inventory_store import inventory_store
from tests.service.server_fixtures import running

CATALOGUE = load_catalogue("secmesh.inventory.v1")


async def test_each_collected_kind_ends_the_stream(tmp_path: Path) -> None:
    engine = open_engine(inventory_store(tmp_path))
    store = Store(engine, tables_of(CATALOGUE), page_key=b"k" * 32)
    register = RecordServicer(CATALOGUE, store).add_to

    async def send(request: Any) -> AsyncIterator[Any]:
        yield request

    async with (
        running(tmp_path, register=register, dispose=engine.dispose) as up,
        grpc.aio.insecure_channel(up.address) as channel,
    ):
        stub: Any = record_service_pb2_grpc.RecordServiceStub(channel)
        metadata = (("authorization", f"Bearer {up.token(permissions=('inventory.*.*',))}"),)
        for collection, kind in CATALOGUE.record_kinds.items():
            by_item = record_ingest_pb2.IngestRecordsRequest(parent="tenants/acme")
            item = by_item.items.add(sequence=1)
            getattr(item.record, kind.body_field or "").SetInParent()
            by_parent = record_ingest_pb2.IngestRecordsRequest(parent=f"tenants/acme/{collection}")
            for request in (by_item, by_parent):
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    [_ async for _ in stub.IngestRecords(send(request), metadata=metadata)]
                refused = refusal_of(error.value)
                assert refused.reason == "KIND_READ_ONLY"
                assert refused.metadata["collection"] == collection
