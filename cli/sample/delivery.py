"""Builds and pipelines of the sample account."""

import json
from typing import Any

from cli.sample.clients import ACCOUNT

_ROLE = f"arn:aws:iam::{ACCOUNT}:role/"
_ENVIRONMENT = {
    "type": "LINUX_CONTAINER",
    "image": "aws/codebuild/standard:7.0",
    "computeType": "BUILD_GENERAL1_SMALL",
}
_IMAGES = "version: 0.2\nphases:\n  build:\n    commands:\n      - docker build -t shop .\n"


def make_projects(codebuild: Any) -> None:
    """Make a project that is well kept, one that builds images, and one with each thing wrong."""
    secret = {"name": "NPM_TOKEN", "value": "/shop/npm", "type": "PARAMETER_STORE"}
    plain = {"name": "STAGE", "value": "prod", "type": "PLAINTEXT"}
    _project(
        codebuild,
        "shop",
        {"type": "GITHUB", "location": "https://github.com/acme/shop.git"},
        {"environmentVariables": [secret, plain]},
        tags=[{"key": "owner", "value": "shop"}],
        vpcConfig={"vpcId": "vpc-0a1b2c3d", "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
    )
    _project(
        codebuild,
        "shop-images",
        {"type": "CODECOMMIT", "location": "https://example.com/shop", "buildspec": _IMAGES},
        {"privilegedMode": True},
        logsConfig={
            "cloudWatchLogs": {"status": "DISABLED"},
            "s3Logs": {"status": "ENABLED", "location": "acme-access-logs/builds"},
        },
    )
    # The documentation's own example of a key, and a password in the address.
    key = {"name": "AWS_ACCESS_KEY_ID", "value": "AKIAIOSFODNN7EXAMPLE", "type": "PLAINTEXT"}
    _project(
        codebuild,
        "legacy-build",
        {"type": "BITBUCKET", "location": "https://ci:not-a-real-password@bitbucket.org/acme/old"},
        {"environmentVariables": [key], "privilegedMode": True},
        logsConfig={"cloudWatchLogs": {"status": "DISABLED"}, "s3Logs": {"status": "DISABLED"}},
    )


def _project(
    codebuild: Any, name: str, source: dict[str, str], environment: dict[str, Any], **more: Any
) -> None:
    codebuild.create_project(
        name=name,
        source=source,
        artifacts={"type": "NO_ARTIFACTS"},
        environment={**_ENVIRONMENT, **environment},
        serviceRole=f"{_ROLE}build",
        **more,
    )


def make_pipelines(codepipeline: Any, iam: Any) -> None:
    """Make a pipeline to production that asks somebody, one that asks nobody, and one for tests."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "codepipeline.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    iam.create_role(
        RoleName="pipeline",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    source, release = _stage("Source", _action("Source", "CodeStarSourceConnection")), "Release"
    approval = _action("Approval", "Manual")
    deploy = _action("Deploy", "ECS", runOrder=2)
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
    _pipeline(
        codepipeline,
        "shop-production",
        [source, _stage(release, approval, deploy)],
        encryptionKey={"id": key, "type": "KMS"},
    )
    unasked = [
        _stage("Source", _action("Source", "GitHub", owner="ThirdParty")),
        _stage(release, deploy),
    ]
    _pipeline(codepipeline, "legacy", unasked, tags=[{"key": "Environment", "value": "prod"}])
    _pipeline(codepipeline, "shop-test", [source, _stage(release, deploy)])
    # The pipelines need it only while they are made.
    iam.delete_role(RoleName="pipeline")


def _action(category: str, provider: str, **more: Any) -> dict[str, Any]:
    owner = more.pop("owner", "AWS")
    kind = {"category": category, "owner": owner, "provider": provider, "version": "1"}
    secret = {"OAuthToken": "not-a-real-token"} if owner != "AWS" else {}
    return {"name": provider, "actionTypeId": kind, "configuration": secret, **more}


def _stage(name: str, *actions: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "actions": list(actions)}


def _pipeline(
    codepipeline: Any,
    name: str,
    stages: list[dict[str, Any]],
    tags: list[dict[str, str]] | None = None,
    **store: Any,
) -> None:
    codepipeline.create_pipeline(
        pipeline={
            "name": name,
            "roleArn": f"{_ROLE}pipeline",
            "artifactStore": {"type": "S3", "location": "acme-data", **store},
            "stages": stages,
            "version": 1,
        },
        tags=tags or [],
    )
