"""What is made of AWS's answers about secrets, certificates and load balancers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.load_balancers_pb2 import LoadBalancer
from services.inventory.collect import (
    acm_certificates,
    load_balancer_listeners,
    load_balancers,
    secrets_manager,
)

T = datetime(2026, 1, 1, tzinfo=UTC)
OWN = "111111111111"
DENIED = Unread.of("acm:DescribeCertificate", Outcome.DENIED, "AccessDeniedException")
SECRET = {"Name": "s", "ARN": f"arn:aws:secretsmanager:us-east-1:{OWN}:secret:s-a1B2c3"}
CERTIFICATE = {"CertificateArn": f"arn:aws:acm:us-east-1:{OWN}:certificate/c"}
BALANCER = {"LoadBalancerArn": "arn:b", "LoadBalancerName": "b", "Scheme": "internet-facing"}
ANYONE = '{"Statement": {"Effect": "Allow", "Principal": "*"}}'
CLASSIC = {"LoadBalancerName": "old", "Scheme": "internet-facing"}


@pytest.mark.parametrize(
    ("told", "rotatable"),
    [
        ({}, True),
        ({"PrimaryRegion": "us-east-1"}, True),
        ({"PrimaryRegion": "eu-west-1"}, False),
        ({"DeletedDate": T}, False),
    ],
)
def test_secrets_that_can_be_rotated(told: dict[str, Any], rotatable: bool) -> None:
    body = secrets_manager.secret_draft(SECRET | told, "us-east-1").body
    assert body.rotatable is rotatable
    assert body.HasField("primary_region") is (told.get("PrimaryRegion") == "eu-west-1")
    assert not body.rotation_enabled
    assert not body.HasField("last_rotated")


@pytest.mark.parametrize(
    ("told", "public"),
    [
        ({}, False),
        ({"ResourcePolicy": ANYONE}, True),
    ],
)
def test_policies_of_secrets(told: dict[str, Any], public: bool) -> None:
    found = secrets_manager.secret_draft(SECRET, "us-east-1")
    secrets_manager.fill_policy(found, told, OWN)
    assert found.body.HasField("policy") is public
    assert found.body.policy_public is public
    secrets_manager.fill_policy(found, DENIED, OWN)
    assert found.unread.keys() == set(secrets_manager.POLICY_FIELDS)


def test_a_certificate_that_is_not_issued_yet() -> None:
    listed = CERTIFICATE | {"Status": "PENDING_VALIDATION", "CreatedAt": T}
    body = acm_certificates.certificate_draft(listed, {"Certificate": {}}).body
    assert not body.HasField("not_after")
    assert not body.HasField("domain_name")
    assert not body.in_use
    assert not body.HasField("transparency_logging")


@pytest.mark.parametrize(
    ("eligibility", "status", "renews"),
    [
        ("ELIGIBLE", None, True),
        ("ELIGIBLE", "SUCCESS", True),
        ("ELIGIBLE", "PENDING_VALIDATION", False),
        ("ELIGIBLE", "FAILED", False),
        ("INELIGIBLE", "SUCCESS", False),
    ],
)
def test_certificates_that_are_renewed(eligibility: str, status: str | None, renews: bool) -> None:
    listed = CERTIFICATE | {"RenewalEligibility": eligibility}
    told = {"Certificate": {"RenewalSummary": {"RenewalStatus": status}}}
    assert acm_certificates.certificate_draft(listed, told).body.auto_renews is renews


def test_a_certificate_that_is_not_described_keeps_its_gaps() -> None:
    found = acm_certificates.certificate_draft(CERTIFICATE | {"NotAfter": T}, DENIED)
    assert found.unread.keys() == set(acm_certificates.DESCRIBED_FIELDS)
    assert found.body.not_after.ToDatetime(UTC) == T


def attributes(kind: str, **told: str) -> LoadBalancer:
    body = LoadBalancer(load_balancer_type=kind)
    given = [{"Key": key.replace("__", "."), "Value": value} for key, value in told.items()]
    load_balancers.fill_attributes(body, {"Attributes": given})
    return body


def test_attributes_that_a_kind_does_not_have_are_absent() -> None:
    network = attributes("network", load_balancing__cross_zone__enabled="false")
    assert not network.cross_zone
    assert not network.HasField("drop_invalid_headers")
    assert not network.HasField("desync_mode")
    assert attributes("application").cross_zone
    off = attributes("application", access_logs__s3__enabled="false", access_logs__s3__bucket="b")
    assert not off.HasField("access_log_bucket")


def test_tags_of_a_batch_that_is_not_read() -> None:
    drafts = [load_balancers.classic_draft(CLASSIC, "arn:old")]
    load_balancers.fill_tags(drafts, DENIED, "LoadBalancerName", ["old"])
    assert drafts[0].unread == {"tags": DENIED}


@pytest.mark.parametrize(
    ("action", "redirects"),
    [
        ({"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS"}}, True),
        ({"Type": "redirect", "RedirectConfig": {"Protocol": "#{protocol}"}}, False),
        ({"Type": "redirect"}, False),
        ({"Type": "forward"}, False),
    ],
)
def test_redirects_that_lead_to_https(action: dict[str, Any], redirects: bool) -> None:
    listener = {"ListenerArn": "arn:l", "Port": 80, "Protocol": "HTTP", "DefaultActions": [action]}
    found = load_balancer_listeners.listener_draft(BALANCER, listener)
    assert found.body.redirects_to_https is redirects


@pytest.mark.parametrize(
    ("policies", "protocols", "code"),
    [
        ({"p": {"SslProtocols": ["TLSv1.3", "TLSv1.2"]}}, ["TLSv1.2", "TLSv1.3"], None),
        ({}, [], load_balancer_listeners.NOT_LISTED),
        (DENIED, [], "AccessDeniedException"),
    ],
)
def test_versions_of_a_security_policy(
    policies: Any, protocols: list[str], code: str | None
) -> None:
    listener = {"ListenerArn": "arn:l", "Port": 443, "Protocol": "TLS", "SslPolicy": "p"}
    found = load_balancer_listeners.listener_draft(BALANCER, listener)
    load_balancer_listeners.fill_policy(found, policies)
    assert found.body.tls_protocols == protocols
    gap = found.unread.get("tls_protocols")
    assert (gap and gap.code) == code


def test_a_classic_listener_without_tls_needs_no_policy() -> None:
    described = {"Listener": {"Protocol": "TCP", "LoadBalancerPort": 25}, "PolicyNames": ["p"]}
    found = load_balancer_listeners.classic_draft(CLASSIC, "arn:old", described, DENIED)
    assert not found.unread
    assert not found.body.tls_protocols
    assert found.native_id == "arn:old:25"
