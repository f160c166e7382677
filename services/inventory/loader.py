"""Loads records of a file as a run of its own."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sqlite_import_pb2 import (
    ImportedColumn,
    ImportedTable,
    ImportSqliteRequest,
    ImportSqliteResponse,
)
from secmesh.inventory.v1.store_service_pb2 import LoadRecordsRequest, LoadRecordsResponse
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.account_grants import AccountGrants
from services.inventory.collect.draft import timestamp
from services.inventory.collect.registry import REGISTRY
from services.inventory.collect.runner import new_sync_id
from services.inventory.collect.source import GLOBAL
from services.inventory.errors import AccountNotGranted
from services.inventory.importing import TableImport
from services.inventory.load_store import LoadStore
from services.inventory.loading import Loaded, Target, read_document
from services.inventory.old_database import read_tables


class Loader:
    """Takes files for the accounts that were given to their tenant."""

    def __init__(self, catalogue: Catalogue, grants: AccountGrants, loads: LoadStore) -> None:
        self._catalogue = catalogue
        self._grants = grants
        self._loads = loads

    async def load(self, request: LoadRecordsRequest) -> LoadRecordsResponse:
        """Load a file whole or not at all.

        Raises AccountNotGranted, SyncRunning, and FieldInvalid that names wrong lines.
        """
        target = self._target(request)
        now = datetime.now(UTC)
        records = await asyncio.to_thread(
            read_document, request.document, target, self._catalogue, now
        )
        sync = _run(target, records, Sync.SOURCE_RECORDS)
        loaded = await self._loads.load(sync, records, validate_only=request.validate_only)
        return LoadRecordsResponse(
            sync=_noted(sync, loaded, validate_only=request.validate_only),
            written=sum(len(each.opened) for each in loaded.values()),
            unchanged=sum(each.unchanged for each in loaded.values()),
            outdated=sum(each.outdated for each in loaded.values()),
        )

    async def import_sqlite(self, request: ImportSqliteRequest) -> ImportSqliteResponse:
        """Take what an old database holds, and tell what it holds besides.

        Raises AccountNotGranted, SyncRunning, and FieldInvalid for what is no database.
        """
        target = self._target(request)
        records, tables = await asyncio.to_thread(self._old_records, request, target)
        sync = _run(target, records, Sync.SOURCE_SQLITE)
        loaded = await self._loads.load(sync, records, validate_only=request.validate_only)
        for table in tables:
            if table.collection in loaded:
                changes = loaded[table.collection]
                table.written = len(changes.opened)
                table.unchanged, table.outdated = changes.unchanged, changes.outdated
        noted = _noted(sync, loaded, validate_only=request.validate_only)
        return ImportSqliteResponse(sync=noted, tables=tables)

    def _old_records(
        self, request: ImportSqliteRequest, target: Target
    ) -> tuple[dict[str, list[Record]], list[ImportedTable]]:
        records: dict[str, list[Record]] = {}
        tables: list[ImportedTable] = []
        for table in read_tables(request.document):
            kind = self._catalogue.record_kinds.get(table.name)
            if kind is None:
                unknown = ImportedTable(table=table.name, rows=len(table.rows))
                unknown.refused = unknown.rows
                unknown.columns.extend(ImportedColumn(column=each) for each in table.columns)
                tables.append(unknown)
                continue
            collector = REGISTRY.collectors[table.name]
            imported = TableImport(table, kind, collector, target, request.region)
            records[table.name] = imported.records()
            tables.append(imported.report)
        return records, tables

    def _target(self, request: LoadRecordsRequest | ImportSqliteRequest) -> Target:
        """Give where a request loads to; AccountNotGranted."""
        account = request.cloud_account_id
        if not self._grants.allow(tenant_of(request.parent) or "", account):
            raise AccountNotGranted(account)
        return Target(request.parent, account)


def _noted(sync: Sync, loaded: Mapping[str, Loaded], *, validate_only: bool) -> str:
    """Give the name of the run if it was stored."""
    written = any(each.opened for each in loaded.values())
    return sync.name if written and not validate_only else ""


def _run(target: Target, records: dict[str, list[Record]], source: Sync.Source.ValueType) -> Sync:
    regions = {record.region for each in records.values() for record in each} - {GLOBAL}
    return Sync(
        name=f"{target.parent}/syncs/{new_sync_id()}",
        cloud_account_id=target.cloud_account_id,
        regions=sorted(regions),
        collections=sorted(records),
        state=Sync.STATE_SUCCEEDED,
        start_time=timestamp(datetime.now(UTC)),
        source=source,
    )
