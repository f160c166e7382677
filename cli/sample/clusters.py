"""Clusters of the sample account: Kubernetes and containers, some well kept and some not."""

import json
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


def make_containers(ecs: Any, ec2: Any, key: str) -> None:
    """Make a cluster with a service that is well kept, and one with what should not be.

    The network of the security groups must be there.
    """
    _container_clusters(ecs, key)
    # The revision before named a password; the latest one counts.
    for variable in (
        {"name": "DATABASE_PASSWORD", "value": "not-a-real-password"},
        {"name": "DATABASE_HOST", "value": "ledger.internal"},
    ):
        _task(ecs, "web", user="1000:1000", readonlyRootFilesystem=True, environment=[variable])
    _task(
        ecs,
        "agent",
        compatibility="EC2",
        host=True,
        privileged=True,
        user="root",
        environment=[
            {"name": "AWS_ACCESS_KEY_ID", "value": "AKIAIOSFODNN7EXAMPLE"},
            {"name": "LOG_LEVEL", "value": "debug"},
        ],
    )
    named = [{"Name": "group-name", "Values": ["web"]}]
    (group,) = ec2.describe_security_groups(Filters=named)["SecurityGroups"]
    own = [{"Name": "vpc-id", "Values": [group["VpcId"]]}]
    subnet = ec2.describe_subnets(Filters=own)["Subnets"][0]
    place = {"subnets": [subnet["SubnetId"]], "securityGroups": [group["GroupId"]]}
    for cluster, public in (("shop", "DISABLED"), ("lab", "ENABLED")):
        ecs.create_service(
            cluster=cluster,
            serviceName="web",
            taskDefinition="web",
            desiredCount=2,
            launchType="FARGATE",
            platformVersion="LATEST",
            networkConfiguration={"awsvpcConfiguration": {**place, "assignPublicIp": public}},
        )
    ecs.create_service(
        cluster="lab", serviceName="agent", taskDefinition="agent", launchType="EC2", desiredCount=1
    )


def _container_clusters(ecs: Any, key: str) -> None:
    log = {"cloudWatchLogGroupName": "exec", "cloudWatchEncryptionEnabled": True}
    ecs.create_cluster(
        clusterName="shop",
        settings=[{"name": "containerInsights", "value": "enabled"}],
        configuration={
            "executeCommandConfiguration": {
                "kmsKeyId": key,
                "logging": "OVERRIDE",
                "logConfiguration": log,
            }
        },
        capacityProviders=["FARGATE", "FARGATE_SPOT"],
        tags=[{"key": "team", "value": "shop"}],
    )
    ecs.create_cluster(clusterName="lab")


def _task(
    ecs: Any, family: str, *, compatibility: str = "FARGATE", host: bool = False, **more: Any
) -> None:
    container = {"name": family, "image": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{family}:1"}
    ecs.register_task_definition(
        family=family,
        requiresCompatibilities=[compatibility],
        cpu="256",
        memory="512",
        containerDefinitions=[{**container, **more}],
        **({"pidMode": "host"} if host else {}),
    )


def make_repositories(ecr: Any, key: str) -> None:
    """Make a repository that is well kept, one that anyone pulls from, and one that is shared."""
    ecr.create_repository(
        repositoryName="web",
        imageTagMutability="IMMUTABLE",
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": key},
        tags=[{"Key": "team", "Value": "shop"}],
    )
    rule = {
        "rulePriority": 1,
        "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 9},
        "action": {"type": "expire"},
    }
    ecr.put_lifecycle_policy(
        repositoryName="web", lifecyclePolicyText=json.dumps({"rules": [rule]})
    )
    ecr.create_repository(repositoryName="open")
    ecr.create_repository(repositoryName="tools/partner")
    partner = {"AWS": "arn:aws:iam::210987654321:root"}
    for name, principal in (("open", "*"), ("tools/partner", partner)):
        statement = {
            "Sid": "Pull",
            "Effect": "Allow",
            "Principal": principal,
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        ecr.set_repository_policy(repositoryName=name, policyText=json.dumps(policy))
    scanned = {"filter": "web", "filterType": "WILDCARD"}
    ecr.put_registry_scanning_configuration(
        scanType="ENHANCED",
        rules=[{"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [scanned]}],
    )
