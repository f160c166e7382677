"""What mends the failures of a claim, as a spreadsheet has it beside the claim."""

from collections.abc import Iterator, Sequence

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1.recommendation_pb2 import Mending, Recommendation
from services.inventory.compliance.recommendation import finding_id
from services.inventory.compliance.report import visible

MAX_COMMANDS = 10
"""Commands that one cell holds."""
MAX_CHARACTERS = 8000
"""The longest cell of commands; spreadsheets cut one at 32,767."""


class Plan:
    """The recommendations of an assessment, by the findings that they mend."""

    def __init__(self, recommendations: Sequence[Recommendation]) -> None:
        self._found: dict[str, tuple[int, Recommendation, Mending]] = {
            finding: (place, each, mending)
            for place, each in enumerate(recommendations)
            for mending in each.mendings
            for finding in mending.finding_ids
        }

    def of(self, verdict: pb.ClaimVerdict) -> list[Recommendation]:
        """Give what is recommended for the failures of a claim, the first to mend first."""
        found = {place: each for place, each, _ in self._of(verdict)}
        return [found[place] for place in sorted(found)]

    def mending(self, verdict: pb.ClaimVerdict, listed: int) -> str:
        """Give the first commands that mend a claim's failures, or what to do in words.

        They are parted as a shell parts them. At most ``listed`` are given.
        """
        found = sorted(self._of(verdict), key=lambda each: each[0])
        commands = list(dict.fromkeys(line for *_, mending in found for line in mending.commands))
        shown = [*_fitting(commands, min(listed, MAX_COMMANDS))]
        if shown:
            rest = len(commands) - len(shown)
            return "; ".join(shown) + (f" # and {rest} more" if rest else "")
        words = [line for each in self.of(verdict) for line in (*each.advice, *each.manual_steps)]
        return " ".join(dict.fromkeys(words)) if listed else ""

    def _of(self, verdict: pb.ClaimVerdict) -> Iterator[tuple[int, Recommendation, Mending]]:
        for result in verdict.check_results:
            for evidence in result.evidence:
                if evidence.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL:
                    found = self._found.get(finding_id(result.check_id, evidence.subject))
                    if found is not None:
                        yield found


def _fitting(commands: Sequence[str], most: int) -> Iterator[str]:
    """Give the first commands that a cell holds as they are, for part of one is another one."""
    left = MAX_CHARACTERS
    for line in commands[:most]:
        left -= len(line)
        if left < 0 or visible(line) != line:
            return
        yield line
