"""An organization as AWS lists it.

Source: AWS Organizations API Reference; ListAccounts is the list of all accounts, and the tree of
organizational units is walked once for the names of their paths.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Reader, Response, Unread
from services.inventory.errors import (
    OrganizationDenied,
    OrganizationNotInUse,
    OrganizationUnread,
)

ORGANIZATION = "organizations:DescribeOrganization"
ACCOUNTS = "organizations:ListAccounts"
ROOTS = "organizations:ListRoots"
UNITS = "organizations:ListOrganizationalUnitsForParent"
MEMBERS = "organizations:ListAccountsForParent"
PARENTS = "organizations:ListParents"
OPERATIONS = frozenset((ORGANIZATION, ACCOUNTS, ROOTS, UNITS, MEMBERS, PARENTS))
PAGE = 20
"""The most that AWS gives at once."""
INCOMPLETE = "IncompleteList"
"""Code of a list without the account that asked for it."""
_MAX_GAPS = 20


@dataclass(frozen=True)
class Place:
    """Where in an organization an account is."""

    parent_id: str
    path: tuple[str, ...] | None
    """Names of organizational units, the outermost first; None if they were not read."""


@dataclass(frozen=True)
class Listing:
    """What AWS told of an organization."""

    organization_id: str
    management_account_id: str
    accounts: Mapping[str, Response]
    """By id, as ListAccounts gives them."""
    places: Mapping[str, Place]
    """By account id; of those whose place was read."""
    units: int
    """Organizational units."""
    gaps: Collection[Unread]
    """Why some have no place, or one without names."""


@dataclass
class _Tree:
    """Organizational units as far as they were read."""

    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By the id of a unit or of the root."""
    roots: int = 0
    gaps: list[Unread] = field(default_factory=list)

    def take(self, answer: list[Response] | Unread) -> list[Response]:
        """Give what was read, and keep why if it was not."""
        if isinstance(answer, Unread):
            if answer not in self.gaps and len(self.gaps) < _MAX_GAPS:
                self.gaps.append(answer)
            return []
        return answer


def read_organization(reader: Reader) -> Listing:
    """List an organization by an account that may; blocks.

    Raises OrganizationNotInUse, OrganizationDenied and OrganizationUnread: accounts are listed
    whole or not at all. What is only not known of their places is told in ``gaps``.
    """
    asking = reader.account.cloud_account_id
    told = reader.call(ORGANIZATION)
    if isinstance(told, Absent):
        raise OrganizationNotInUse(asking)
    if isinstance(told, Unread):
        raise _refusal(asking, "", told)
    organization = told["Organization"]
    management = str(organization["MasterAccountId"])
    listed = reader.items(ACCOUNTS, "Accounts", page_size=PAGE, listing=True)
    if isinstance(listed, Unread):
        raise _refusal(asking, management, listed)
    accounts = {str(each["Id"]): each for each in listed}
    if asking not in accounts:
        # Else all others would seem to be gone.
        raise OrganizationUnread(asking, ACCOUNTS, INCOMPLETE)
    tree = _walked(reader)
    places = _places(reader, tree, accounts)
    units = len(tree.paths) - tree.roots
    return Listing(str(organization["Id"]), management, accounts, places, units, tree.gaps)


def _refusal(asking: str, management: str, gap: Unread) -> OrganizationDenied | OrganizationUnread:
    if gap.outcome is Outcome.DENIED:
        return OrganizationDenied(asking, management, gap.action)
    return OrganizationUnread(asking, gap.operation, gap.code)


def _walked(reader: Reader) -> _Tree:
    """Walk the organizational units once, level by level."""
    tree = _Tree()
    level = [str(root["Id"]) for root in tree.take(reader.items(ROOTS, "Roots", page_size=PAGE))]
    tree.roots = len(level)
    tree.paths.update(dict.fromkeys(level, ()))
    while level:
        answers = reader.fan_out(lambda parent: _below(reader, UNITS, parent), level)
        following: list[str] = []
        for parent, answer in zip(level, answers, strict=True):
            for unit in tree.take(answer):
                unit_id = str(unit["Id"])
                # One that was moved meanwhile may be met twice.
                if unit_id not in tree.paths:
                    tree.paths[unit_id] = (*tree.paths[parent], str(unit["Name"]))
                    following.append(unit_id)
        level = following
    return tree


_KEYS = {UNITS: "OrganizationalUnits", MEMBERS: "Accounts"}


def _below(reader: Reader, operation: str, parent: str) -> list[Response] | Unread:
    key = _KEYS[operation]
    return reader.items(operation, key, page_size=PAGE, resource=parent, ParentId=parent)


def _places(reader: Reader, tree: _Tree, accounts: Mapping[str, Response]) -> dict[str, Place]:
    """Give where accounts are: as they are listed with it, else by the members of each unit."""
    parents = {
        account: parent for account, each in accounts.items() if (parent := _told_parent(each))
    }
    if len(parents) < len(accounts):
        units = list(tree.paths)
        answers = reader.fan_out(lambda parent: _below(reader, MEMBERS, parent), units)
        for parent, answer in zip(units, answers, strict=True):
            for member in tree.take(answer):
                parents.setdefault(str(member["Id"]), parent)
    if not tree.gaps:
        # Moved from one unit to another while those were read.
        missed = [each for each in accounts if each not in parents]
        answers = reader.fan_out(lambda account: _parents(reader, account), missed)
        for account, answer in zip(missed, answers, strict=True):
            for found in tree.take(answer):
                parents[account] = str(found["Id"])
    return {
        account: Place(parent, tree.paths.get(parent))
        for account, parent in parents.items()
        if account in accounts
    }


def _parents(reader: Reader, account: str) -> list[Response] | Unread:
    return reader.items(PARENTS, "Parents", page_size=PAGE, resource=account, ChildId=account)


def _told_parent(account: Response) -> str:
    """Give the parent in a path such as ``o-a1/r-b2/ou-b2-c3/123456789012/``; empty if none."""
    for path in account.get("Paths") or ():
        parts = str(path).strip("/").split("/")
        if len(parts) > 2 and parts[-1] == account["Id"]:
            return parts[-2]
    return ""
