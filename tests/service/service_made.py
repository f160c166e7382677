"""Records that the service alone makes, made as it does: past the calls of the API."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mesh.contract.catalogue import Kind, load_catalogue
from mesh.contract.names import collection_of, tenant_of
from mesh.embedded.postgres import Access
from mesh.errors import ResourceExists
from mesh.records.moments import now
from mesh.records.writing import RecordWriter
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from services.security.made import SERVICE_MADE

_CATALOGUE = load_catalogue("secmesh.security.v1")


def is_service_made(kind: Kind) -> bool:
    """Tell whether callers cannot create records of a kind."""
    return kind.collection in SERVICE_MADE


def is_for_service(create: CreateRecordRequest) -> bool:
    """Tell whether callers cannot make what a request asks for."""
    return collection_of(create.parent) in SERVICE_MADE


def write_as_service(access: Access, creates: Sequence[CreateRecordRequest]) -> list[Any]:
    """Create records, those that are there already left as they are."""
    with ThreadPoolExecutor(1) as thread:
        # The test may have a loop of its own.
        return thread.submit(asyncio.run, _write(access, creates)).result()


async def _write(access: Access, creates: Sequence[CreateRecordRequest]) -> list[Any]:
    engine = open_engine(access.application)
    store = Store(engine, Tables(_CATALOGUE, isolated=True), page_key=b"k" * 32)
    writer, made = RecordWriter(store, _CATALOGUE.record_kinds, now), []
    try:
        for each in creates:
            with acting_for(tenant_of(each.parent) or ""):
                try:
                    async with store.transaction() as connection:
                        made.append(await writer.create(connection, each))
                except ResourceExists:
                    name = f"{each.parent}/{each.record_id}"
                    made.append(await store.get(collection_of(name) or "", name))
    finally:
        await engine.dispose()
    return made
