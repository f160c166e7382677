"""The account itself: its organization, contacts and regions."""

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.account_pb2 import AccountMetadata
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft
from services.inventory.collect.iam_password_policy import ALIASES

ORGANIZATION = "organizations:DescribeOrganization"
POLICIES = "organizations:ListPolicies"
ADMINISTRATORS = "organizations:ListDelegatedAdministrators"
CONTACT = "account:GetAlternateContact"
REGIONS = "ec2:DescribeRegions"
OPERATIONS = frozenset((ALIASES, ORGANIZATION, POLICIES, ADMINISTRATORS, CONTACT, REGIONS))
PAGE = 20
NOT_MANAGEMENT = "NotManagementAccount"
"""Code of facts that Organizations tells its management account only, whatever is permitted."""

ORGANIZATION_FIELDS = ("org_id", "management_account", "feature_set")
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
        draft.miss(organization, "scps", "delegated_admins")
        return
    body = draft.body
    if body.management_account != body.account_id:
        for name, operation in (("scps", POLICIES), ("delegated_admins", ADMINISTRATORS)):
            draft.miss(Unread.of(operation, Outcome.UNSUPPORTED, NOT_MANAGEMENT), name)
        return
    policies = reader.picked(
        POLICIES,
        "Policies",
        lambda policy: str(policy["Name"]),
        page_size=PAGE,
        Filter="SERVICE_CONTROL_POLICY",
    )
    if isinstance(policies, Unread):
        draft.miss(policies, "scps")
    else:
        body.scps.extend(sorted(policies))
    administrators = reader.picked(
        ADMINISTRATORS, "DelegatedAdministrators", lambda each: str(each["Id"]), page_size=PAGE
    )
    if isinstance(administrators, Unread):
        draft.miss(administrators, "delegated_admins")
    else:
        body.delegated_admins.extend(sorted(administrators))


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
