"""Web ACLs of AWS WAF: what they look for, guard and log.

Those that guard CloudFront are known to us-east-1 alone. WAF Classic is not read: it ended on
30 September 2025. Source: AWS WAF Developer Guide, "AWS WAF Classic end of support".
"""

from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.cloudfront_pb2 import CloudfrontDistribution
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.waf_pb2 import WafWebAcl
from services.inventory.collect import cloudfront
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map
from services.inventory.collect.source import GLOBAL, Sources

LIST = "wafv2:ListWebACLs"
ACL = "wafv2:GetWebACL"
LOGGING = "wafv2:ListLoggingConfigurations"
RESOURCES = "wafv2:ListResourcesForWebACL"
TAGS = "wafv2:ListTagsForResource"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, ACL, LOGGING, RESOURCES, TAGS))
PAGE = 100
REGIONAL, CLOUDFRONT = "REGIONAL", "CLOUDFRONT"
CLOUDFRONT_REGION = "us-east-1"
DISTRIBUTIONS = "cloudfront"
AWS = "aws"
"""Partition whose CloudFront WAF guards; the others' has none."""
RESOURCE_TYPES = {
    REGIONAL: (
        "APPLICATION_LOAD_BALANCER",
        "API_GATEWAY",
        "APPSYNC",
        "COGNITO_USER_POOL",
        "APP_RUNNER_SERVICE",
        "VERIFIED_ACCESS_INSTANCE",
    ),
    CLOUDFRONT: ("AMPLIFY",),
}
"""What an ACL may guard, by its scope; distributions are known to CloudFront."""
ACL_FIELDS = (
    "description",
    "default_action",
    "rules",
    "rule_count",
    "managed_rule_groups",
    "capacity",
    "firewall_managed",
    "metrics_enabled",
    "samples_requests",
)
LOG_FIELDS = ("log_destinations", "logs_filtered")
FIELDS = frozenset(WafWebAcl.DESCRIPTOR.fields_by_name)
_MANAGED = "ManagedRuleGroupStatement"
_FIREWALL_MANAGER = (
    "PreProcessFirewallManagerRuleGroups",
    "PostProcessFirewallManagerRuleGroups",
)

Logs = dict[str, Response] | Unread
"""Logging configuration by ACL."""


def collect(reader: Reader) -> Collected:
    """Read the ACLs of one region, with those of CloudFront where the region answers for them."""
    places = [(REGIONAL, "")]
    if reader.account.partition == AWS and answers_for_cloudfront(reader.region, reader.regions):
        places.append((CLOUDFRONT, CLOUDFRONT_REGION))
    read = [_collect(reader, scope, region) for scope, region in places]
    unlisted = next((each.unlisted for each in read if each.unlisted is not None), None)
    return Collected([draft for each in read for draft in each.drafts], unlisted)


def answers_for_cloudfront(region: str, run_regions: tuple[str, ...]) -> bool:
    """Tell whether a region's unit reads the ACLs of CloudFront: their own, else the first."""
    if CLOUDFRONT_REGION in run_regions:
        return region == CLOUDFRONT_REGION
    return region == run_regions[0]


def _collect(reader: Reader, scope: str, region: str) -> Collected:
    listed = reader.items(LIST, "WebACLs", page_size=PAGE, listing=True, region=region, Scope=scope)
    if isinstance(listed, Unread):
        return Collected([], listed)
    if not listed:
        return Collected([])
    logs = _logs(reader, scope, region)
    read = reader.fan_out(lambda acl: _read(reader, acl, scope, region, logs), listed)
    return Collected([draft for draft in read if draft is not None])


def _logs(reader: Reader, scope: str, region: str) -> Logs:
    found = reader.items(
        LOGGING, "LoggingConfigurations", page_size=PAGE, region=region, Scope=scope
    )
    if isinstance(found, Unread):
        return found
    return {str(each["ResourceArn"]): each for each in found}


def _read(
    reader: Reader, listed: Response, scope: str, region: str, logs: Logs
) -> Draft[WafWebAcl] | None:
    arn = str(listed["ARN"])
    named = {"Name": listed["Name"], "Id": listed["Id"], "Scope": scope}
    answer = reader.call(ACL, resource=arn, region=region, **named)
    if isinstance(answer, Absent):
        # Deleted since it was listed.
        return None
    draft = acl_draft(listed, scope, answer, logs)
    draft.region = region
    _fill_resources(reader, draft, region)
    tags = reader.items(
        TAGS,
        "TagInfoForResource.TagList",
        page_size=PAGE,
        resource=arn,
        region=region,
        ResourceARN=arn,
    )
    if isinstance(tags, Unread):
        draft.miss(tags, "tags")
    else:
        draft.body.tags.update(tag_map(tags))
    return draft


def acl_draft(listed: Response, scope: str, answer: Answer, logs: Logs) -> Draft[WafWebAcl]:
    """Map one ACL: its place in the list, its details, and how it logs."""
    body = WafWebAcl(acl_id=listed["Id"], acl_name=listed["Name"], scope=scope)
    draft = Draft(native_id=str(listed["ARN"]), arn=str(listed["ARN"]), body=body)
    draft.take(answer, ACL_FIELDS, _fill_acl)
    if isinstance(logs, Unread):
        draft.miss(logs, *LOG_FIELDS)
    elif configuration := logs.get(draft.arn):
        body.log_destinations.extend(sorted(configuration.get("LogDestinationConfigs", ())))
        body.logs_filtered = "LoggingFilter" in configuration
    return draft


def _fill_acl(body: WafWebAcl, response: Response | None) -> None:
    acl: Any = (response or {}).get("WebACL", {})
    seen = acl.get("VisibilityConfig", {})
    body.description = acl.get("Description", "")
    body.default_action = _key_of(acl.get("DefaultAction")).upper()
    body.rules.extend(sorted(map(_rule, acl.get("Rules", ())), key=lambda rule: rule.priority))
    around = [group for key in _FIREWALL_MANAGER for group in acl.get(key, ())]
    body.rule_count = len(body.rules) + len(around)
    body.managed_rule_groups.extend(sorted({*_managed(acl.get("Rules", ()), around)}))
    body.capacity = acl.get("Capacity", 0)
    body.firewall_managed = acl.get("ManagedByFirewallManager", False)
    body.metrics_enabled = seen.get("CloudWatchMetricsEnabled", False)
    body.samples_requests = seen.get("SampledRequestsEnabled", False)


def _key_of(union: Any) -> str:
    """Give which of its members a structure has of which only one may be there."""
    return next(iter(union or ()), "")


def _rule(rule: Any) -> WafWebAcl.Rule:
    return WafWebAcl.Rule(
        rule_name=rule["Name"],
        priority=rule.get("Priority", 0),
        statement=_key_of(rule.get("Statement")),
        action=_key_of(rule.get("Action") or rule.get("OverrideAction")).upper(),
    )


def _managed(rules: Any, around: Any) -> list[str]:
    statements = [rule.get("Statement", {}) for rule in rules]
    statements += [group.get("FirewallManagerStatement", {}) for group in around]
    groups = (each[_MANAGED] for each in statements if _MANAGED in each)
    return [f"{group['VendorName']}/{group['Name']}" for group in groups]


def _fill_resources(reader: Reader, draft: Draft[WafWebAcl], region: str) -> None:
    found: set[str] = set()
    for kind in RESOURCE_TYPES[draft.body.scope]:
        answer = reader.call(
            RESOURCES, resource=draft.arn, region=region, WebACLArn=draft.arn, ResourceType=kind
        )
        if isinstance(answer, Unread):
            draft.miss(answer, "associated_resources")
            return
        if not isinstance(answer, Absent):
            found.update(answer.get("ResourceArns", ()))
    draft.body.associated_resources.extend(sorted(found))


def fill_distributions(drafts: list[Draft[WafWebAcl]], sources: Sources) -> None:
    """Add to what each ACL guards the distributions that name it."""
    gap = sources[DISTRIBUTIONS].gap(GLOBAL, cloudfront.LIST)
    named: dict[str, list[str]] = {}
    for distribution in sources[DISTRIBUTIONS].drafts:
        body: CloudfrontDistribution = distribution.body
        named.setdefault(body.web_acl, []).append(distribution.arn)
    for draft in drafts:
        if draft.body.scope != CLOUDFRONT or "associated_resources" in draft.unread:
            continue
        if gap is not None:
            draft.miss(gap, "associated_resources")
            continue
        found = {*draft.body.associated_resources, *named.get(draft.arn, ())}
        draft.body.ClearField("associated_resources")
        draft.body.associated_resources.extend(sorted(found))


def _shadows(record: Record, region: str, run_regions: tuple[str, ...]) -> bool:
    """An ACL of CloudFront is read by another region's unit where its own is not read."""
    of_cloudfront = record.waf_web_acl.scope == CLOUDFRONT
    return of_cloudfront and answers_for_cloudfront(region, run_regions)


COLLECTOR = Collector(
    "waf",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
    shadows=_shadows,
)
