"""What a reading turned: records, and the outcomes of the checks that rest on them.

Before and after are judged by the exceptions of now: what turned, turned by the reading.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import Refusal
from mesh.identifiers import new_uuid
from mesh.sql.store import Store
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.event_service_pb2 import ChangedRecord, EventReading
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.draft import timestamp
from services.inventory.collect.versions import Changes, Unit
from services.inventory.compliance.assessment import bind
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE
from services.inventory.compliance.check_catalogue import BoundCheck, CheckCatalogue
from services.inventory.compliance.coverage import Coverage
from services.inventory.compliance.evaluation import Evaluation
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.exceptions import BoundException, Exceptions
from services.inventory.compliance.outcomes import EXCEPTED, FAIL, PASS, Outcome
from services.inventory.compliance.row_outcome import row_outcome
from services.inventory.controls.tenant_checks import TenantChecks
from services.inventory.exceptions.tenant_exceptions import TenantExceptions
from services.inventory.live.check_turn_store import CheckTurnStore

MAX_TOLD = 1000
"""Records and turns that one reading tells of."""
NONE = check_pb2.EVIDENCE_OUTCOME_UNSPECIFIED
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """One record before and after; None where it was not there."""

    unit: Unit
    old: Record | None
    new: Record | None


def changes_of(unit: Unit, stored: Mapping[str, Record], changes: Changes) -> list[Change]:
    """Give what became of the records of a unit."""
    opened = {record.name: record for record in changes.opened}
    names = sorted(opened.keys() | changes.closed.keys())
    return [Change(unit, stored.get(name), opened.get(name)) for name in names]


class Turns:
    """Weighs checks before and after a run changed records, and keeps which of them turned.

    Checks are weighed by their own thresholds and the exceptions in force. One that cannot be
    weighed stops no run: that is logged.
    """

    def __init__(self, store: Store, checks: TenantChecks) -> None:
        self._store = store
        self._checks = checks
        self._exceptions = TenantExceptions(store)
        self.kept = CheckTurnStore(store)

    async def of_unit(
        self, sync: Sync, unit: Unit, stored: Mapping[str, Record], changes: Changes
    ) -> Sequence[CheckTurn]:
        """Give the outcomes of single records that a unit turns."""

        async def weigh() -> list[CheckTurn]:
            checks, exceptions = await self._of(sync, {unit.collector.collection})
            single = [each for each in checks if _is_single(each)]
            changed = changes_of(unit, stored, changes)
            weighed = _record_turns(sync, single, changed, exceptions)
            return await asyncio.to_thread(list, weighed)

        return await _unless_broken(weigh) if changes.opened or changes.closed else []

    async def of_run(self, sync: Sync, touched: Collection[str]) -> Sequence[CheckTurn]:
        """Weigh checks over all records of the account, as of the start of a run and now."""

        async def weigh() -> list[CheckTurn]:
            checks, exceptions = await self._of(sync, touched)
            found: list[CheckTurn] = []
            for check in checks:
                if not _is_single(check):
                    found += await self._together(sync, check, exceptions)
            return found

        return await _unless_broken(weigh) if touched else []

    async def add(self, connection: AsyncConnection, turns: Sequence[CheckTurn]) -> None:
        """Store turns."""
        await self.kept.add(connection, turns)

    async def told(self, sync: Sync, changes: list[Change]) -> EventReading:
        """Give what a run changed, and which outcomes that turned."""
        told = EventReading(sync=sync)
        told.records.extend(_record(change) for change in changes[:MAX_TOLD])
        told.turns.extend(await self.kept.of(sync.name, MAX_TOLD))
        return told

    async def checks_of_plan(self, ssp: str) -> frozenset[str]:
        """Give the ids of the checks that a plan is weighed by; ResourceNotFound."""
        async with self._store.connection() as connection:
            plan, claims = await AssessmentStore(self._store).plan(ssp, connection)
            checks = await self._checks.of(tenant_of(ssp) or "", connection)
        bindings = await asyncio.to_thread(bind, plan, claims, checks)
        return frozenset(run.check_id for binding in bindings for run in binding.runs)

    async def _of(
        self, sync: Sync, touched: Collection[str]
    ) -> tuple[list[BoundCheck], Exceptions]:
        """Give the checks over these collections, and the exceptions in force."""
        tenant = tenant_of(sync.name) or ""
        catalogue = await self._checks.of(tenant)
        checks = [each for each in catalogue.checks.values() if each.kind.collection in touched]
        return checks, await self._in_force(tenant, catalogue)

    async def _in_force(self, tenant: str, checks: CheckCatalogue) -> Exceptions:
        stamp = Timestamp()
        stamp.GetCurrentTime()
        async with self._store.connection(tenant) as connection:
            return await self._exceptions.in_force(tenant, stamp, checks, connection)

    async def _together(
        self, sync: Sync, check: BoundCheck, exceptions: Exceptions
    ) -> list[CheckTurn]:
        old = await self._outcomes(sync, check, exceptions, sync.start_time.ToMicroseconds())
        new = await self._outcomes(sync, check, exceptions, None)
        return [
            _turn(sync, check, was, now, subject=subject)
            for subject in sorted(old.keys() | new.keys())
            if (was := old.get(subject, PASS)) != (now := new.get(subject, PASS))
        ]

    async def _outcomes(
        self, sync: Sync, check: BoundCheck, exceptions: Exceptions, moment: int | None
    ) -> dict[str, Outcome]:
        """Give the outcome of the account or each region of it where that is not a pass."""
        now, account = datetime.now(UTC), sync.cloud_account_id
        async with self._store.connection() as connection:
            evidence = EvidenceStore(self._store, connection, tenant_of(sync.name) or "", moment)
            coverage = Coverage([account], await evidence.units([account]))
            oldest = now - DEFAULT_MAX_AGE
            evaluation = Evaluation(evidence, coverage, now, oldest, (account,), exceptions)
            result = await evaluation.run(check, check.defaults())
        return {each.subject: each.outcome for each in result.evidence}


async def _unless_broken(weigh: Callable[[], Awaitable[list[CheckTurn]]]) -> list[CheckTurn]:
    try:
        return await weigh()
    except Refusal:
        raise
    except Exception:  # noqa: BLE001  # what was read is stored, whatever a check says of it
        _LOG.exception("what a reading turned is not known")
        return []


def _is_single(check: BoundCheck) -> bool:
    return check.message.scope == check_pb2.CHECK_SCOPE_RESOURCE


def _record(change: Change) -> ChangedRecord:
    shown = change.new or change.old or Record()
    told = ChangedRecord(record=shown.name, arn=shown.arn)
    if change.new is None:
        told.change = ChangedRecord.CHANGE_GONE
        return told
    added = change.old is None
    told.change = ChangedRecord.CHANGE_ADDED if added else ChangedRecord.CHANGE_CHANGED
    told.unread_fields.extend(each.field for each in change.new.unread)
    return told


def _record_turns(
    sync: Sync, checks: Iterable[BoundCheck], changes: Sequence[Change], exceptions: Exceptions
) -> Iterable[CheckTurn]:
    now = datetime.now(UTC)
    for check in checks:
        accepting = exceptions.of_records(check)
        parameters = check.parameters(check.defaults(), now)
        for change in changes:
            old = _outcome(check, change.old, parameters, accepting)
            new = _outcome(check, change.new, parameters, accepting)
            if old != new:
                yield _turn(sync, check, old, new, change.new or change.old or Record())


def _turn(
    sync: Sync,
    check: BoundCheck,
    old: Outcome,
    new: Outcome,
    record: Record | None = None,
    subject: str = "",
) -> CheckTurn:
    return CheckTurn(
        name=f"tenants/{tenant_of(sync.name)}/checkTurns/{new_uuid()}",
        check_id=check.id,
        severity=check.message.severity,
        record="" if record is None else record.name,
        arn="" if record is None else record.arn,
        subject=subject,
        cloud_account_id=sync.cloud_account_id,
        old_outcome=old,
        new_outcome=new,
        sync=sync.name,
        evaluate_time=timestamp(datetime.now(UTC)),
    )


def _outcome(
    check: BoundCheck,
    record: Record | None,
    parameters: Mapping[str, object],
    accepting: Sequence[BoundException],
) -> Outcome:
    if record is None:
        return NONE
    unread = frozenset(each.field for each in record.unread)
    body = str(check.kind.body_field)
    found = row_outcome(check, getattr(record, body), unread, parameters)
    if found == FAIL and any(each.accepts(record, body) for each in accepting):
        return EXCEPTED
    return found
