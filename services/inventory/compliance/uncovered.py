"""Accounts of organizations of which an assessment of all accounts saw nothing: pure."""

from collections.abc import Iterable, Iterator

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.organization_pb2 import OrganizationAccount

MAX_LISTED = 100
SHOWN = 20
"""Accounts that reports name."""
HEADING = "Accounts without evidence"


def tell_uncovered(assessment: pb.Assessment, usable: Iterable[OrganizationAccount]) -> None:
    """Write into an assessment which usable accounts were no evidence.

    If accounts were named, the others were left out on purpose, and nothing is told.
    """
    if assessment.scope_account_ids:
        return
    newest = sorted(usable, key=lambda each: each.discover_time.ToNanoseconds())
    # One that moved between organizations is as it was seen last.
    by_id = {each.cloud_account_id: each for each in newest}
    covered = {*assessment.cloud_account_ids}
    left = [by_id[account] for account in sorted(by_id) if account not in covered]
    assessment.organization_account_count = len(by_id)
    assessment.uncovered_account_count = len(left)
    assessment.uncovered_accounts.extend(map(_told, left[:MAX_LISTED]))


def _told(account: OrganizationAccount) -> pb.UncoveredAccount:
    return pb.UncoveredAccount(
        cloud_account_id=account.cloud_account_id,
        account_name=account.account_name,
        organization=account.name.rpartition("/accounts/")[0],
        account=account.account,
        discover_time=account.discover_time,
    )


def uncovered_words(assessment: pb.Assessment) -> str:
    """Give how many accounts were not covered, of how many; empty if none is known."""
    if not assessment.uncovered_account_count:
        return ""
    return f"{assessment.uncovered_account_count} of {assessment.organization_account_count}"


def uncovered_lines(assessment: pb.Assessment) -> Iterator[str]:
    """Give how many there are, then a line for each that is shown; nothing if none is known."""
    words = uncovered_words(assessment)
    if not words:
        return
    yield f"{words} usable accounts of organizations were no evidence: no verdict speaks of them."
    shown = assessment.uncovered_accounts[:SHOWN]
    for each in shown:
        day = each.discover_time.ToJsonString().partition("T")[0]
        why = "not collected" if each.account else "not registered"
        yield f"{each.cloud_account_id} {each.account_name}: {why} (discovered {day})"
    if hidden := assessment.uncovered_account_count - len(shown):
        yield f"and {hidden} more"
