"""The exceptions of a tenant as an evaluation reckons with them."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2
from secmesh.inventory.v1.check_exception_pb2 import AppliedException, CheckException
from services.inventory.compliance.check_catalogue import CheckCatalogue, RuleBroken
from services.inventory.compliance.exceptions import (
    BoundException,
    Exceptions,
    applied,
    bind_exception,
    by_end,
)
from services.inventory.exceptions.exception_store import ExceptionStore

NOTICE = timedelta(days=14)
"""Before its end, from when on an exception is told as ending."""
MAX_NOTICES = 100
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """The exceptions of a tenant at one moment."""

    exceptions: Exceptions = field(default_factory=Exceptions)
    expired: list[AppliedException] = field(default_factory=list)
    """Approved, not revoked, and over; the latest first."""
    expiring: list[AppliedException] = field(default_factory=list)
    """In force and soon over; the first to end first."""

    def tell(self, assessment: assessment_pb2.Assessment) -> None:
        """Write into an assessment which exceptions are over, or soon."""
        assessment.expired_exceptions.extend(self.expired)
        assessment.expiring_exceptions.extend(self.expiring)


class TenantExceptions:
    """Gives each tenant its exceptions, bound to its checks."""

    def __init__(self, store: Store) -> None:
        self._exceptions = ExceptionStore(store)

    async def at(
        self, tenant: str, moment: Timestamp, checks: CheckCatalogue, connection: AsyncConnection
    ) -> Standing:
        """Give the exceptions in force now, and those that end or ended."""
        approved = await self._exceptions.approved(tenant, moment, connection)
        soon = moment.ToNanoseconds() + int(NOTICE.total_seconds()) * 1_000_000_000
        ending = by_end(
            applied(each) for each in approved if each.expire_time.ToNanoseconds() <= soon
        )
        expired = await self._exceptions.expired(tenant, moment, connection, limit=MAX_NOTICES)
        return Standing(
            bound(approved, checks), [applied(each) for each in expired], ending[:MAX_NOTICES]
        )

    async def in_force(
        self, tenant: str, moment: Timestamp, checks: CheckCatalogue, connection: AsyncConnection
    ) -> Exceptions:
        """Give the exceptions of some checks that were in force at a moment, past or present."""
        return bound(await self._exceptions.in_force(tenant, moment, connection), checks)

    async def as_judged(
        self,
        tenant: str,
        results: Iterable[assessment_pb2.CheckResult],
        checks: CheckCatalogue,
        connection: AsyncConnection,
    ) -> Exceptions:
        """Give the exceptions that accepted something in these results, whatever became of them."""
        ids = {
            each.check_exception.rpartition("/")[2]
            for result in results
            for each in result.exceptions
        }
        if not ids:
            return Exceptions()
        return bound(await self._exceptions.named(tenant, ids, connection), checks)


def bound(found: Collection[CheckException], checks: CheckCatalogue) -> Exceptions:
    """Bind exceptions to their checks.

    One whose check is gone, or has become another, accepts nothing, and that is logged.
    """
    by_check: dict[str, list[BoundException]] = {}
    for exception in found:
        check = checks.checks.get(exception.check_id)
        if check is None:
            continue
        try:
            by_check.setdefault(check.id, []).append(bind_exception(check, exception))
        except RuleBroken as broken:
            _LOG.warning("%s accepts nothing: %s", exception.name, broken)
    return Exceptions(by_check)
