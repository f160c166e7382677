"""Runs checks over what was collected: one CheckResult for a check and its thresholds."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2
from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.compliance.coverage import Coverage, Standing
from services.inventory.compliance.evidence import record_evidence
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.exceptions import Exceptions, by_end
from services.inventory.compliance.failing_filter import in_accounts, not_accepted
from services.inventory.compliance.outcomes import (
    EXCEPTED,
    FAIL,
    NOT_APPLICABLE,
    OPEN,
    PASS,
    STALE,
    UNREAD,
    Outcome,
    Place,
    Tally,
    combine,
    first_places,
    total,
)
from services.inventory.compliance.row_weighing import Question, bad_outcome

MAX_EVIDENCE = 50
MAX_GAPS = 20
MAX_FILTER = 4096
MAX_FILTER_ACCOUNTS = 50
MAX_EXCEPTIONS = 50
TOGETHER = 3
"""Checks that one statement counts: rows are read once for all, each mix of outcomes is a group."""
_WORST_FIRST = (FAIL, UNREAD, STALE, EXCEPTED)
_STANDINGS = {Standing.UNREAD: UNREAD, Standing.STALE: STALE}


class Asked(NamedTuple):
    """A check and the thresholds to run it with."""

    check: BoundCheck
    thresholds: Mapping[str, int]


def batches(asked: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Group checks whose outcomes one statement can count: of one collection, read alike."""
    alike: dict[tuple[str, bool], list[Asked]] = {}
    for each in asked:
        key = (each.check.kind.collection, each.check.uses_now)
        alike.setdefault(key, []).append(each)
    for group in alike.values():
        for start in range(0, len(group), TOGETHER):
            yield group[start : start + TOGETHER]


@dataclass(frozen=True)
class _Row:
    """A record that is shown as evidence."""

    record: record_pb2.Record
    outcome: Outcome
    exception: str = ""


@dataclass
class _Found:
    """What the readings of one check gave."""

    tallies: list[Tally] = field(default_factory=list)
    records: list[_Row] = field(default_factory=list)
    actions: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Evaluation:
    """One look at the evidence: the rows and the manifest of one moment."""

    evidence: EvidenceStore
    coverage: Coverage
    evaluate_time: datetime
    oldest: datetime
    """Evidence read before counts as stale."""
    named_accounts: Sequence[str] = ()
    """Accounts that the caller chose; all if none."""
    exceptions: Exceptions = field(default_factory=Exceptions)

    async def run(self, check: BoundCheck, thresholds: Mapping[str, int]) -> pb.CheckResult:
        """Weigh all rows of a check."""
        (result,) = await self.run_together([Asked(check, thresholds)])
        return result

    async def run_together(self, asked: Sequence[Asked]) -> list[pb.CheckResult]:
        """Weigh all rows of checks that one statement can count: see ``batches``."""
        first = asked[0].check
        found = [_Found() for _ in asked]
        groups = [
            *self.coverage.reading_groups(
                first.kind.collection, together=not first.uses_now, at=self.evaluate_time
            )
        ]
        everywhere = self.coverage.everywhere and len(groups) == 1
        for readings in groups:
            questions = [
                Question(
                    check,
                    thresholds,
                    readings,
                    self.exceptions.of_records(check),
                    shown=check.fields.union(check.remedy_fields),
                    everywhere=everywhere,
                )
                for check, thresholds in asked
            ]
            tallied = await self.evidence.tallies(questions)
            for question, tallies, each in zip(questions, tallied, found, strict=True):
                await self._read(question, tallies, each)
        return [self._result(*each, own) for each, own in zip(asked, found, strict=True)]

    def _result(
        self, check: BoundCheck, thresholds: Mapping[str, int], found: _Found
    ) -> pb.CheckResult:
        result = pb.CheckResult(
            check_id=check.id,
            grade=check.message.grade,
            severity=check.message.severity,
            thresholds=thresholds,
            collection=check.kind.collection,
            remediation=check.message.remediation,
            control_version=check.version,
        )
        if check.message.scope == check_pb2.CHECK_SCOPE_RESOURCE:
            self._weigh_rows(check, found, result)
        else:
            self._weigh_accounts(check, found, result)
        if result.failed:
            result.failing_filter = self._filter(check, thresholds)
        return result

    async def _read(self, question: Question, tallies: Sequence[Tally], found: _Found) -> None:
        question = replace(question, whole=not any(tally.partial for tally in tallies))
        by_standing: dict[Standing, list[Place]] = {standing: [] for standing in Standing}
        for tally in tallies:
            standing = self._standing(question.check, tally.place)
            by_standing[standing].append(tally.place)
            outcome = _STANDINGS.get(standing)
            found.tallies.append(tally if outcome is None else tally.all_as(outcome))
        closed = by_standing[Standing.UNREAD] + by_standing[Standing.STALE]
        counts = total(tally for tally in tallies if tally.place not in closed)
        for outcome in (FAIL, UNREAD, *self._met_is_bad(question.check)):
            if counts[outcome]:
                first = first_places(tallies, outcome, MAX_EVIDENCE, without=closed)
                records = await self.evidence.records(
                    question, outcome, without=closed, limit=MAX_EVIDENCE, places=first
                )
                found.records += [_Row(record, outcome) for record in records]
        if counts[EXCEPTED]:
            for which, exception in enumerate(question.exceptions):
                records = await self.evidence.accepted(
                    question, which, without=closed, limit=MAX_EVIDENCE
                )
                found.records += [_Row(record, EXCEPTED, exception.name) for record in records]
        for standing, outcome in _STANDINGS.items():
            if by_standing[standing]:
                records = await self.evidence.records_in(
                    question, by_standing[standing], limit=MAX_EVIDENCE
                )
                found.records += [_Row(record, outcome) for record in records]
        if counts[UNREAD]:
            actions = self.coverage.unanswered_actions()
            found.actions |= {
                *await self.evidence.needed_actions(question, actions, without=closed)
            }

    @staticmethod
    def _met_is_bad(check: BoundCheck) -> tuple[Outcome, ...]:
        return (PASS,) if check.message.quantifier == check_pb2.QUANTIFIER_NONE else ()

    def _standing(self, check: BoundCheck, place: Place) -> Standing:
        return self.coverage.standing(
            place.cloud_account_id, check.kind.collection, place.region, self.oldest
        )

    def _weigh_rows(self, check: BoundCheck, found: _Found, result: pb.CheckResult) -> None:
        counts = total(found.tallies)
        _count(result, counts)
        self._note_exceptions(check, _accepted(found.tallies), result)
        evidence = [self._of_record(check, row) for row in found.records]
        result.evidence.extend(_worst_first(evidence))
        gaps = self._listing_gaps(check)
        # Rows that are too old tell it themselves; where there were none, the list's age does.
        told = {each.place.cloud_account_id for each in found.tallies if each.counts[STALE]}
        for account in self.coverage.accounts:
            gaps += [] if account in told else self._outdated(check, account)
        if counts[UNREAD]:
            gaps += self.coverage.field_gaps(found.actions)
        result.gaps.extend(gaps[:MAX_GAPS])
        result.complete = not gaps and not any(counts[outcome] for outcome in OPEN)

    def _weigh_accounts(self, check: BoundCheck, found: _Found, result: pb.CheckResult) -> None:
        counts: Counter[Outcome] = Counter()
        accepted: Counter[str] = Counter()
        evidence: list[pb.Evidence] = []
        for place in self._places(check):
            tallies = [tally for tally in found.tallies if _covers(place, tally.place)]
            outcome = combine(
                check.message.quantifier,
                total(tallies),
                unlisted=self._may_hide_rows(check, place, tallies),
                outdated=bool(self._outdated(check, place.cloud_account_id, place.region)),
            )
            whole = self.exceptions.of_account(check, place.cloud_account_id)
            names: list[str] = []
            if outcome == FAIL and whole is not None:
                outcome, names = EXCEPTED, [whole.name]
            elif outcome == EXCEPTED:
                names = sorted(_accepted(tallies))
            counts[outcome] += 1
            accepted.update(names)
            if outcome in _WORST_FIRST:
                rows = [each for each in found.records if _covers(place, _place(each.record))]
                shown = self._of_account(check, place, outcome, tallies, rows)
                shown.check_exception = names[0] if names else ""
                evidence.append(shown)
        _count(result, counts)
        self._note_exceptions(check, accepted, result)
        result.evidence.extend(_worst_first(evidence))
        result.complete = not any(counts[outcome] for outcome in OPEN)
        if not result.complete:
            gaps = self._listing_gaps(check)
            gaps += self.coverage.field_gaps(found.actions)
            result.gaps.extend(gaps[:MAX_GAPS])

    def _places(self, check: BoundCheck) -> list[Place]:
        """Give what has one outcome each: accounts, or their regions."""
        collection = check.kind.collection
        if check.message.scope == check_pb2.CHECK_SCOPE_ACCOUNT:
            return [Place(account, "") for account in self.coverage.accounts]
        return [
            Place(account, region)
            for account in self.coverage.accounts
            for region in sorted(
                {*self.coverage.units(account, collection)}
                | {gap.region for gap in self.coverage.gaps(account, collection)}
            )
        ]

    def _may_hide_rows(self, check: BoundCheck, place: Place, tallies: Sequence[Tally]) -> bool:
        """Tell whether there may be rows that nobody saw."""
        account, collection = place.cloud_account_id, check.kind.collection
        gaps = self.coverage.gaps(account, collection)
        if any(not place.region or gap.region in (place.region, "") for gap in gaps):
            return True
        if any(tally.rows for tally in tallies):
            return False
        # The one row of an account is always there if it was read.
        units = self.coverage.units(account, collection).values()
        return not any(unit.lists for unit in units)

    def _listing_gaps(self, check: BoundCheck) -> list[pb.ManifestGap]:
        return [
            gap
            for account in self.coverage.accounts
            for gap in self.coverage.gaps(account, check.kind.collection)
        ]

    def _outdated(self, check: BoundCheck, account: str, region: str = "") -> list[pb.ManifestGap]:
        return self.coverage.outdated(account, check.kind.collection, self.oldest, region)

    def _note_exceptions(
        self, check: BoundCheck, accepted: Counter[str], result: pb.CheckResult
    ) -> None:
        """Tell the exceptions that accepted something, the first to expire first."""
        used = [
            each.applied(accepted[each.name])
            for each in self.exceptions.of(check)
            if accepted[each.name]
        ]
        result.exceptions.extend(by_end(used)[:MAX_EXCEPTIONS])

    def _of_record(self, check: BoundCheck, row: _Row) -> pb.Evidence:
        missing = self._unit_gaps(check, _place(row.record)) if row.outcome == UNREAD else []
        found = record_evidence(check, row.record, row.outcome, missing)
        found.check_exception = row.exception
        return found

    def _unit_gaps(self, check: BoundCheck, place: Place) -> list[record_pb2.Unread]:
        """Give the listings that leave a record's whole unit unread."""
        units = self.coverage.units_of_row(
            place.cloud_account_id, check.kind.collection, place.region
        )
        return [
            record_pb2.Unread(action=entry.action, code=entry.code, outcome=entry.outcome)
            for unit in units
            for entry in unit.blocking
        ]

    def _of_account(
        self,
        check: BoundCheck,
        place: Place,
        outcome: Outcome,
        tallies: Sequence[Tally],
        records: Sequence[_Row],
    ) -> pb.Evidence:
        subject = "/".join(part for part in (place.cloud_account_id, place.region) if part)
        found = pb.Evidence(
            subject=subject,
            outcome=outcome,
            cloud_account_id=place.cloud_account_id,
            region=place.region,
        )
        rows = sum(tally.rows for tally in tallies)
        if rows == 1 and records:
            single = self._of_record(check, records[0])
            found.values.update(single.values)
            found.target.update(single.target)
            found.unread.extend(single.unread)
            if single.HasField("since"):
                found.since.CopyFrom(single.since)
            return found
        counts = total(tallies)
        found.values["records"] = str(rows)
        meeting = counts[PASS]
        if bad_outcome(check) == PASS:
            meeting += counts[EXCEPTED]
        found.values["records_meeting_the_condition"] = str(meeting)
        unread = [gap for row in records for gap in self._of_record(check, row).unread]
        found.unread.extend(unread[:MAX_GAPS])
        return found

    def _filter(self, check: BoundCheck, thresholds: Mapping[str, int]) -> str:
        """Write the filter of the failing records, by the time of the newest reading."""
        readings = self.coverage.readings(
            check.kind.collection, together=not check.uses_now, at=self.evaluate_time
        )
        newest = max((reading.read_time for reading in readings), default=self.evaluate_time)
        unmet = [each.unmet() for each in self.exceptions.of(check)]
        text = not_accepted(check.filter(thresholds, newest), unmet)
        if 0 < len(self.named_accounts) <= MAX_FILTER_ACCOUNTS:
            text = in_accounts(text, self.named_accounts)
        return text if len(text) <= MAX_FILTER else ""


def _count(result: pb.CheckResult, counts: Counter[Outcome]) -> None:
    result.passed = counts[PASS]
    result.failed = counts[FAIL]
    result.not_applicable = counts[NOT_APPLICABLE]
    result.unread = counts[UNREAD]
    result.stale = counts[STALE]
    result.excepted = counts[EXCEPTED]


def _accepted(tallies: Iterable[Tally]) -> Counter[str]:
    accepted: Counter[str] = Counter()
    for tally in tallies:
        accepted.update(tally.accepted)
    return accepted


def _worst_first(evidence: list[pb.Evidence]) -> list[pb.Evidence]:
    ranked = [each for each in evidence if each.outcome in _WORST_FIRST]
    ranked.sort(key=lambda each: (_WORST_FIRST.index(each.outcome), each.subject, each.record))
    return ranked[:MAX_EVIDENCE]


def _place(record: record_pb2.Record) -> Place:
    return Place(record.cloud_account_id, record.region)


def _covers(whole: Place, part: Place) -> bool:
    return whole.cloud_account_id == part.cloud_account_id and whole.region in ("", part.region)
