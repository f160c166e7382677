"""What is made of the answers about distributions, APIs and web ACLs."""

from typing import Any

import pytest

from mesh.aws.operations import action, is_absence
from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.api_gateway_pb2 import ApiGatewayApi
from services.inventory.collect import api_gateway, api_stages, cloudfront, waf
from services.inventory.collect.draft import Draft
from services.inventory.collect.source import GLOBAL, Source

DENIED = Unread.of(cloudfront.DETAILS, Outcome.DENIED, "AccessDenied")
ARN = "arn:aws:cloudfront::111111111111:distribution/E1"
LISTED = {"Id": "E1", "ARN": ARN}
LOGGED = {"Distribution": {"DistributionConfig": {"Logging": {"Enabled": True, "Bucket": "b"}}}}
UNLOGGED: Any = {"Distribution": {"DistributionConfig": {}}}


def distribution(
    details: Any = UNLOGGED, controls: Any = None, delivered: Any = frozenset(), **members: Any
) -> Draft[Any]:
    return cloudfront.distribution_draft(
        LISTED | members, details, {"Tags": {}}, controls or {}, delivered
    )


def of(*items: Any) -> dict[str, Any]:
    return {"Quantity": len(items), "Items": list(items)}


def test_a_distribution_of_which_little_is_told() -> None:
    body = distribution().body
    assert (body.enabled, body.custom_certificate, body.staging) == (False, False, False)
    assert not body.HasField("min_tls_version")
    assert not body.HasField("web_acl")
    assert [each.path_pattern for each in body.behaviors] == ["*"]
    assert (body.standard_logging, body.access_logged) == (False, False)


@pytest.mark.parametrize(
    ("policy", "protocols", "viewers", "weak"),
    [
        ("https-only", ["TLSv1.2"], "allow-all", False),
        ("https-only", ["TLSv1.1", "TLSv1.2"], "https-only", True),
        ("https-only", [], "https-only", True),
        ("http-only", ["TLSv1.2"], "https-only", True),
        ("match-viewer", ["TLSv1.2"], "redirect-to-https", False),
        ("match-viewer", ["TLSv1.2"], "allow-all", True),
    ],
)
def test_how_custom_origins_are_asked(
    policy: str, protocols: list[str], viewers: str, weak: bool
) -> None:
    custom = {"OriginProtocolPolicy": policy, "OriginSslProtocols": of(*protocols)}
    found = distribution(
        Origins=of({"Id": "o", "DomainName": "example.com", "CustomOriginConfig": custom}),
        DefaultCacheBehavior={"TargetOriginId": "o", "ViewerProtocolPolicy": viewers},
    )
    assert found.body.weak_tls_origins == (["o"] if weak else [])


def test_origins_in_a_vpc_are_neither_weak_nor_unsigned() -> None:
    inside = {"Id": "o", "DomainName": "x", "VpcOriginConfig": {"VpcOriginId": "vo_1"}}
    body = distribution(Origins=of(inside)).body
    assert body.origins[0].sort == "vpc"
    assert not body.weak_tls_origins
    assert not body.unsigned_origins


@pytest.mark.parametrize(
    ("members", "controls", "unsigned"),
    [
        ({}, {}, True),
        ({"OriginAccessControlId": "a"}, {"a": "always"}, False),
        ({"OriginAccessControlId": "a"}, {"a": "no-override"}, False),
        ({"OriginAccessControlId": "a"}, {"a": "never"}, True),
        ({"OriginAccessControlId": "gone"}, {"a": "always"}, True),
        ({"OriginAccessControlId": "a"}, DENIED, None),
        ({}, DENIED, True),
        ({"S3OriginConfig": {"OriginAccessIdentity": "origin-access-identity/x"}}, {}, False),
    ],
)
def test_whether_origins_in_s3_are_asked_with_a_signature(
    members: Any, controls: Any, unsigned: bool | None
) -> None:
    found = distribution(controls=controls, Origins=of({"Id": "o", "DomainName": "b"} | members))
    if unsigned is None:
        assert found.unread == {"unsigned_origins": DENIED}
    else:
        assert found.body.unsigned_origins == (["o"] if unsigned else [])


@pytest.mark.parametrize(
    ("details", "delivered", "realtime", "logged"),
    [
        (LOGGED, DENIED, None, True),
        (UNLOGGED, frozenset({ARN}), None, True),
        (UNLOGGED, frozenset({"other"}), None, False),
        (DENIED, frozenset({ARN}), None, True),
        (DENIED, frozenset(), "arn:r", True),
        (DENIED, frozenset(), None, None),
        (UNLOGGED, DENIED, None, None),
    ],
)
def test_one_way_of_logging_is_enough(
    details: Any, delivered: Any, realtime: str | None, logged: bool | None
) -> None:
    behavior = {"ViewerProtocolPolicy": "https-only"}
    if realtime:
        behavior["RealtimeLogConfigArn"] = realtime
    found = distribution(details, delivered=delivered, DefaultCacheBehavior=behavior)
    if logged is None:
        assert found.unread["access_logged"] is DENIED
    else:
        assert found.body.access_logged is logged


def api(protocol: str, endpoint: str = "REGIONAL") -> Draft[ApiGatewayApi]:
    body = ApiGatewayApi(protocol=protocol, endpoint_type=endpoint)
    return Draft(native_id="a", body=body)


@pytest.mark.parametrize(
    ("routes", "opened"),
    [
        ([], []),
        ([("$connect", "NONE"), ("say", "NONE")], ["$connect"]),
        ([("$connect", "CUSTOM"), ("say", "NONE")], []),
        # Without the route anyone connects.
        ([("say", "NONE")], ["$connect"]),
    ],
)
def test_a_web_socket_has_one_door(routes: list[tuple[str, str]], opened: list[str]) -> None:
    draft = api("WEBSOCKET")
    api_gateway.fill_routes(draft, [[api_gateway.Route(*each, False) for each in routes]])
    assert draft.body.open_routes == opened


def test_an_api_key_keeps_a_private_api_alone() -> None:
    keyed = [[api_gateway.Route("ANY /", "NONE", True), api_gateway.Route("GET /", "NONE", False)]]
    for endpoint, opened in (("PRIVATE", ["GET /"]), ("REGIONAL", ["ANY /", "GET /"])):
        draft = api("REST", endpoint)
        api_gateway.fill_routes(draft, keyed)
        assert draft.body.open_routes == opened
        assert draft.body.key_route_count == 1
    draft = api("REST")
    api_gateway.fill_routes(draft, DENIED)
    assert draft.unread.keys() == set(api_gateway.ROUTE_FIELDS)


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ("", ""),
        ('{"a":"b"}', '{"a":"b"}'),
        (r"{\"a\":\"b\"}", '{"a":"b"}'),
        (r"{\"a\":\"arn:x:\/\/\"}", '{"a":"arn:x://"}'),
    ],
)
def test_policies_are_told_inside_a_string(told: str, plain: str) -> None:
    assert api_gateway.plain_policy(told) == plain


@pytest.mark.parametrize(
    ("default", "levels", "least"),
    [
        (None, [], "OFF"),
        (None, ["INFO"], "OFF"),
        ("INFO", [], "INFO"),
        ("INFO", ["ERROR", "INFO"], "ERROR"),
        ("ERROR", ["OFF"], "OFF"),
    ],
)
def test_the_least_that_is_logged_counts(
    default: str | None, levels: list[str], least: str
) -> None:
    assert api_stages.least_level(default, levels) == least


def test_a_cache_that_nothing_uses_is_not_said_to_be_encrypted() -> None:
    stage = {"stageName": "s", "cacheClusterEnabled": True, "methodSettings": {"*/*": {}}}
    assert not api_stages.rest_draft(stage, "a", "arn").body.cache_encrypted


ACL = {"Name": "a", "Id": "1", "ARN": "arn:a"}
GROUP = {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": "Common"}}


def test_groups_of_firewall_manager_count_as_rules() -> None:
    around = [{"Name": "f", "Priority": 0, "FirewallManagerStatement": GROUP}]
    told = {"WebACL": {"PreProcessFirewallManagerRuleGroups": around, "DefaultAction": {}}}
    body = waf.acl_draft(ACL, waf.REGIONAL, told, {}).body
    assert (body.rule_count, list(body.rules)) == (1, [])
    assert body.managed_rule_groups == ["AWS/Common"]
    assert body.default_action == ""
    assert not body.HasField("logs_filtered")


def test_logs_of_an_acl() -> None:
    logs: Any = {"arn:a": {"LogDestinationConfigs": ["arn:b"], "LoggingFilter": {}}}
    body = waf.acl_draft(ACL, waf.REGIONAL, {"WebACL": {}}, logs).body
    assert body.log_destinations == ["arn:b"]
    assert body.logs_filtered
    assert waf.acl_draft(ACL, waf.REGIONAL, DENIED, DENIED).unread.keys() == {
        *waf.ACL_FIELDS,
        *waf.LOG_FIELDS,
    }


@pytest.mark.parametrize(
    ("region", "regions", "answers"),
    [
        ("us-east-1", ("eu-west-1", "us-east-1"), True),
        ("eu-west-1", ("eu-west-1", "us-east-1"), False),
        ("eu-west-1", ("eu-west-1", "eu-west-2"), True),
        ("eu-west-2", ("eu-west-1", "eu-west-2"), False),
    ],
)
def test_one_region_answers_for_cloudfront(
    region: str, regions: tuple[str, ...], answers: bool
) -> None:
    assert waf.answers_for_cloudfront(region, regions) is answers


def test_distributions_are_added_to_what_an_acl_guards() -> None:
    draft = waf.acl_draft(ACL, waf.CLOUDFRONT, {"WebACL": {}}, {})
    draft.body.associated_resources.append("arn:amplify")
    named, other = distribution(WebACLId="arn:a"), distribution(WebACLId="arn:b", ARN="arn:x")
    waf.fill_distributions([draft], {"cloudfront": Source([named, other], {GLOBAL})})
    assert draft.body.associated_resources == ["arn:amplify", ARN]
    waf.fill_distributions([draft], {"cloudfront": Source([], gaps={GLOBAL: DENIED})})
    assert draft.unread == {"associated_resources": DENIED}


def test_actions_that_are_named_otherwise() -> None:
    assert action("apigatewayv2:GetStages") == "apigateway:GET"
    assert action("accessanalyzer:ListAnalyzers") == "access-analyzer:ListAnalyzers"
    assert action("wafv2:GetWebACL") == "wafv2:GetWebACL"


@pytest.mark.parametrize(
    ("operation", "code", "message", "absent"),
    [
        ("macie2:ListFindings", "AccessDeniedException", "Macie is not enabled.", True),
        ("macie2:ListFindings", "AccessDeniedException", "not authorized to perform", False),
        ("s3:ListBuckets", "AccessDenied", "Macie is not enabled", False),
        ("wafv2:ListResourcesForWebACL", "WAFInvalidParameterException", "", True),
    ],
)
def test_errors_that_are_facts(operation: str, code: str, message: str, absent: bool) -> None:
    assert is_absence(operation, code, message) is absent
