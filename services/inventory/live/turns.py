"""What a reading turned: records, and the outcomes of the checks that rest on them.

Before and after are judged by the exceptions of now: what turned, turned by the reading.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.sql.store import Store
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1.event_service_pb2 import ChangedRecord, CheckTurn, EventReading
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.versions import Changes, Unit
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

MAX_TOLD = 1000
"""Records and turns that one reading tells of."""
NONE = check_pb2.EVIDENCE_OUTCOME_UNSPECIFIED


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
    """Weighs records before and after a reading."""

    def __init__(self, store: Store, checks: TenantChecks) -> None:
        self._store = store
        self._checks = checks
        self._exceptions = TenantExceptions(store)

    async def told(self, tenant: str, sync: Sync, changes: list[Change]) -> EventReading:
        """Give what a run changed, and which outcomes that turned."""
        told = EventReading(sync=sync)
        told.records.extend(_record(change) for change in changes[:MAX_TOLD])
        if not changes:
            return told
        touched = {change.unit.collector.collection for change in changes}
        catalogue = await self._checks.of(tenant)
        checks = [each for each in catalogue.checks.values() if each.kind.collection in touched]
        exceptions = await self._in_force(tenant, catalogue)
        single = [each for each in checks if _is_single(each)]
        turns = [*_record_turns(single, changes, exceptions)]
        together = [each for each in checks if not _is_single(each)]
        turns += await self._together(tenant, sync, together, exceptions)
        told.turns.extend(turns[:MAX_TOLD])
        return told

    async def _in_force(self, tenant: str, checks: CheckCatalogue) -> Exceptions:
        stamp = Timestamp()
        stamp.GetCurrentTime()
        async with self._store.connection(tenant) as connection:
            return await self._exceptions.in_force(tenant, stamp, checks, connection)

    async def _together(
        self, tenant: str, sync: Sync, checks: Iterable[BoundCheck], exceptions: Exceptions
    ) -> list[CheckTurn]:
        """Weigh checks over all records of the account, as of the start of the run and now."""
        turns: list[CheckTurn] = []
        before = sync.start_time.ToMicroseconds()
        for check in checks:
            account = sync.cloud_account_id
            old = await self._outcomes(tenant, account, check, exceptions, before)
            new = await self._outcomes(tenant, account, check, exceptions, None)
            turns += [
                CheckTurn(
                    check_id=check.id,
                    subject=subject,
                    old_outcome=old.get(subject, PASS),
                    new_outcome=new.get(subject, PASS),
                )
                for subject in sorted(old.keys() | new.keys())
                if old.get(subject, PASS) != new.get(subject, PASS)
            ]
        return turns

    async def _outcomes(
        self,
        tenant: str,
        account: str,
        check: BoundCheck,
        exceptions: Exceptions,
        moment: int | None,
    ) -> dict[str, Outcome]:
        """Give the outcome of the account or each region of it where that is not a pass."""
        now = datetime.now(UTC)
        async with self._store.connection() as connection:
            evidence = EvidenceStore(self._store, connection, tenant, moment)
            coverage = Coverage([account], await evidence.units([account]))
            oldest = now - DEFAULT_MAX_AGE
            evaluation = Evaluation(evidence, coverage, now, oldest, (account,), exceptions)
            result = await evaluation.run(check, check.defaults())
        return {each.subject: each.outcome for each in result.evidence}


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
    checks: Iterable[BoundCheck], changes: list[Change], exceptions: Exceptions
) -> Iterable[CheckTurn]:
    now = datetime.now(UTC)
    for check in checks:
        accepting = exceptions.of_records(check)
        parameters = check.parameters(check.defaults(), now)
        for change in changes:
            if change.unit.collector.collection != check.kind.collection:
                continue
            old = _outcome(check, change.old, parameters, accepting)
            new = _outcome(check, change.new, parameters, accepting)
            if old != new:
                name = (change.new or change.old or Record()).name
                yield CheckTurn(check_id=check.id, record=name, old_outcome=old, new_outcome=new)


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
