"""What mends the failures of an assessment, as reports show it beside each."""

from collections.abc import Iterable

from secmesh.inventory.v1 import assessment_pb2 as pb
from services.inventory.compliance.check_catalogue import CheckCatalogue
from services.inventory.compliance.recommendation import recommendations
from services.inventory.compliance.report import Mend


def mending_of(verdicts: Iterable[pb.ClaimVerdict], checks: CheckCatalogue) -> dict[str, Mend]:
    """Give what mends each finding, by its id; ``checks`` as they judged."""
    return {
        finding: Mend(list(each.commands), list(found.manual_steps))
        for found in recommendations(verdicts, checks)
        for each in found.mendings
        for finding in each.finding_ids
    }
