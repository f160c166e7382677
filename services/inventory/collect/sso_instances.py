"""Instances of IAM Identity Center: those of the account, and those of others that serve it.

An instance is read further in the account that owns it alone: others, but for administrators that
the owner names, are refused everything else, and no grant of theirs would cure that.
"""

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Answer, Reader, Response, Unread
from secmesh.inventory.v1.iam_pb2 import IamUser
from secmesh.inventory.v1.sso_pb2 import SsoInstance
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.credential_report import GET as REPORT
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.source import GLOBAL, Source, Sources

LIST = "sso-admin:ListInstances"
ATTRIBUTES = "sso-admin:DescribeInstanceAccessControlAttributeConfiguration"
USERS = "identitystore:ListUsers"
GROUPS = "identitystore:ListGroups"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, ATTRIBUTES, USERS, GROUPS))
PAGE = 100
ALL_REGIONS = "ALL_REGIONS"
NOT_OWNER = "NotInstanceOwner"
"""Code of facts about an instance that its owner's account alone is told."""
IAM_USERS = "iam_users"
FIELDS = frozenset(SsoInstance.DESCRIPTOR.fields_by_name)
PARTS = (("users", USERS), ("groups", GROUPS), ("access_control_attributes", ATTRIBUTES))
"""What the owner alone is told, and by which operation."""


def collect(reader: Reader) -> Collected:
    """Read the instances that the account sees, wherever they are."""
    instances = listed(reader)
    if isinstance(instances, Unread):
        return Collected([], instances)
    return Collected([_read(reader, instance) for instance in instances])


def listed(reader: Reader) -> list[Response] | Unread:
    """List the instances of all regions."""
    return reader.items(LIST, "Instances", page_size=PAGE, listing=True, RegionScope=ALL_REGIONS)


def owns(reader: Reader, instance: Response) -> bool:
    """Tell whether the account owns an instance; one without an owner is its own."""
    own = reader.account.cloud_account_id
    return str(instance.get("OwnerAccountId", own)) == own


def home_of(reader: Reader, instance: Response) -> str:
    """Give the region where an instance is administered."""
    return str(instance.get("PrimaryRegion") or reader.region)


def _read(reader: Reader, instance: Response) -> Draft[SsoInstance]:
    home = home_of(reader, instance)
    draft = instance_draft(instance, home, owned=owns(reader, instance))
    if not draft.body.owned:
        for name, operation in PARTS:
            draft.miss(Unread.of(operation, Outcome.UNSUPPORTED, NOT_OWNER), name)
        return draft
    store = draft.body.identity_store_id
    for name, operation, key in (("users", USERS, "Users"), ("groups", GROUPS, "Groups")):
        found = reader.picked(
            operation,
            key,
            # Of whom it names nothing is kept.
            lambda _: None,
            page_size=PAGE,
            resource=store,
            region=home,
            IdentityStoreId=store,
        )
        fill_count(draft, name, found)
    arn = draft.body.instance_arn
    attributes = reader.call(ATTRIBUTES, resource=arn, region=home, InstanceArn=arn)
    fill_attributes(draft, attributes)
    return draft


def instance_draft(instance: Response, home: str, *, owned: bool) -> Draft[SsoInstance]:
    """Map one instance as it is listed."""
    regions = {home, *(str(each["RegionName"]) for each in instance.get("Regions", ()))}
    body = SsoInstance(
        instance_arn=instance["InstanceArn"],
        instance_name=instance.get("Name") or None,
        identity_store_id=instance.get("IdentityStoreId", ""),
        owner_account=instance.get("OwnerAccountId", ""),
        owned=owned,
        # Instances that were made before there was a status have none.
        status=instance.get("Status", "ACTIVE"),
        home_region=home,
        regions=sorted(regions),
    )
    if created := instance.get("CreatedDate"):
        body.creation_date.CopyFrom(timestamp(created))
    return Draft(native_id=body.instance_arn, arn=body.instance_arn, region=home, body=body)


def fill_count(draft: Draft[SsoInstance], name: str, found: list[None] | Unread) -> None:
    """Fill how many there are."""
    if isinstance(found, Unread):
        draft.miss(found, name)
    else:
        setattr(draft.body, name, len(found))


def fill_attributes(draft: Draft[SsoInstance], answer: Answer) -> None:
    """Fill the attributes that policies may decide by."""

    def fill(body: SsoInstance, response: Response | None) -> None:
        told = (response or {}).get("InstanceAccessControlAttributeConfiguration", {})
        attributes = told.get("AccessControlAttributes", ())
        body.access_control_attributes.extend(sorted(each["Key"] for each in attributes))

    draft.take(answer, ("access_control_attributes",), fill)


def fill_console_users(drafts: list[Draft[SsoInstance]], sources: Sources) -> None:
    """Tell of each instance how many IAM users can pass it by."""
    count = console_users(sources[IAM_USERS])
    for draft in drafts:
        if isinstance(count, Unread):
            draft.miss(count, "console_users")
        else:
            draft.unread.pop("console_users", None)
            draft.body.console_users = count


def console_users(users: Source) -> int | Unread:
    """Count the users with a console password, or give why that is not known."""
    if gap := users.gap(GLOBAL, REPORT):
        return gap
    count = 0
    for draft in users.drafts:
        body: IamUser = draft.body
        if body.is_root:
            continue
        if gap := draft.unread.get("password_enabled"):
            return gap
        count += body.password_enabled
    return count


COLLECTOR = Collector(
    "sso",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
    sources=(IAM_USERS,),
    derive=fill_console_users,
)
