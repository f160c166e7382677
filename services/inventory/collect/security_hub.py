"""Security Hub: its standards, what of them is off, and who administers it."""

from datetime import datetime
from functools import partial
from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.security_hub_pb2 import SecurityHub
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

HUB = "securityhub:DescribeHub"
STANDARDS = "securityhub:GetEnabledStandards"
CONTROLS = "securityhub:DescribeStandardsControls"
AGGREGATORS = "securityhub:ListFindingAggregators"
PRODUCTS = "securityhub:ListEnabledProductsForImport"
MEMBERS = "securityhub:ListMembers"
ADMINISTRATOR = "securityhub:GetAdministratorAccount"
ORGANIZATION = "securityhub:DescribeOrganizationConfiguration"
LISTINGS = (HUB,)
OPERATIONS = frozenset(
    (HUB, STANDARDS, CONTROLS, AGGREGATORS, PRODUCTS, MEMBERS, ADMINISTRATOR, ORGANIZATION)
)
PAGE = 100
MEMBER_PAGE = 50
DISABLED = "DISABLED"
FIELDS = frozenset(SecurityHub.DESCRIPTOR.fields_by_name)
ADMINISTRATOR_FIELDS = ("administrator_account", "administrator_status")
ORGANIZATION_FIELDS = ("auto_enable_organization", "configuration_type")


def collect(reader: Reader) -> Collected:
    """Read the hub of one region."""
    reader.ledger.is_listing(HUB)
    hub = reader.call(HUB)
    if isinstance(hub, Unread):
        return Collected([], hub)
    if isinstance(hub, Absent) or "HubArn" not in hub:
        return Collected([])
    draft = hub_draft(hub)
    _read_standards(reader, draft)
    _read_others(reader, draft)
    draft.take(reader.call(ADMINISTRATOR), ADMINISTRATOR_FIELDS, _fill_administrator)
    draft.take(reader.call(ORGANIZATION), ORGANIZATION_FIELDS, _fill_organization)
    return Collected([draft])


def hub_draft(hub: Response) -> Draft[SecurityHub]:
    """Map the hub itself."""
    body = SecurityHub(
        hub_arn=hub["HubArn"],
        auto_enable_controls=hub.get("AutoEnableControls", False),
        finding_generator=hub.get("ControlFindingGenerator", ""),
    )
    if subscribed := hub.get("SubscribedAt"):
        body.subscription_date.CopyFrom(timestamp(datetime.fromisoformat(subscribed)))
    return Draft(native_id=body.hub_arn, arn=body.hub_arn, body=body)


def _read_standards(reader: Reader, draft: Draft[SecurityHub]) -> None:
    standards = reader.items(STANDARDS, "StandardsSubscriptions", page_size=PAGE)
    if isinstance(standards, Unread):
        draft.miss(standards, "standards", "disabled_controls")
        return
    draft.body.standards.extend(
        sorted(map(_standard, standards), key=lambda each: each.standard_arn)
    )
    subscriptions = sorted(str(each["StandardsSubscriptionArn"]) for each in standards)
    for found in reader.fan_out(partial(_disabled, reader), subscriptions):
        if isinstance(found, Unread):
            draft.miss(found, "disabled_controls")
            return
        draft.body.disabled_controls.extend(found)


def _standard(told: Response) -> SecurityHub.Standard:
    return SecurityHub.Standard(
        standard_arn=told["StandardsArn"],
        status=told.get("StandardsStatus", ""),
        reason=told.get("StandardsStatusReason", {}).get("StatusReasonCode", ""),
    )


def _disabled(reader: Reader, subscription: str) -> list[SecurityHub.DisabledControl] | Unread:
    def pick(control: Response) -> SecurityHub.DisabledControl | None:
        if control.get("ControlStatus") != DISABLED:
            return None
        return SecurityHub.DisabledControl(
            control_id=control["ControlId"],
            subscription_arn=subscription,
            reason=control.get("DisabledReason", ""),
        )

    controls = reader.picked(
        CONTROLS,
        "Controls",
        pick,
        page_size=PAGE,
        resource=subscription,
        StandardsSubscriptionArn=subscription,
    )
    if isinstance(controls, Unread):
        return controls
    return sorted(filter(None, controls), key=lambda control: control.control_id)


def _read_others(reader: Reader, draft: Draft[SecurityHub]) -> None:
    body = draft.body
    products: Any = reader.picked(PRODUCTS, "ProductSubscriptions", product_of, page_size=PAGE)
    members: Any = reader.picked(MEMBERS, "Members", _member, page_size=MEMBER_PAGE)
    for name, found in (("products", products), ("members", members)):
        if isinstance(found, Unread):
            draft.miss(found, name)
        else:
            getattr(body, name).extend(sorted(found, key=str))
    aggregators = reader.items(AGGREGATORS, "FindingAggregators", page_size=PAGE)
    if isinstance(aggregators, Unread):
        draft.miss(aggregators, "finding_aggregator")
    elif aggregators:
        body.finding_aggregator = str(aggregators[0]["FindingAggregatorArn"])


def product_of(subscription: object) -> str:
    """Give vendor and product of a subscription's ARN, ``...:product-subscription/aws/macie``."""
    arn = str(subscription)
    return arn.partition("product-subscription/")[2] or arn


def _member(member: Response) -> SecurityHub.Member:
    return SecurityHub.Member(account_id=member["AccountId"], status=member.get("MemberStatus", ""))


def _fill_administrator(body: SecurityHub, response: Response | None) -> None:
    told = (response or {}).get("Administrator") or {}
    if account := told.get("AccountId"):
        body.administrator_account = account
        body.administrator_status = told.get("MemberStatus", "")


def _fill_organization(body: SecurityHub, response: Response | None) -> None:
    if response is not None:
        body.auto_enable_organization = response.get("AutoEnable", False)
        told = response.get("OrganizationConfiguration", {})
        if kind := told.get("ConfigurationType"):
            body.configuration_type = kind


COLLECTOR = Collector(
    "security_hub",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
