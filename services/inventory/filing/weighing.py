"""What each resource of a check came out as, by the evidence that an assessment rests on."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2
from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.compliance.coverage import Coverage, Standing, Unit
from services.inventory.compliance.evaluation import Evaluation
from services.inventory.compliance.evidence import record_evidence
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.exceptions import Exceptions
from services.inventory.compliance.outcomes import EXCEPTED, FAIL, UNREAD, Outcome
from services.inventory.compliance.reason import exception_words
from services.inventory.compliance.row_weighing import Question
from services.inventory.filing.identity import Key, resource_key

_ALL = sys.maxsize


@dataclass(frozen=True)
class Failing:
    """A resource that fails a check."""

    check: BoundCheck
    account: str
    evidence: pb.Evidence
    record: record_pb2.Record | None = None
    """None where the outcome speaks for a whole account or region."""

    @property
    def resource(self) -> str:
        """Its ARN, or account and region."""
        return self.evidence.subject


@dataclass
class Weighed:
    """What is certain, and what is not; any other resource passes, or is gone."""

    failing: dict[Key, Failing] = field(default_factory=dict)
    unknown: set[Key] = field(default_factory=set)
    """Not read, or read too long ago."""
    excepted: dict[Key, str] = field(default_factory=dict)
    """Failing, and accepted: the exception and its end, in words."""

    def merge(self, other: "Weighed") -> None:
        """Take in another run: who fails one of them fails, even if another is excepted."""
        self.failing = {**other.failing, **self.failing}
        self.unknown |= other.unknown
        self.excepted = {**other.excepted, **self.excepted}


class Weigher:
    """Weighs checks by what was known when an assessment was made."""

    def __init__(
        self,
        evidence: EvidenceStore,
        units: Sequence[Unit],
        assessment: pb.Assessment,
        exceptions: Exceptions,
    ) -> None:
        self._evidence = evidence
        self._units = units
        self._exceptions = exceptions
        self._coverage = Coverage(assessment.cloud_account_ids, units)
        self._time: datetime = assessment.evaluate_time.ToDatetime(UTC)
        self._oldest = self._time - assessment.max_age.ToTimedelta()

    def looked_at(self, account: str, collection: str) -> bool:
        """Tell whether an account's resources of a collection were ever read."""
        return bool(self._coverage.units(account, collection))

    async def weigh(self, check: BoundCheck, thresholds: Mapping[str, int]) -> Weighed:
        """Weigh every resource of the assessment's accounts."""
        weighed = Weighed()
        if check.message.scope == check_pb2.CHECK_SCOPE_RESOURCE:
            await self._rows(check, thresholds, weighed)
        else:
            for account in self._coverage.accounts:
                await self._account(check, thresholds, account, weighed)
        return weighed

    async def _rows(
        self, check: BoundCheck, thresholds: Mapping[str, int], weighed: Weighed
    ) -> None:
        collection = check.kind.collection
        accepting = self._exceptions.of_records(check)
        for readings in self._coverage.reading_groups(
            collection, together=not check.uses_now, at=self._time
        ):
            question = Question(check, thresholds, readings, accepting)
            (tallies,) = await self._evidence.tallies([question])
            question = replace(question, whole=not any(each.partial for each in tallies))
            places = [tally.place for tally in tallies]
            closed = [
                place
                for place in places
                if self._coverage.standing(
                    place.cloud_account_id, collection, place.region, self._oldest
                )
                is not Standing.READ
            ]
            for outcome in (FAIL, UNREAD):
                for record in await self._evidence.records(
                    question, outcome, without=closed, limit=_ALL
                ):
                    _note(check, record, outcome, weighed)
            for which, exception in enumerate(question.exceptions):
                for record in await self._evidence.accepted(
                    question, which, without=closed, limit=_ALL
                ):
                    key = _key(check, record)
                    weighed.excepted[key] = exception_words(exception.applied())
            if closed:
                for record in await self._evidence.records_in(question, closed, limit=_ALL):
                    _note(check, record, UNREAD, weighed)

    async def _account(
        self, check: BoundCheck, thresholds: Mapping[str, int], account: str, weighed: Weighed
    ) -> None:
        """Weigh one account alone: it has fewer regions than a result lists as evidence."""
        units = [unit for unit in self._units if unit.cloud_account_id == account]
        coverage = Coverage([account], units)
        evaluation = Evaluation(
            self._evidence, coverage, self._time, self._oldest, exceptions=self._exceptions
        )
        result = await evaluation.run(check, thresholds)
        ends = {each.check_exception: exception_words(each) for each in result.exceptions}
        for evidence in result.evidence:
            key = resource_key(account, check.id, evidence.subject)
            if evidence.outcome == FAIL:
                weighed.failing[key] = Failing(check, account, evidence)
            elif evidence.outcome == EXCEPTED:
                weighed.excepted[key] = ends[evidence.check_exception]
            else:
                weighed.unknown.add(key)


def _key(check: BoundCheck, record: record_pb2.Record) -> Key:
    subject = record_evidence(check, record, EXCEPTED).subject
    return resource_key(record.cloud_account_id, check.id, subject)


def _note(check: BoundCheck, record: record_pb2.Record, outcome: Outcome, weighed: Weighed) -> None:
    evidence = record_evidence(check, record, outcome)
    key = resource_key(record.cloud_account_id, check.id, evidence.subject)
    if outcome == FAIL:
        weighed.failing[key] = Failing(check, record.cloud_account_id, evidence, record)
    else:
        weighed.unknown.add(key)
