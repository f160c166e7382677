"""Outcomes of a check: of rows as they are, or of all rows of an account together."""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from secmesh.inventory.v1 import check_pb2

Outcome: TypeAlias = check_pb2.EvidenceOutcome.ValueType
PASS = check_pb2.EVIDENCE_OUTCOME_PASS
FAIL = check_pb2.EVIDENCE_OUTCOME_FAIL
NOT_APPLICABLE = check_pb2.EVIDENCE_OUTCOME_NOT_APPLICABLE
UNREAD = check_pb2.EVIDENCE_OUTCOME_UNREAD
STALE = check_pb2.EVIDENCE_OUTCOME_STALE
EXCEPTED = check_pb2.EVIDENCE_OUTCOME_EXCEPTED
OPEN = frozenset({UNREAD, STALE})


@dataclass(frozen=True)
class Place:
    """Rows of one account in one region."""

    cloud_account_id: str
    region: str


@dataclass
class Tally:
    """How many rows of a place had each outcome."""

    place: Place
    counts: Counter[Outcome] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    """Excepted rows by the name of the exception that accepts them."""
    partial: int = 0
    """Rows of which not all could be read."""

    @property
    def rows(self) -> int:
        return self.counts.total()

    def all_as(self, outcome: Outcome) -> "Tally":
        """Count every row as one outcome, because its unit was not read or is too old."""
        return Tally(self.place, Counter({outcome: self.rows} if self.rows else {}))


def total(tallies: Iterable[Tally]) -> Counter[Outcome]:
    """Add up."""
    counts: Counter[Outcome] = Counter()
    for tally in tallies:
        counts.update(tally.counts)
    return counts


def first_places(
    tallies: Iterable[Tally], outcome: Outcome, number: int, *, without: Container[Place]
) -> list[Place]:
    """Give the places, in their order, that hold the first so many rows with an outcome."""
    found: list[Place] = []
    for tally in sorted(tallies, key=lambda each: (each.place.cloud_account_id, each.place.region)):
        if tally.counts[outcome] and tally.place not in without:
            found.append(tally.place)
            number -= tally.counts[outcome]
        if number <= 0:
            break
    return found


def combine(
    quantifier: check_pb2.Quantifier.ValueType,
    counts: Counter[Outcome],
    *,
    unlisted: bool,
    outdated: bool = False,
) -> Outcome:
    """Give the one outcome of rows together; ``unlisted`` if there may be rows nobody saw.

    So there may if they were listed too long ago (``outdated``).

    What is unknown leaves the outcome open only where it could change it. A row for which the
    check does not apply counts for nothing. Where rows would make it fail and all of them are
    excepted, so is the whole.
    """
    if quantifier == check_pb2.QUANTIFIER_ANY:
        decided = PASS if counts[PASS] else None
        otherwise = FAIL
    elif quantifier == check_pb2.QUANTIFIER_ALL:
        decided = FAIL if counts[FAIL] else None
        otherwise = PASS if counts[PASS] else NOT_APPLICABLE
    else:
        decided = FAIL if counts[PASS] else None
        otherwise = PASS
    if decided is not None:
        return decided
    if unlisted or counts[UNREAD]:
        return UNREAD
    if outdated or counts[STALE]:
        return STALE
    return EXCEPTED if counts[EXCEPTED] else otherwise
