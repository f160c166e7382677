"""Listeners of load balancers: what they speak, and which versions of TLS they accept."""

from collections.abc import Iterable, Mapping
from typing import Any

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.load_balancers_pb2 import LoadBalancerListener
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft
from services.inventory.collect.load_balancers import (
    APPLICATION,
    BALANCERS,
    CLASSIC,
    CLASSIC_TYPE,
    INTERNET,
    PAGE,
    TRUE,
    classic_arn,
    read_balancers,
    unlisted,
)

LISTENERS = "elbv2:DescribeListeners"
SSL_POLICIES = "elbv2:DescribeSSLPolicies"
CLASSIC_POLICIES = "elb:DescribeLoadBalancerPolicies"
LISTINGS = (BALANCERS, CLASSIC, LISTENERS)
OPERATIONS = frozenset((*LISTINGS, SSL_POLICIES, CLASSIC_POLICIES))
NOT_LISTED = "PolicyNotListed"
"""Code of the versions of a security policy that AWS does not list."""
ENCRYPTED = ("HTTPS", "TLS", "SSL")
NEGOTIATION = "SSLNegotiationPolicyType"
REFERENCE = "Reference-Security-Policy"
VERSION = "Protocol-"
FIELDS = frozenset(LoadBalancerListener.DESCRIPTOR.fields_by_name)

Policies = Mapping[str, Response] | Unread
"""By name."""
Drafts = list[Draft[LoadBalancerListener]]


def collect(reader: Reader) -> Collected:
    """Read the listeners of all load balancers of one region."""
    balancers, classic = read_balancers(reader)
    gap = unlisted(balancers, classic)
    drafts: Drafts = []
    if not isinstance(balancers, Unread):
        reads = reader.fan_out(lambda each: _read_listeners(reader, each), balancers)
        for balancer, listeners in zip(balancers, reads, strict=True):
            if isinstance(listeners, Unread):
                gap = gap or listeners
            else:
                drafts += [listener_draft(balancer, each) for each in listeners]
        _fill_policies(reader, drafts)
    if not isinstance(classic, Unread):
        for found in reader.fan_out(lambda each: _read_classic(reader, each), classic):
            drafts += found
    return Collected(drafts, gap)


def _read_listeners(reader: Reader, balancer: Response) -> list[Response] | Unread:
    arn = str(balancer["LoadBalancerArn"])
    return reader.items(
        LISTENERS, "Listeners", page_size=PAGE, listing=True, resource=arn, LoadBalancerArn=arn
    )


def listener_draft(balancer: Response, listener: Response) -> Draft[LoadBalancerListener]:
    """Map one listener of the second generation."""
    arn = str(listener["ListenerArn"])
    actions = sorted(listener.get("DefaultActions", ()), key=lambda each: each.get("Order", 0))
    certificates = listener.get("Certificates", ())
    body = LoadBalancerListener(
        load_balancer_arn=balancer["LoadBalancerArn"],
        load_balancer_name=balancer["LoadBalancerName"],
        load_balancer_type=balancer.get("Type", APPLICATION),
        internet_facing=balancer.get("Scheme") == INTERNET,
        port=listener.get("Port"),
        protocol=listener.get("Protocol"),
        ssl_policy=listener.get("SslPolicy") or None,
        certificate=next((each["CertificateArn"] for each in certificates), None),
        redirects_to_https=any(map(_is_redirect, actions)),
        default_actions=[action["Type"] for action in actions],
        mutual_authentication=listener.get("MutualAuthentication", {}).get("Mode") or None,
    )
    return Draft(native_id=arn, arn=arn, body=body)


def _is_redirect(action: Response) -> bool:
    target: Any = action.get("RedirectConfig", {})
    return bool(action["Type"] == "redirect" and target.get("Protocol") == "HTTPS")


def _fill_policies(reader: Reader, drafts: Iterable[Draft[LoadBalancerListener]]) -> None:
    encrypted = [draft for draft in drafts if draft.body.HasField("ssl_policy")]
    if not encrypted:
        return
    found = reader.items(SSL_POLICIES, "SslPolicies", page_size=PAGE)
    policies = found if isinstance(found, Unread) else {str(each["Name"]): each for each in found}
    for draft in encrypted:
        fill_policy(draft, policies)


def fill_policy(draft: Draft[LoadBalancerListener], policies: Policies) -> None:
    """Fill the versions that a listener's security policy accepts."""
    if isinstance(policies, Unread):
        draft.miss(policies, "tls_protocols")
    elif (policy := policies.get(draft.body.ssl_policy)) is None:
        draft.miss(Unread.of(SSL_POLICIES, Outcome.FAILED, NOT_LISTED), "tls_protocols")
    else:
        draft.body.tls_protocols.extend(sorted(policy.get("SslProtocols", ())))


def _read_classic(reader: Reader, balancer: Response) -> Drafts:
    name = str(balancer["LoadBalancerName"])
    arn = classic_arn(reader, name)
    policies: Policies = {}
    described = balancer.get("ListenerDescriptions", ())
    if any(each["Listener"]["Protocol"] in ENCRYPTED for each in described):
        found = reader.items(
            CLASSIC_POLICIES, "PolicyDescriptions", resource=arn, LoadBalancerName=name
        )
        policies = (
            found
            if isinstance(found, Unread)
            else {str(each["PolicyName"]): each for each in found}
        )
    return [classic_draft(balancer, arn, each, policies) for each in described]


def classic_draft(
    balancer: Response, arn: str, described: Response, policies: Policies
) -> Draft[LoadBalancerListener]:
    """Map one listener of a classic load balancer; it is told by its port."""
    listener = described["Listener"]
    port = int(listener["LoadBalancerPort"])
    body = LoadBalancerListener(
        load_balancer_arn=arn,
        load_balancer_name=balancer["LoadBalancerName"],
        load_balancer_type=CLASSIC_TYPE,
        internet_facing=balancer.get("Scheme") == INTERNET,
        port=port,
        protocol=listener["Protocol"],
        certificate=listener.get("SSLCertificateId") or None,
        redirects_to_https=False,
    )
    draft = Draft(native_id=f"{arn}:{port}", body=body)
    if body.protocol not in ENCRYPTED:
        return draft
    if isinstance(policies, Unread):
        draft.miss(policies, "ssl_policy", "tls_protocols")
        return draft
    for name in described.get("PolicyNames", ()):
        _fill_negotiation(body, policies.get(name, {}))
    return draft


def _fill_negotiation(body: LoadBalancerListener, policy: Response) -> None:
    """Fill what one policy of a classic listener tells of TLS; others are of cookies."""
    if policy.get("PolicyTypeName") != NEGOTIATION:
        return
    told = {
        str(each["AttributeName"]): str(each.get("AttributeValue", ""))
        for each in policy.get("PolicyAttributeDescriptions", ())
    }
    if reference := told.get(REFERENCE):
        body.ssl_policy = reference
    body.tls_protocols.extend(
        sorted(
            name.removeprefix(VERSION)
            for name, value in told.items()
            if name.startswith(VERSION) and value == TRUE
        )
    )


COLLECTOR = Collector(
    "load_balancer_listeners",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
