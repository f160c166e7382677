"""What is made of AWS's answers about search domains, warehouses, caches and landing zones."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from services.inventory.collect import (
    control_tower,
    elasticache_caches,
    opensearch_domains,
    redshift_clusters,
)

DENIED = Unread.of("es:DescribeDomains", Outcome.DENIED, "AccessDeniedException")
ANYONE = '{"Statement": {"Effect": "Allow", "Principal": "*"}}'
GROUP = {"ReplicationGroupId": "g", "ARN": "arn:g", "MemberClusters": ["g-1"]}


@pytest.mark.parametrize(
    ("told", "public"),
    [
        ({"AccessPolicies": ANYONE}, True),
        ({"AccessPolicies": ANYONE, "VPCOptions": {"VPCId": "vpc-1"}}, False),
        ({"AccessPolicies": ANYONE, "AdvancedSecurityOptions": {"Enabled": True}}, False),
        (
            {
                "AccessPolicies": ANYONE,
                "AdvancedSecurityOptions": {"Enabled": True, "AnonymousAuthEnabled": True},
            },
            True,
        ),
        ({"AccessPolicies": ""}, False),
        ({}, False),
    ],
)
def test_who_reaches_a_domain(told: dict[str, Any], public: bool) -> None:
    assert opensearch_domains.domain_draft("d", "arn:d", {"d": told}).body.public is public


def test_a_domain_that_is_not_described_keeps_its_gaps() -> None:
    found = opensearch_domains.domain_draft("d", "arn:d", DENIED)
    assert found.unread.keys() == set(opensearch_domains.DESCRIBED_FIELDS)
    assert found.body.domain_name == "d"


@pytest.mark.parametrize(
    ("demands", "required"),
    [
        ({"a": True, "b": True}, True),
        ({"a": True, "b": False}, False),
        ({"a": DENIED, "b": False}, False),
        ({"a": DENIED, "b": True}, None),
    ],
)
def test_all_parameter_groups_decide(demands: Any, required: bool | None) -> None:
    groups = [{"ParameterGroupName": name} for name in demands]
    cluster = {"ClusterIdentifier": "c", "ClusterParameterGroups": groups}
    found = redshift_clusters.cluster_draft(cluster, "arn:")
    redshift_clusters.fill_tls(found, demands)
    if required is None:
        assert found.unread == {"tls_required": DENIED}
    else:
        assert found.body.tls_required is required
    assert not found.body.HasField("creation_date")
    assert not found.body.HasField("port")


def test_members_that_are_not_read() -> None:
    found = elasticache_caches.group_draft(GROUP, DENIED)
    assert found.unread.keys() == set(elasticache_caches.MEMBER_FIELDS)
    assert not elasticache_caches.group_draft(GROUP, []).unread
    assert not found.body.HasField("transit_mode")


def test_a_landing_zone_without_a_manifest() -> None:
    body = control_tower.zone_draft("arn:z", {"landingZone": {"version": "3.3"}}).body
    assert body.version == "3.3"
    assert not body.centralized_logging
    assert not body.HasField("log_retention_days")
    unread = control_tower.zone_draft("arn:z", DENIED).unread
    assert unread.keys() == set(control_tower.ZONE_FIELDS)
