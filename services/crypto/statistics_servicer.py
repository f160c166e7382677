"""StatisticsService: what was sealed and done, and whether the service stands on what it needs."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import RowMapping

from mesh.contract.names import NamePattern
from mesh.errors import ResourceNotFound
from mesh.server.call import current_call
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import statistics_service_pb2 as pb
from secmesh.crypto.v1.database_usage_pb2 import DatabaseUsage
from secmesh.crypto.v1.statistics_pb2 import Statistics
from secmesh.crypto.v1.statistics_service_pb2_grpc import StatisticsServiceServicer
from services.crypto.audit.entry import Access, Audit, Operation
from services.crypto.database_usage_store import DatabaseUsageStore
from services.crypto.installation_store import Check, checks
from services.crypto.persons.config_store import ConfigStore
from services.crypto.statistics_store import StatisticsStore

NAME = NamePattern("tenants/{tenant}/statistics")
DAYS = 7
"""Of the audit, if none are asked for."""
_SCHEDULE = "key_rotation_schedule_days"


class StatisticsServicer(StatisticsServiceServicer):
    """Between messages and what is counted.

    Args:
        transactions: Of the database.
        audit: Where the reading is told.
        custodian_checks: Looks at who keeps the keys that all others hang from.
    """

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self,
        transactions: Transactions,
        audit: Audit,
        custodian_checks: Callable[[], Awaitable[Iterable[Check]]],
    ) -> None:
        self._transactions = transactions
        self._audit = audit
        self._custodian_checks = custodian_checks
        self._store = StatisticsStore()
        self._usage = DatabaseUsageStore()
        self._config = ConfigStore()

    async def GetStatistics(self, request: pb.GetStatisticsRequest, _context: object) -> Statistics:
        """Give what is counted; ResourceNotFound."""
        ids = NAME.parse(request.name)
        if ids is None:
            raise ResourceNotFound(request.name)
        (tenant,) = ids
        store = self._store
        async with self._transactions.connection(tenant) as connection:
            start = await store.start(connection, request.days or DAYS)
            settings = await self._config.settings(connection, tenant)
            schedule = timedelta(days=int(settings[_SCHEDULE]))
            shown = Statistics(name=request.name)
            for field, rows in (
                ("encryption", await store.encryption(connection, tenant)),
                ("operations", await store.operations(connection, tenant, start)),
                ("failures", await store.failures(connection, tenant, start)),
                ("principals", await store.principals(connection, tenant, start)),
                ("rotations", await store.rotations(connection, tenant)),
                ("keys", await store.keys(connection, tenant, schedule)),
            ):
                _add(shown, field, rows)
        shown.start_time.FromDatetime(start)
        await self._record(tenant)
        return shown

    async def GetDatabaseUsage(
        self, _request: pb.GetDatabaseUsageRequest, _context: object
    ) -> DatabaseUsage:
        """Give what the database says of itself."""
        shown = DatabaseUsage()
        async with self._transactions.connection() as connection:
            for field, rows in (await self._usage.usage(connection)).items():
                _add(shown, field, rows)
        return shown

    async def CheckInstallation(
        self, _request: pb.CheckInstallationRequest, _context: object
    ) -> pb.CheckInstallationResponse:
        """Give what was looked at."""
        async with self._transactions.connection() as connection:
            found = await connection.run_sync(lambda sync: list(checks(sync)))
        found += await self._custodian_checks()
        return pb.CheckInstallationResponse(checks=[_check(each) for each in found])

    async def _record(self, tenant: str) -> None:
        call = current_call()
        who = call.caller.subject
        access = Access(tenant, Operation.READ_AUDIT, who, call.request_id, details="statistics")
        await self._audit.record([access])


def _check(check: Check) -> pb.InstallationCheck:
    return pb.InstallationCheck(
        subject=check.name, passed=not check.problem, problem=check.problem, found=check.found
    )


def _add(message: Message, field: str, rows: Iterable[RowMapping]) -> None:
    """Write rows, whose columns are called as the fields, into a list of messages."""
    for row in rows:
        _write(getattr(message, field).add(), row)


def _write(message: Message, row: RowMapping) -> None:
    for name, value in row.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        held = getattr(message, name)
        if value is None:
            continue
        if isinstance(held, Timestamp) and isinstance(value, datetime):
            held.FromDatetime(value)
        elif isinstance(held, Duration):
            held.FromMicroseconds(value)
        elif field.enum_type is not None:
            prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
            # What no process of the service writes is shown as it is not known.
            known = field.enum_type.values_by_name.get(prefix + value.upper())
            setattr(message, name, known.number if known else 0)
        else:
            setattr(message, name, int(value) if isinstance(held, int) else value)
