"""What reports tell of exceptions: which accepted something, which are over, which end soon."""

from collections.abc import Iterable, Iterator

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1.check_exception_pb2 import AppliedException
from services.inventory.compliance.exceptions import by_end
from services.inventory.compliance.reason import exception_words

EXPLAINED = "These failures are accepted until a date: they count neither as failed nor as passed."
OVER = "Exceptions that are over"
ENDING = "Exceptions that end within 14 days"


def used(verdicts: Iterable[pb.ClaimVerdict]) -> list[AppliedException]:
    """Give the exceptions that accepted something, each once, the first to end first."""
    found: dict[str, AppliedException] = {}
    for verdict in verdicts:
        for result in verdict.check_results:
            for each in result.exceptions:
                known = found.get(each.check_exception)
                # One result stands with each control of its check: what it counts is no sum.
                if known is None or known.excepted < each.excepted:
                    found[each.check_exception] = each
    return by_end(found.values())


def row(exception: AppliedException) -> tuple[str, str, str, str, str]:
    """Give exception, check, failures, why, and where it was decided."""
    return (
        exception_words(exception),
        exception.check_id,
        str(exception.excepted),
        exception.reason,
        exception.reference,
    )


def notices(assessment: pb.Assessment) -> Iterator[tuple[str, list[str]]]:
    """Give what must be told loudly: a heading, and a line for each exception."""
    for heading, found in (
        (OVER, assessment.expired_exceptions),
        (ENDING, assessment.expiring_exceptions),
    ):
        if found:
            yield heading, [f"{exception_words(each)}: {each.check_id}" for each in found]


def outcome_told(result: pb.CheckResult, evidence: pb.Evidence, word: str) -> str:
    """Give the word of an outcome; of an excepted one, by what and until when."""
    if evidence.outcome != check_pb2.EVIDENCE_OUTCOME_EXCEPTED:
        return word
    for each in result.exceptions:
        if each.check_exception == evidence.check_exception:
            return f"{word} by {exception_words(each)}"
    return word
