"""What is made of EKS's answers about one cluster."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from services.inventory.collect.eks_clusters import (
    DESCRIBED_FIELDS,
    addon,
    cluster_draft,
    fill_support,
    node_group,
)

ARN = "arn:aws:eks:us-east-1:111111111111:cluster/shop"
END = datetime(2027, 3, 1, tzinfo=UTC)
VERSIONS = {"1.33": {"clusterVersion": "1.33", "endOfStandardSupportDate": END}}
DENIED = Unread.of("eks:DescribeCluster", Outcome.DENIED, "AccessDeniedException")
UNLISTED = Unread.of("eks:DescribeClusterVersions", Outcome.THROTTLED, "TooManyRequestsException")


def body(**members: Any) -> Any:
    return cluster_draft("shop", ARN, {"cluster": {"name": "shop", **members}}).body


@pytest.mark.parametrize(
    ("network", "public", "cidrs"),
    [
        # EKS's own default: an address on the internet that everyone reaches.
        ({}, True, ["0.0.0.0/0"]),
        ({"endpointPublicAccess": True, "publicAccessCidrs": []}, True, ["0.0.0.0/0"]),
        ({"publicAccessCidrs": ["203.0.113.0/24", "198.51.100.0/24"]}, True, None),
        ({"endpointPublicAccess": False, "publicAccessCidrs": ["0.0.0.0/0"]}, False, []),
    ],
)
def test_who_reaches_the_endpoint(network: Any, public: bool, cidrs: list[str] | None) -> None:
    found = body(resourcesVpcConfig=network)
    assert found.endpoint_public is public
    expected = sorted(network["publicAccessCidrs"]) if cidrs is None else cidrs
    assert found.public_cidrs == expected


def test_logs_that_are_off_are_not_kept() -> None:
    found = body(
        logging={
            "clusterLogging": [
                {"types": ["audit", "api"], "enabled": True},
                {"types": ["scheduler"], "enabled": False},
            ]
        }
    )
    assert found.logging_types == ["api", "audit"]


def test_a_key_for_secrets_alone_counts() -> None:
    key = {"provider": {"keyArn": "arn:aws:kms:us-east-1:111111111111:key/k"}}
    assert body(encryptionConfig=[{"resources": ["secrets"], **key}]).secrets_encryption_key
    assert not body(encryptionConfig=[{"resources": [], **key}]).HasField("secrets_encryption_key")
    assert not body(encryptionConfig=None).HasField("secrets_encryption_key")


def test_a_cluster_that_is_being_made_has_little() -> None:
    found = body(status="CREATING", version="1.33")
    for name in ("oidc_issuer", "vpc_id", "authentication_mode", "support_type", "creation_date"):
        assert not found.HasField(name)
    assert found.deletion_protection is False


def test_security_groups_include_the_clusters_own() -> None:
    network = {"securityGroupIds": ["sg-2"], "clusterSecurityGroupId": "sg-1", "vpcId": "vpc-1"}
    found = body(resourcesVpcConfig=network, accessConfig={"authenticationMode": "API"})
    assert found.security_groups == ["sg-1", "sg-2"]
    assert (found.vpc_id, found.authentication_mode) == ("vpc-1", "API")


def test_until_when_a_version_is_supported() -> None:
    draft = cluster_draft("shop", ARN, {"cluster": {"version": "1.33"}})
    fill_support(draft, VERSIONS)
    assert draft.body.standard_support_end.ToDatetime(UTC) == END
    unknown = cluster_draft("shop", ARN, {"cluster": {"version": "1.13"}})
    fill_support(unknown, VERSIONS)
    assert not unknown.body.HasField("standard_support_end")
    assert not unknown.unread


def test_support_needs_both_the_version_and_the_list() -> None:
    denied = cluster_draft("shop", ARN, DENIED)
    fill_support(denied, VERSIONS)
    assert denied.unread == dict.fromkeys((*DESCRIBED_FIELDS, "standard_support_end"), DENIED)
    assert denied.body.cluster_name == "shop"
    unlisted = cluster_draft("shop", ARN, {"cluster": {"version": "1.33"}})
    fill_support(unlisted, UNLISTED)
    assert unlisted.unread == {"standard_support_end": UNLISTED}


@pytest.mark.parametrize(
    ("access", "reachable", "opened"),
    [
        (None, False, False),
        ({}, False, False),
        ({"sourceSecurityGroups": ["sg-1"]}, False, False),
        ({"ec2SshKey": "admins", "sourceSecurityGroups": ["sg-1"]}, True, False),
        ({"ec2SshKey": "admins"}, True, True),
    ],
)
def test_who_reaches_nodes_by_ssh(access: Any, reachable: bool, opened: bool) -> None:
    found = node_group({"nodegroupName": "workers", "remoteAccess": access})
    assert (found.remote_access, found.remote_access_open) == (reachable, opened)


def test_an_addon_that_is_being_made_has_no_version() -> None:
    assert addon({"addonName": "coredns", "status": "CREATING"}).version == ""
