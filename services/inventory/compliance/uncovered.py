"""Known accounts and enabled regions of which an assessment saw nothing: pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.organization_pb2 import OrganizationAccount

MAX_LISTED = 100
SHOWN = 20
"""Accounts that reports name."""


@dataclass(frozen=True)
class Unseen:
    """What verdicts do not speak of, in words."""

    heading: str
    count: int
    words: str
    """How many, of how many."""
    told: str
    lines: tuple[str, ...]
    """One for each account, the first of them."""


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


def tell_unread_regions(
    assessment: pb.Assessment,
    enabled: Mapping[str, Collection[str]],
    read: Callable[[str], Collection[str]],
) -> None:
    """Write into an assessment which enabled regions of its accounts were never asked about."""
    for account in assessment.cloud_account_ids:
        if account not in enabled:
            assessment.unlisted_region_accounts += 1
            continue
        left = sorted({*enabled[account]} - {*read(account)})
        assessment.enabled_region_count += len(enabled[account])
        assessment.uncovered_region_count += len(left)
        if left and len(assessment.uncovered_regions) < MAX_LISTED:
            assessment.uncovered_regions.add(cloud_account_id=account, regions=left)


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
    return _of(assessment.uncovered_account_count, assessment.organization_account_count)


def unread_region_words(assessment: pb.Assessment) -> str:
    """Give how many enabled regions were not covered, of how many; empty if none is known."""
    return _of(assessment.uncovered_region_count, assessment.enabled_region_count)


def _of(count: int, known: int) -> str:
    return f"{count} of {known}" if count else ""


def unseen(assessment: pb.Assessment) -> Iterator[Unseen]:
    """Give what an assessment saw nothing of, as far as that is known."""
    if assessment.uncovered_account_count:
        yield _accounts(assessment)
    if assessment.uncovered_region_count or assessment.unlisted_region_accounts:
        yield _regions(assessment)


def _accounts(assessment: pb.Assessment) -> Unseen:
    count = assessment.uncovered_account_count
    words = uncovered_words(assessment)
    shown = assessment.uncovered_accounts[:SHOWN]
    lines = [
        f"{each.cloud_account_id} {each.account_name}: "
        f"{'not collected' if each.account else 'not registered'} "
        f"(discovered {each.discover_time.ToJsonString().partition('T')[0]})"
        for each in shown
    ]
    return Unseen(
        "Accounts without evidence",
        count,
        f"{words} of organizations",
        f"{words} usable accounts of organizations were no evidence: no verdict speaks of them.",
        (*lines, *_more(count - len(shown))),
    )


def _regions(assessment: pb.Assessment) -> Unseen:
    count, unknown = assessment.uncovered_region_count, assessment.unlisted_region_accounts
    words = unread_region_words(assessment)
    told = []
    if count:
        told.append(f"{words} enabled regions were no evidence: no verdict speaks of them.")
    if unknown:
        of = "one account" if unknown == 1 else f"{unknown} accounts"
        told.append(f"Of {of} it is not known which regions are enabled.")
    shown = assessment.uncovered_regions[:SHOWN]
    lines = [f"{each.cloud_account_id}: {', '.join(each.regions)}" for each in shown]
    hidden = count - sum(len(each.regions) for each in shown)
    return Unseen(
        "Regions without evidence",
        count,
        f"{words} enabled" if count else "not known",
        " ".join(told),
        (*lines, *_more(hidden)),
    )


def _more(hidden: int) -> Iterator[str]:
    if hidden:
        yield f"and {hidden} more"
