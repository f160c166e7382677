"""Which users of IAM are administrators: by a policy of their own, or of one of their groups.

A policy of the customer's, or one written into user or group, counts if it permits every action on
every resource; of AWS's own, the one for administrators. Denials and boundaries do not count.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mesh.aws.reader import Response
from services.inventory.collect.access_policy import permits_everything


@dataclass(frozen=True)
class Grants:
    """Policies that permit everything, by ARN, and groups that have such a policy, by name."""

    policies: frozenset[str]
    groups: frozenset[str]


def default_document(policy: Response) -> object:
    """Give the default version of a managed policy; empty if it is not told."""
    versions = policy.get("PolicyVersionList", ())
    return next((each["Document"] for each in versions if each["IsDefaultVersion"]), {})


def grants_of(groups: Iterable[Response], policies: Iterable[Response], partition: str) -> Grants:
    """Find what makes an administrator among the groups and policies of an account."""
    whole = {
        str(policy["Arn"]) for policy in policies if permits_everything(default_document(policy))
    }
    whole.add(f"arn:{partition}:iam::aws:policy/AdministratorAccess")
    own = frozenset(whole)
    return Grants(
        own,
        frozenset(
            str(group["GroupName"]) for group in groups if _has_whole(group, own, "GroupPolicyList")
        ),
    )


def is_administrator(user: Response, grants: Grants) -> bool:
    """Tell whether a user of GetAccountAuthorizationDetails is an administrator."""
    return not grants.groups.isdisjoint(user.get("GroupList", ())) or _has_whole(
        user, grants.policies, "UserPolicyList"
    )


def _has_whole(holder: Response, whole: frozenset[str], inline: str) -> bool:
    attached = {each["PolicyArn"] for each in holder.get("AttachedManagedPolicies", ())}
    return not whole.isdisjoint(attached) or any(
        permits_everything(each["PolicyDocument"]) for each in holder.get(inline, ())
    )
