"""When a verdict is wrong: one tool's verdicts held against its own of an undisturbed run.

Nothing changes in the account between the runs, so that every difference is the disturbance's.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias


class Status(Enum):
    """What a tool says of one resource by one check."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    UNREAD = "unread"
    """It says itself that it does not know."""


class Question(NamedTuple):
    """What a verdict answers."""

    check: str
    subject: str
    """A resource, or an account."""


Verdicts: TypeAlias = Mapping[Question, Status]


@dataclass(frozen=True)
class Difference:
    """How the verdicts of a disturbed run stand to the truth."""

    right: int = 0
    unread: int = 0
    """Known to be unknown: nobody is misled."""
    false_fail: int = 0
    false_pass: int = 0
    vanished: int = 0
    """Neither there nor reported as unread: a reader takes the resource for checked."""
    invented: int = 0
    """There, though the undisturbed run had nothing to say."""

    @property
    def wrong(self) -> int:
        return self.false_fail + self.false_pass + self.vanished + self.invented


def compare(truth: Verdicts, seen: Verdicts, incomplete: Container[str] = ()) -> Difference:
    """Hold a disturbed run against the truth.

    Args:
        truth: Verdicts of the undisturbed run; what that left unread is no truth.
        seen: Verdicts of the disturbed run.
        incomplete: Checks that the tool itself reports as not seen whole; what they lack
            is unread, not vanished.
    """
    counts = dict.fromkeys(("right", "unread", "false_fail", "false_pass", "vanished"), 0)
    for question, status in truth.items():
        if status is not Status.UNREAD:
            counts[_kind(question, status, seen.get(question), incomplete)] += 1
    invented = sum(
        status is not Status.UNREAD and question not in truth for question, status in seen.items()
    )
    return Difference(**counts, invented=invented)


def _kind(
    question: Question, status: Status, found: Status | None, incomplete: Container[str]
) -> str:
    if found is status:
        return "right"
    if found is Status.UNREAD:
        return "unread"
    if found is None:
        return "unread" if question.check in incomplete else "vanished"
    return "false_fail" if found is Status.FAIL else "false_pass"
