"""Permission sets of IAM Identity Center: what they permit, to whom and where."""

import re
from collections.abc import Iterable
from itertools import chain

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.sso_pb2 import PermissionSet
from services.inventory.collect.access_policy import permits_everything
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, any_of, timestamp
from services.inventory.collect.sso_instances import LIST as INSTANCES
from services.inventory.collect.sso_instances import home_of, listed, owns

LIST = "sso-admin:ListPermissionSets"
DESCRIBE = "sso-admin:DescribePermissionSet"
MANAGED = "sso-admin:ListManagedPoliciesInPermissionSet"
CUSTOMER = "sso-admin:ListCustomerManagedPolicyReferencesInPermissionSet"
INLINE = "sso-admin:GetInlinePolicyForPermissionSet"
BOUNDARY = "sso-admin:GetPermissionsBoundaryForPermissionSet"
ACCOUNTS = "sso-admin:ListAccountsForProvisionedPermissionSet"
ASSIGNMENTS = "sso-admin:ListAccountAssignments"
LISTINGS = (INSTANCES, LIST)
OPERATIONS = frozenset(
    (*LISTINGS, DESCRIBE, MANAGED, CUSTOMER, INLINE, BOUNDARY, ACCOUNTS, ASSIGNMENTS)
)
PAGE = 100
ADMINISTRATOR = ":iam::aws:policy/AdministratorAccess"
# Source: IAM Identity Center API Reference, CreatePermissionSet: one hour unless told otherwise.
DEFAULT_MINUTES = 60
FIELDS = frozenset(PermissionSet.DESCRIPTOR.fields_by_name)
DESCRIBED_FIELDS = (
    "permission_set_name",
    "description",
    "creation_date",
    "session_minutes",
    "break_glass",
)
_DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:\d+S)?)?"
)

Assignments = list[PermissionSet.Assignment] | Unread


def collect(reader: Reader) -> Collected:
    """Read the permission sets of the instances that the account owns."""
    instances = listed(reader)
    if isinstance(instances, Unread):
        return Collected([], instances)
    drafts: list[Draft[PermissionSet]] = []
    unlisted: Unread | None = None
    for instance in instances:
        if not owns(reader, instance):
            continue
        found = _of_instance(reader, instance)
        if isinstance(found, Unread):
            unlisted = unlisted or found
        else:
            drafts += found
    return Collected(drafts, unlisted)


def _of_instance(reader: Reader, instance: Response) -> list[Draft[PermissionSet]] | Unread:
    arn, home = str(instance["InstanceArn"]), home_of(reader, instance)
    sets = reader.picked(LIST, "PermissionSets", str, page_size=PAGE, region=home, InstanceArn=arn)
    reader.ledger.is_listing(LIST)
    if isinstance(sets, Unread):
        return sets
    read = reader.fan_out(lambda each: _read_set(reader, arn, each, home), sets)
    drafts = [draft for draft in read if draft is not None]
    # After all else, for it takes a call for each account that has the set.
    _read_assignments(reader, drafts, home)
    return drafts


def _read_set(reader: Reader, instance: str, arn: str, home: str) -> Draft[PermissionSet] | None:
    asked = {"InstanceArn": instance, "PermissionSetArn": arn}
    described = reader.call(DESCRIBE, resource=arn, region=home, **asked)
    if isinstance(described, Absent):
        return None
    draft = set_draft(instance, arn, home, described)
    for name, operation, key, pick in (
        ("managed_policies", MANAGED, "AttachedManagedPolicies", _arn),
        ("customer_policies", CUSTOMER, "CustomerManagedPolicyReferences", _path),
        ("provisioned_accounts", ACCOUNTS, "AccountIds", str),
    ):
        found = reader.picked(
            operation, key, pick, page_size=PAGE, resource=arn, region=home, **asked
        )
        fill_list(draft, name, found)
    inline = reader.call(INLINE, resource=arn, region=home, **asked)
    boundary = reader.call(BOUNDARY, resource=arn, region=home, **asked)
    draft.take(inline, ("inline_policy",), _fill_inline)
    draft.take(boundary, ("permissions_boundary",), _fill_boundary)
    decide_power(draft)
    return draft


def set_draft(instance: str, arn: str, home: str, described: Answer) -> Draft[PermissionSet]:
    """Map one permission set: whose it is, and its description."""
    draft = Draft(native_id=arn, arn=arn, region=home, body=PermissionSet(instance_arn=instance))
    draft.take(described, DESCRIBED_FIELDS, _fill_description)
    return draft


def _fill_description(body: PermissionSet, response: Response | None) -> None:
    told = (response or {}).get("PermissionSet", {})
    body.permission_set_name = told.get("Name", "")
    body.description = told.get("Description", "")
    body.session_minutes = minutes(told.get("SessionDuration", ""))
    body.break_glass = is_break_glass(body.permission_set_name)
    if created := told.get("CreatedDate"):
        body.creation_date.CopyFrom(timestamp(created))


def minutes(duration: str) -> int:
    """Give the whole minutes of a duration in the form of ISO 8601, such as ``PT1H30M``."""
    found = _DURATION.fullmatch(duration)
    if not found or not any(found.groupdict().values()):
        return DEFAULT_MINUTES
    days, hours, rest = (int(each or 0) for each in found.groups())
    return (days * 24 + hours) * 60 + rest


def is_break_glass(name: str) -> bool:
    """Tell whether a name says ``break glass``, however its words are joined."""
    return "breakglass" in "".join(filter(str.isalnum, name)).lower()


def _arn(policy: Response) -> str:
    return str(policy["Arn"])


def _path(policy: Response) -> str:
    return f"{policy.get('Path', '/')}{policy['Name']}"


def fill_list(draft: Draft[PermissionSet], name: str, found: Iterable[str] | Unread) -> None:
    """Fill a list of texts, in order."""
    if isinstance(found, Unread):
        draft.miss(found, name)
    else:
        getattr(draft.body, name).extend(sorted(found))


def _fill_inline(body: PermissionSet, response: Response | None) -> None:
    if policy := (response or {}).get("InlinePolicy"):
        body.inline_policy = policy


def _fill_boundary(body: PermissionSet, response: Response | None) -> None:
    boundary = (response or {}).get("PermissionsBoundary", {})
    customer = boundary.get("CustomerManagedPolicyReference")
    if named := boundary.get("ManagedPolicyArn") or (customer and _path(customer)):
        body.permissions_boundary = named


def decide_power(draft: Draft[PermissionSet]) -> None:
    """Tell whether a set permits everything by what AWS wrote or by its own policy."""
    body, unread = draft.body, draft.unread
    attached = any(arn.endswith(ADMINISTRATOR) for arn in body.managed_policies)
    inline = permits_everything(body.inline_policy)
    draft.decide(
        "permits_everything",
        any_of(
            (
                unread.get("managed_policies") or attached,
                unread.get("inline_policy") or inline,
            )
        ),
    )


def _read_assignments(reader: Reader, drafts: list[Draft[PermissionSet]], home: str) -> None:
    places = [(draft, account) for draft in drafts for account in draft.body.provisioned_accounts]

    def read(place: tuple[Draft[PermissionSet], str]) -> Assignments:
        draft, account = place
        return reader.picked(
            ASSIGNMENTS,
            "AccountAssignments",
            _assignment,
            page_size=PAGE,
            resource=draft.arn,
            region=home,
            InstanceArn=draft.body.instance_arn,
            AccountId=account,
            PermissionSetArn=draft.arn,
        )

    found: dict[str, list[Assignments]] = {}
    for (draft, _), answer in zip(places, reader.fan_out(read, places), strict=True):
        found.setdefault(draft.arn, []).append(answer)
    for draft in drafts:
        fill_assignments(draft, found.get(draft.arn, []))


def _assignment(told: Response) -> PermissionSet.Assignment:
    return PermissionSet.Assignment(
        account_id=told["AccountId"],
        principal_type=told.get("PrincipalType", ""),
        principal_id=told.get("PrincipalId", ""),
    )


def fill_assignments(draft: Draft[PermissionSet], found: list[Assignments]) -> None:
    """Fill who has a set from the answers of all its accounts, or mark it if one is missing."""
    gaps = (each for each in found if isinstance(each, Unread))
    if gap := draft.unread.get("provisioned_accounts") or next(gaps, None):
        draft.miss(gap, "assignments")
        return
    told = chain.from_iterable(each for each in found if not isinstance(each, Unread))
    draft.body.assignments.extend(
        sorted(told, key=lambda each: (each.account_id, each.principal_type, each.principal_id))
    )


COLLECTOR = Collector(
    "permission_sets",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
