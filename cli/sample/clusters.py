"""Clusters of the sample account: Kubernetes and containers, some well kept and some not."""

from typing import Any

from cli.sample.clients import ACCOUNT

ROLE = f"arn:aws:iam::{ACCOUNT}:role/etl"


def make_kubernetes(eks: Any, key: str) -> None:
    """Make a cluster that is shut, logged and encrypted, and one that is old and open."""
    eks.create_cluster(
        name="payments",
        roleArn=ROLE,
        version="1.34",
        resourcesVpcConfig={
            "subnetIds": ["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"],
            "securityGroupIds": ["sg-0aaaaaaaaaaaaaaaa"],
            "endpointPublicAccess": False,
            "endpointPrivateAccess": True,
        },
        logging={"clusterLogging": [{"types": ["api", "audit", "authenticator"], "enabled": True}]},
        encryptionConfig=[{"resources": ["secrets"], "provider": {"keyArn": key}}],
        tags={"team": "payments"},
    )
    eks.create_cluster(
        name="playground",
        roleArn=ROLE,
        version="1.27",
        resourcesVpcConfig={
            "subnetIds": ["subnet-0aaaaaaaaaaaaaaaa"],
            "endpointPublicAccess": True,
            "publicAccessCidrs": ["0.0.0.0/0"],
        },
        logging={"clusterLogging": [{"types": ["api"], "enabled": True}]},
    )
    admins = {"ec2SshKey": "admins", "sourceSecurityGroups": ["sg-0aaaaaaaaaaaaaaaa"]}
    for cluster, version, access in (
        ("payments", "1.34", admins),
        ("playground", "1.27", {"ec2SshKey": "everyone"}),
    ):
        eks.create_nodegroup(
            clusterName=cluster,
            nodegroupName="workers",
            nodeRole=ROLE,
            version=version,
            subnets=["subnet-0aaaaaaaaaaaaaaaa"],
            amiType="AL2023_x86_64_STANDARD",
            remoteAccess=access,
        )
    eks.create_fargate_profile(
        clusterName="payments",
        fargateProfileName="jobs",
        podExecutionRoleArn=ROLE,
        selectors=[{"namespace": "jobs"}],
    )
