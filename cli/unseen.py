"""Accounts and regions of which an assessment saw nothing, told on standard error."""

from collections.abc import Iterator

from cli.output import talk, visible
from secmesh.inventory.v1.assessment_pb2 import Assessment

TOLD = 10
"""Accounts that are named."""


def show_unseen(assessment: Assessment) -> None:
    """Tell what no verdict speaks of, though it is known to be there."""
    for told in (*_accounts(assessment), *_regions(assessment)):
        talk.print(visible(told), markup=False, soft_wrap=True, style="bold yellow")


def _accounts(assessment: Assessment) -> Iterator[str]:
    if not assessment.uncovered_account_count:
        return
    found = assessment.uncovered_accounts[:TOLD]
    named = ", ".join(f"{each.cloud_account_id} {each.account_name}" for each in found)
    yield (
        f"{assessment.uncovered_account_count} of {assessment.organization_account_count} accounts "
        f"of organizations were no evidence: {named}"
        f"{_more(assessment.uncovered_account_count - len(found))}"
    )


def _regions(assessment: Assessment) -> Iterator[str]:
    if assessment.uncovered_region_count:
        found = assessment.uncovered_regions[:TOLD]
        named = "; ".join(f"{each.cloud_account_id} {', '.join(each.regions)}" for each in found)
        hidden = assessment.uncovered_region_count - sum(len(each.regions) for each in found)
        yield (
            f"{assessment.uncovered_region_count} of {assessment.enabled_region_count} enabled "
            f"regions were no evidence: {named}{_more(hidden)}"
        )
    if assessment.unlisted_region_accounts:
        yield (
            f"which regions are enabled is not known of {assessment.unlisted_region_accounts} "
            "of the accounts: sync account_metadata"
        )


def _more(hidden: int) -> str:
    return f" and {hidden} more" if hidden else ""
