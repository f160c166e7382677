"""StoreService: what is stored, and its upkeep."""

from collections.abc import AsyncIterator, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, status_pb2

from mesh.contract.catalogue import Catalogue
from mesh.contract.digest import contract_digest
from mesh.contract.names import EVERY_COLLECTION, collection_of, tenant_of
from mesh.errors import KindUnknown
from mesh.sql.backup.schedule import BackupSchedule
from mesh.sql.integrity import Finding, checked_rows, database_findings, optimise
from mesh.sql.statistics import Size, describe_database, sizes
from secmesh.inventory.v1 import store_service_pb2_grpc
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sqlite_import_pb2 import ImportSqliteRequest, ImportSqliteResponse
from secmesh.inventory.v1.store_service_pb2 import (
    AccountStats,
    BackupScheduleStats,
    CheckStoreProgress,
    CheckStoreRequest,
    CheckStoreResponse,
    CollectionStats,
    DeletedRows,
    GetStatsRequest,
    LoadRecordsRequest,
    LoadRecordsResponse,
    ReloadAccountRequest,
    ResetAccountRequest,
    ResetAccountResponse,
    SampleRecordsRequest,
    SampleRecordsResponse,
    StoreFinding,
    StoreStats,
)
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.account_store import ACCOUNT, AccountStore
from services.inventory.collect.runner import SyncRunner
from services.inventory.errors import ConfirmationMissing
from services.inventory.loader import Loader
from services.inventory.sampling import sample

SAMPLE_SIZE = 3
"""Records of a sample that names no number; as the contract says."""
TOLD_FINDINGS = 1000
"""Findings that a check tells one by one; as the contract says."""


class StoreServicer(store_service_pb2_grpc.StoreServiceServicer):
    """Answers from a store; tenant and permission were checked before."""

    def __init__(
        self,
        catalogue: Catalogue,
        accounts: AccountStore,
        runner: SyncRunner,
        schedule: BackupSchedule,
        loader: Loader,
    ) -> None:
        self._catalogue = catalogue
        self._store = accounts.store
        self._accounts = accounts
        self._runner = runner
        self._schedule = schedule
        self._loader = loader
        self._digest = contract_digest(catalogue)

    async def GetStats(self, request: GetStatsRequest, _context: object) -> StoreStats:  # noqa: N802  # the contract's name
        tenant = tenant_of(request.parent) or ""
        by_account: dict[str, AccountStats] = {}
        stats = StoreStats(database=self._store.database, contract_digest=self._digest)
        async with self._store.connection() as connection:
            for collection in self._store.tables:
                is_record = collection in self._catalogue.record_kinds
                found = await sizes(
                    self._store,
                    collection,
                    tenant,
                    by=ACCOUNT if is_record else "",
                    connection=connection,
                )
                stats.collections.append(_collection(collection, found))
                for size in found if is_record else ():
                    account = by_account.setdefault(size.group, AccountStats())
                    account.current_rows += size.current
                    account.past_rows += size.past
            for each, runs in (await self._accounts.runs(tenant, connection)).items():
                account = by_account.setdefault(each, AccountStats())
                account.runs = runs.count
                account.last_sync.CopyFrom(self._runner.refreshed(runs.last))
            database = await describe_database(self._store, connection)
        for each, account in sorted(by_account.items()):
            account.cloud_account_id = each
            stats.accounts.append(account)
        stats.backup_schedule.CopyFrom(await self._backup_schedule())
        stats.database_version, stats.store_bytes = database.version, database.size
        return stats

    async def _backup_schedule(self) -> BackupScheduleStats:
        health = await self._schedule.health()
        stats = BackupScheduleStats()
        stats.interval.FromTimedelta(self._schedule.every)
        if health.last is not None:
            stats.last_time.FromMicroseconds(health.last.created)
        if health.failure is not None:
            stats.failure_time.FromMicroseconds(health.failure.when)
            stats.failure = health.failure.problem
        return stats

    async def SampleRecords(  # noqa: N802  # the contract's name
        self, request: SampleRecordsRequest, _context: object
    ) -> SampleRecordsResponse:
        asked = collection_of(request.parent) or ""
        kinds = self._catalogue.record_kinds
        if asked != EVERY_COLLECTION and asked not in kinds:
            raise KindUnknown(asked)
        answer = SampleRecordsResponse()
        for collection in sorted(kinds) if asked == EVERY_COLLECTION else [asked]:
            found = await sample(
                self._store,
                collection,
                tenant_of(request.parent) or "",
                size=request.size or SAMPLE_SIZE,
                seed=request.seed,
            )
            answer.records.extend(record for record in found if isinstance(record, Record))
        return answer

    async def ResetAccount(  # noqa: N802  # the contract's name
        self, request: ResetAccountRequest, _context: object
    ) -> ResetAccountResponse:
        confirmed = request.confirm_cloud_account_id == request.cloud_account_id
        if not (confirmed or request.validate_only):
            raise ConfirmationMissing("confirm_cloud_account_id", "cloud_account_id")
        deleted = await self._accounts.reset(
            tenant_of(request.parent) or "",
            request.cloud_account_id,
            validate_only=request.validate_only,
        )
        rows = [DeletedRows(collection=name, rows=deleted[name]) for name in sorted(deleted)]
        return ResetAccountResponse(deleted=rows, validate_only=request.validate_only)

    async def ReloadAccount(self, request: ReloadAccountRequest, _context: object) -> Sync:  # noqa: N802  # the contract's name
        tenant = tenant_of(request.parent) or ""
        regions = await self._accounts.regions(tenant, request.cloud_account_id)
        wanted = Sync(cloud_account_id=request.cloud_account_id, regions=regions)
        return await self._runner.start(request.parent, wanted, "")

    async def LoadRecords(  # noqa: N802  # the contract's name
        self, request: LoadRecordsRequest, _context: object
    ) -> LoadRecordsResponse:
        return await self._loader.load(request)

    async def ImportSqlite(  # noqa: N802  # the contract's name
        self, request: ImportSqliteRequest, _context: object
    ) -> ImportSqliteResponse:
        return await self._loader.import_sqlite(request)

    async def CheckStore(  # noqa: N802  # the contract's name
        self, request: CheckStoreRequest, _context: object
    ) -> AsyncIterator[CheckStoreResponse]:
        at = CheckStoreProgress()
        for finding in await database_findings(self._store):
            at.findings += 1
            yield _told(finding)
        for collection in self._store.tables:
            at.collection = collection
            async for checked in checked_rows(self._store, collection):
                for finding in checked.findings:
                    at.findings += 1
                    if at.findings <= TOLD_FINDINGS:
                        yield _told(finding)
                at.rows += checked.rows
                yield CheckStoreResponse(progress=at)
        if request.optimise:
            await optimise(self._store)
        yield CheckStoreResponse(progress=at)
        yield CheckStoreResponse(ended=status_pb2.Status(code=code_pb2.OK))


def _told(finding: Finding) -> CheckStoreResponse:
    told = StoreFinding(
        collection=finding.collection, resource=finding.resource, problem=finding.problem
    )
    return CheckStoreResponse(finding=told)


def _collection(collection: str, found: Sequence[Size]) -> CollectionStats:
    """Add up the groups of a collection's rows."""
    oldest = [size.oldest for size in found if size.oldest is not None]
    newest = [size.newest for size in found if size.newest is not None]
    return CollectionStats(
        collection=collection,
        current_rows=sum(size.current for size in found),
        past_rows=sum(size.past for size in found),
        content_bytes=sum(size.content_bytes for size in found),
        oldest_time=_stamp(min(oldest)) if oldest else None,
        newest_time=_stamp(max(newest)) if newest else None,
    )


def _stamp(micros: int) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made
