"""Accounts of an organization, compared with those that are registered and found before: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mesh.aws.reader import Response, Unread
from secmesh.inventory.v1.organization_pb2 import (
    Organization,
    OrganizationAccount,
    OrganizationGap,
)
from services.inventory.collect.draft import timestamp
from services.inventory.collect.versions import outcome_value
from services.inventory.discovery.listing import Listing

KNOWN = OrganizationAccount.STANDING_KNOWN
UNKNOWN = OrganizationAccount.STANDING_UNKNOWN
SUSPENDED = OrganizationAccount.STANDING_SUSPENDED
GONE = OrganizationAccount.STANDING_GONE
_CLOSED_TO_ALL = frozenset(
    {
        OrganizationAccount.STATE_PENDING_ACTIVATION,
        OrganizationAccount.STATE_SUSPENDED,
        OrganizationAccount.STATE_PENDING_CLOSURE,
        OrganizationAccount.STATE_CLOSED,
    }
)
_STATES: Mapping[str, OrganizationAccount.State.ValueType] = {
    name.removeprefix("STATE_"): value for name, value in OrganizationAccount.State.items()
}


@dataclass(frozen=True)
class Discovered:
    """An organization at one moment."""

    organization: Organization
    accounts: list[OrganizationAccount]
    """Those that are gone, too; by id."""


@dataclass(frozen=True)
class Discoverer:
    """Who looked, and when."""

    parent: str
    """The tenant, ``tenants/{tenant}``."""
    account: str
    """By its name in the tenancy service."""
    cloud_account_id: str
    time: datetime


def compared(
    listing: Listing,
    registered: Mapping[str, str],
    before: Iterable[OrganizationAccount],
    by: Discoverer,
) -> Discovered:
    """Give an organization as it is now.

    Args:
        listing: What AWS told.
        registered: Names in the tenancy service by the ids of AWS.
        before: Its accounts as they were discovered last.
        by: Who looked, and when.
    """
    name = f"{by.parent}/organizations/{listing.organization_id}"
    earlier = {each.cloud_account_id: each for each in before}
    found = {
        account: _listed(listing, account, registered, earlier.get(account), name, by)
        for account in listing.accounts
    }
    for account, each in earlier.items():
        if account not in found:
            found[account] = _gone(each, registered)
    accounts = [found[account] for account in sorted(found)]
    counts = Counter(each.standing for each in accounts)
    organization = Organization(
        name=name,
        management_account_id=listing.management_account_id,
        cloud_account_id=by.cloud_account_id,
        account=by.account,
        discover_time=timestamp(by.time),
        accounts=len(listing.accounts),
        known_accounts=counts[KNOWN],
        unknown_accounts=counts[UNKNOWN],
        suspended_accounts=counts[SUSPENDED],
        gone_accounts=counts[GONE],
        organizational_units=listing.units,
        gaps=map(_gap, listing.gaps),
    )
    return Discovered(organization, accounts)


def _listed(
    listing: Listing,
    account: str,
    registered: Mapping[str, str],
    earlier: OrganizationAccount | None,
    organization: str,
    by: Discoverer,
) -> OrganizationAccount:
    told, place, now = listing.accounts[account], listing.places.get(account), timestamp(by.time)
    made = OrganizationAccount(
        name=f"{organization}/accounts/{account}",
        cloud_account_id=account,
        account_name=str(told.get("Name", "")),
        state=state_of(told),
        management=account == listing.management_account_id,
        joined_method=str(told.get("JoinedMethod", "")),
        account=registered.get(account, ""),
        first_discover_time=earlier.first_discover_time if earlier else now,
        discover_time=now,
    )
    if joined := told.get("JoinedTimestamp"):
        made.join_time.CopyFrom(timestamp(joined))
    made.standing = _standing(made)
    last = earlier or OrganizationAccount()
    made.parent_id = last.parent_id if place is None else place.parent_id
    path = None if place is None else place.path
    made.path.extend(last.path if path is None else path)
    return made


def state_of(told: Response) -> OrganizationAccount.State.ValueType:
    """Give how AWS has an account; `Status` is what it said before there was `State`."""
    word = str(told.get("State") or told.get("Status") or "")
    return _STATES.get(word, OrganizationAccount.STATE_UNSPECIFIED)


def _standing(account: OrganizationAccount) -> OrganizationAccount.Standing.ValueType:
    if account.state in _CLOSED_TO_ALL:
        return SUSPENDED
    return KNOWN if account.account else UNKNOWN


def _gone(earlier: OrganizationAccount, registered: Mapping[str, str]) -> OrganizationAccount:
    made = OrganizationAccount()
    made.CopyFrom(earlier)
    made.standing = GONE
    made.account = registered.get(earlier.cloud_account_id, "")
    return made


def _gap(gap: Unread) -> OrganizationGap:
    return OrganizationGap(
        operation=gap.operation,
        action=gap.action,
        outcome=outcome_value(gap.outcome),
        code=gap.code,
    )
