"""What a reading turned: records, and the outcomes of the checks that rest on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mesh.sql.store import Store
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1.event_service_pb2 import ChangedRecord, CheckTurn, EventReading
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.versions import Changes, Unit
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE
from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.compliance.coverage import Coverage
from services.inventory.compliance.evaluation import Evaluation
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.outcomes import PASS, Outcome
from services.inventory.compliance.row_outcome import row_outcome
from services.inventory.controls.tenant_checks import TenantChecks

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

    async def told(self, tenant: str, sync: Sync, changes: list[Change]) -> EventReading:
        """Give what a run changed, and which outcomes that turned."""
        told = EventReading(sync=sync)
        told.records.extend(_record(change) for change in changes[:MAX_TOLD])
        if not changes:
            return told
        touched = {change.unit.collector.collection for change in changes}
        catalogue = await self._checks.of(tenant)
        checks = [each for each in catalogue.checks.values() if each.kind.collection in touched]
        single = [each for each in checks if _is_single(each)]
        turns = [*_record_turns(single, changes)]
        together = [each for each in checks if not _is_single(each)]
        turns += await self._together(tenant, sync, together)
        told.turns.extend(turns[:MAX_TOLD])
        return told

    async def _together(
        self, tenant: str, sync: Sync, checks: Iterable[BoundCheck]
    ) -> list[CheckTurn]:
        """Weigh checks over all records of the account, as of the start of the run and now."""
        turns: list[CheckTurn] = []
        before = sync.start_time.ToMicroseconds()
        for check in checks:
            old = await self._outcomes(tenant, sync.cloud_account_id, check, before)
            new = await self._outcomes(tenant, sync.cloud_account_id, check, None)
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
        self, tenant: str, account: str, check: BoundCheck, moment: int | None
    ) -> dict[str, Outcome]:
        """Give the outcome of the account or each region of it where that is not a pass."""
        now = datetime.now(UTC)
        async with self._store.connection() as connection:
            evidence = EvidenceStore(self._store, connection, tenant, moment)
            coverage = Coverage([account], await evidence.units([account]))
            evaluation = Evaluation(evidence, coverage, now, now - DEFAULT_MAX_AGE, (account,))
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


def _record_turns(checks: Iterable[BoundCheck], changes: list[Change]) -> Iterable[CheckTurn]:
    now = datetime.now(UTC)
    for check in checks:
        parameters = check.parameters(check.defaults(), now)
        for change in changes:
            if change.unit.collector.collection != check.kind.collection:
                continue
            old = _outcome(check, change.old, parameters)
            new = _outcome(check, change.new, parameters)
            if old != new:
                name = (change.new or change.old or Record()).name
                yield CheckTurn(check_id=check.id, record=name, old_outcome=old, new_outcome=new)


def _outcome(check: BoundCheck, record: Record | None, parameters: Mapping[str, object]) -> Outcome:
    if record is None:
        return NONE
    unread = frozenset(each.field for each in record.unread)
    return row_outcome(check, getattr(record, str(check.kind.body_field)), unread, parameters)
