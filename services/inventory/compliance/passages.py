"""The report of an import: every passage of the document and what became of it."""

from typing import TypeAlias

from secmesh.inventory.v1 import ssp_pb2

MAX_PASSAGES = 20_000
MAX_TEXT = 256
Outcome: TypeAlias = ssp_pb2.Passage.Outcome.ValueType


class Passages:
    """Takes what became of each place; neighbours of the same fate are one passage.

    Args:
        ssp: Name of the plan.
    """

    def __init__(self, ssp: str) -> None:
        self._ssp = ssp
        self._found: list[ssp_pb2.Passage] = []
        self._dropped = 0

    def add(
        self,
        source: str,
        text: str,
        outcome: Outcome,
        reason: str = "",
        control: str = "",
        claim: str = "",
    ) -> None:
        """Add a place; ``text`` is how it begins."""
        source, reason, control = source[:1024], reason[:1024], control[:32]
        last = self._found[-1] if self._found else None
        told = (outcome, reason, control, claim)
        if last is not None and told == (last.outcome, last.reason, last.control_id, last.claim):
            last.end_source = source if source != last.source else ""
            return
        if len(self._found) >= MAX_PASSAGES - 1:
            self._dropped += 1
            return
        self._found.append(
            ssp_pb2.Passage(
                name=f"{self._ssp}/passages/p{len(self._found) + 1:06d}",
                source=source,
                text=text[:MAX_TEXT],
                outcome=outcome,
                reason=reason,
                control_id=control,
                claim=claim,
            )
        )

    def all(self) -> list[ssp_pb2.Passage]:
        """Give the passages, in order; the last tells of those that were too many."""
        if not self._dropped:
            return self._found
        more = ssp_pb2.Passage(
            name=f"{self._ssp}/passages/p{MAX_PASSAGES:06d}",
            outcome=ssp_pb2.Passage.OUTCOME_NOT_UNDERSTOOD,
            reason=f"{self._dropped:,} more passages are not told of",
        )
        return [*self._found, more]
