"""The account itself: its organization, contacts and regions."""

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.account_pb2 import AccountMetadata
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft
from services.inventory.collect.iam_password_policy import ALIASES
from services.inventory.collect.service_control import POLICY, TARGETS, limiting

ORGANIZATION = "organizations:DescribeOrganization"
POLICIES = "organizations:ListPolicies"
ADMINISTRATORS = "organizations:ListDelegatedAdministrators"
CONTACT = "account:GetAlternateContact"
REGIONS = "ec2:DescribeRegions"
OPERATIONS = frozenset(
    (ALIASES, ORGANIZATION, POLICIES, POLICY, TARGETS, ADMINISTRATORS, CONTACT, REGIONS)
)
PAGE = 20
NOT_MANAGEMENT = "NotManagementAccount"
"""Code of facts that Organizations tells its management account only, whatever is permitted."""

ORGANIZATION_FIELDS = ("org_id", "management_account", "feature_set")
CONTROL_FIELDS = ("scps", "limiting_scps")
MANAGEMENT_FIELDS = {
    **dict.fromkeys(CONTROL_FIELDS, POLICIES),
    "delegated_admins": ADMINISTRATORS,
}
"""Each with an operation that the management account alone may call."""
CONTACTS = {
    "security_contact": "SECURITY",
    "billing_contact": "BILLING",
    "operations_contact": "OPERATIONS",
}
FIELDS = frozenset(AccountMetadata.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the one row of the account."""
    account = reader.account.cloud_account_id
    draft = Draft(native_id=account, body=AccountMetadata(account_id=account))
    draft.take(reader.call(ALIASES), ("alias",), _fill_alias)
    organization = reader.call(ORGANIZATION)
    draft.take(organization, ORGANIZATION_FIELDS, _fill_organization)
    _fill_policies(reader, draft, organization)
    for name, kind in CONTACTS.items():
        fill_contact(draft, name, reader.call(CONTACT, AlternateContactType=kind))
    regions = reader.items(REGIONS, "Regions")
    if isinstance(regions, Unread):
        draft.miss(regions, "regions_enabled")
    else:
        draft.body.regions_enabled.extend(sorted(region["RegionName"] for region in regions))
    return Collected([draft])


def _fill_alias(body: AccountMetadata, response: Response | None) -> None:
    if aliases := (response or {}).get("AccountAliases"):
        body.alias = aliases[0]


def _fill_organization(body: AccountMetadata, response: Response | None) -> None:
    if organization := (response or {}).get("Organization"):
        body.org_id = organization["Id"]
        body.management_account = organization["MasterAccountId"]
        body.feature_set = organization["FeatureSet"]


def _fill_policies(reader: Reader, draft: Draft[AccountMetadata], organization: Answer) -> None:
    """Fill what the management account alone may ask; without an organization there is none."""
    if isinstance(organization, Absent):
        return
    if isinstance(organization, Unread):
        draft.miss(organization, *MANAGEMENT_FIELDS)
        return
    body = draft.body
    if body.management_account != body.account_id:
        for name, operation in MANAGEMENT_FIELDS.items():
            draft.miss(Unread.of(operation, Outcome.UNSUPPORTED, NOT_MANAGEMENT), name)
        return
    _fill_controls(reader, draft)
    administrators = reader.picked(
        ADMINISTRATORS, "DelegatedAdministrators", lambda each: str(each["Id"]), page_size=PAGE
    )
    if isinstance(administrators, Unread):
        draft.miss(administrators, "delegated_admins")
    else:
        body.delegated_admins.extend(sorted(administrators))


def _fill_controls(reader: Reader, draft: Draft[AccountMetadata]) -> None:
    policies = reader.items(POLICIES, "Policies", page_size=PAGE, Filter="SERVICE_CONTROL_POLICY")
    if isinstance(policies, Unread):
        draft.miss(policies, *CONTROL_FIELDS)
        return
    draft.body.scps.extend(sorted(str(policy["Name"]) for policy in policies))
    found = limiting(reader, policies)
    if isinstance(found, Unread):
        draft.miss(found, "limiting_scps")
    else:
        draft.body.limiting_scps.extend(found)


def fill_contact(draft: Draft[AccountMetadata], name: str, answer: Answer) -> None:
    """Fill whether a contact is named; whom it names is not kept."""
    draft.decide(name, answer if isinstance(answer, Unread) else not isinstance(answer, Absent))


COLLECTOR = Collector(
    "account_metadata",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
)
