"""Loads records of a file as a run of its own."""

import asyncio
from datetime import UTC, datetime

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.store_service_pb2 import LoadRecordsRequest, LoadRecordsResponse
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.account_grants import AccountGrants
from services.inventory.collect.derive import GLOBAL
from services.inventory.collect.draft import timestamp
from services.inventory.collect.runner import new_sync_id
from services.inventory.errors import AccountNotGranted
from services.inventory.load_store import LoadStore
from services.inventory.loading import Target, read_document


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
        account = request.cloud_account_id
        if not self._grants.allow(tenant_of(request.parent) or "", account):
            raise AccountNotGranted(account)
        now = datetime.now(UTC)
        records = await asyncio.to_thread(
            read_document, request.document, Target(request.parent, account), self._catalogue, now
        )
        sync = _run(request, records, now)
        loaded = await self._loads.load(sync, records, validate_only=request.validate_only)
        noted = loaded.opened and not request.validate_only
        return LoadRecordsResponse(
            sync=sync.name if noted else "",
            written=len(loaded.opened),
            unchanged=loaded.unchanged,
            outdated=loaded.outdated,
        )


def _run(request: LoadRecordsRequest, records: dict[str, list[Record]], now: datetime) -> Sync:
    regions = {record.region for each in records.values() for record in each} - {GLOBAL}
    return Sync(
        name=f"{request.parent}/syncs/{new_sync_id()}",
        cloud_account_id=request.cloud_account_id,
        regions=sorted(regions),
        collections=sorted(records),
        state=Sync.STATE_SUCCEEDED,
        start_time=timestamp(now),
        source=Sync.SOURCE_RECORDS,
    )
