"""Roles of IAM, from two bulk reads."""

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.iam_pb2 import IamRole
from services.inventory.collect.access_policy import (
    admits_everyone,
    demands_external_id,
    demands_organization,
    foreign_accounts,
    policy_text,
    trusted,
)
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp
from services.inventory.collect.iam_users import DETAILS, PAGE

ROLES = "iam:ListRoles"
LISTINGS = (DETAILS,)
OPERATIONS = frozenset((DETAILS, ROLES))
FIELDS = frozenset(IamRole.DESCRIPTOR.fields_by_name)
SERVICE_LINKED = "/aws-service-role/"

Sessions = dict[str, int] | Unread
"""By ARN: the longest session in seconds, which the details do not tell."""


def collect(reader: Reader) -> Collected:
    """Read the roles of the account."""
    roles = reader.items(DETAILS, "RoleDetailList", page_size=PAGE, listing=True, Filter=["Role"])
    if isinstance(roles, Unread):
        return Collected([], roles)
    listed = reader.picked(ROLES, "Roles", _session, page_size=PAGE)
    sessions = listed if isinstance(listed, Unread) else dict(listed)
    account = reader.account.cloud_account_id
    return Collected([role_draft(role, sessions, account) for role in roles])


def _session(role: Response) -> tuple[str, int]:
    return str(role["Arn"]), int(role.get("MaxSessionDuration", 0))


def role_draft(role: Response, sessions: Sessions, cloud_account_id: str) -> Draft[IamRole]:
    """Map one role of GetAccountAuthorizationDetails."""
    body = IamRole(
        role_name=role["RoleName"],
        role_id=role["RoleId"],
        path=role["Path"],
        create_date=timestamp(role["CreateDate"]),
        is_service_linked=str(role["Path"]).startswith(SERVICE_LINKED),
        attached_policies=sorted(
            each["PolicyArn"] for each in role.get("AttachedManagedPolicies", ())
        ),
        inline_policies=sorted(each["PolicyName"] for each in role.get("RolePolicyList", ())),
        tags=tag_map(role.get("Tags", ())),
    )
    if boundary := role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"):
        body.permissions_boundary = boundary
    if used := role.get("RoleLastUsed", {}).get("LastUsedDate"):
        body.last_used.CopyFrom(timestamp(used))
    _fill_trust(body, role["AssumeRolePolicyDocument"], cloud_account_id)
    draft = Draft(native_id=role["Arn"], arn=role["Arn"], body=body)
    if isinstance(sessions, Unread):
        draft.miss(sessions, "max_session_seconds")
    elif seconds := sessions.get(draft.arn):
        body.max_session_seconds = seconds
    return draft


def _fill_trust(body: IamRole, policy: object, cloud_account_id: str) -> None:
    body.assume_role_policy = policy_text(policy)
    body.trusted_aws.extend(trusted(policy, "AWS"))
    body.trusted_services.extend(trusted(policy, "Service"))
    body.trusted_federated.extend(trusted(policy, "Federated"))
    body.trusts_everyone = admits_everyone(policy)
    body.trusts_other_accounts = bool(foreign_accounts(policy, cloud_account_id))
    if body.trusts_other_accounts:
        body.external_id_required = demands_external_id(policy, cloud_account_id)
        body.organization_only = demands_organization(policy, cloud_account_id)


COLLECTOR = Collector(
    "iam_roles",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
    heartbeats=frozenset({"last_used"}),
)
