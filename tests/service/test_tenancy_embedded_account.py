"""An account of the embedded AWS, from its registration to sessions in it, through boto3."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from mesh.embedded.aws import AwsEndpoint
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1 import onboarding_service_pb2 as pb
from secmesh.tenancy.v1.credential_service_pb2 import (
    RetrieveCredentialRequest,
    RotateCredentialRequest,
    VendCredentialsRequest,
)
from services.tenancy.credentials.aws_secrets import AwsSecrets
from services.tenancy.credentials.aws_sts import AwsSecurityTokens
from services.tenancy.credentials.parts import Custody
from services.tenancy.credentials.secrets import Stage
from services.tenancy.credentials.sts import AwsKeys
from services.tenancy.onboarding.aws_probes import AwsProber
from tests.service.credential_story import PURPOSE, Story, as_key, key_story
from tests.service.tenancy_world import World, tenancy_world
from tests.unit.fake_sts import PLATFORM

REGION = "eu-west-3"
"""One that no test of the sample account collects."""


@pytest.fixture
def custody(aws: AwsEndpoint) -> Custody:
    return Custody(
        AwsSecrets(REGION, "", aws.url),
        AwsSecurityTokens(REGION, aws.url),
        AwsProber(REGION, aws.url),
    )


@pytest.fixture
async def world(tmp_path: Path, custody: Custody) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, custody=custody, principal_arn=PLATFORM) as made:
        yield made


@contextmanager
def owner(aws: AwsEndpoint, account: str, service: Any) -> Iterator[Any]:
    """Give a client of the account's owner."""
    options: dict[str, Any] = {"region_name": REGION, "endpoint_url": aws.url}
    sts = boto3.client("sts", **options)
    role = f"arn:aws:iam::{account}:role/owner"
    given = sts.assume_role(RoleArn=role, RoleSessionName="owner")["Credentials"]
    sts.close()
    client = boto3.client(
        service,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        **options,
    )
    yield client
    client.close()


async def test_the_template_that_is_given_makes_an_account_that_is_entered(
    world: World, aws: AwsEndpoint, custody: Custody
) -> None:
    tenant = await world.tenant()
    await world.provider(tenant)
    story = Story(world, tenant, await world.account(tenant, 313131313131))
    # Nobody made the role yet, and the endpoint takes any id for it.
    assert not (await story.verify()).entered
    made = await world.onboarding(tenant).GetOnboarding(
        pb.GetOnboardingRequest(name=story.account.name, format=pb.ONBOARDING_FORMAT_CLOUDFORMATION)
    )
    with owner(aws, story.account.cloud_account_id, "cloudformation") as stacks:
        stacks.create_stack(
            StackName="secmesh", TemplateBody=made.text, Capabilities=["CAPABILITY_NAMED_IAM"]
        )
    report = await story.verify()
    problems = [each for each in report.checks if each.outcome != pb.CHECK_OUTCOME_PASSED]
    assert problems == []
    assert report.account.status == account_pb2.ACCOUNT_STATUS_ACTIVE
    vended = await story.calls.VendCredentials(
        VendCredentialsRequest(name=story.account.name, purpose=PURPOSE)
    )
    keys = AwsKeys(vended.access_key_id, vended.secret_access_key, vended.session_token)
    identity = await custody.tokens.identity(keys)
    assert identity.account == story.account.cloud_account_id
    assert identity.arn.endswith(f":assumed-role/audit/secmesh-{story.account_id}")


async def test_keys_of_a_user_are_stored_and_rotated(
    world: World, aws: AwsEndpoint, custody: Custody
) -> None:
    story = await key_story(world)
    keys = []
    with owner(aws, story.account.cloud_account_id, "iam") as iam:
        user = f"scanner-{uuid.uuid4().hex}"
        iam.create_user(UserName=user)
        for _ in range(2):
            given = iam.create_access_key(UserName=user)["AccessKey"]
            keys.append(as_key(AwsKeys(given["AccessKeyId"], given["SecretAccessKey"])))
    await story.store(keys[0])
    assert (await story.verify()).entered
    made = await story.calls.RotateCredential(
        RotateCredentialRequest(name=story.name, aws_access_key=keys[1])
    )
    assert made.current_version == 2
    found = await story.calls.RetrieveCredential(
        RetrieveCredentialRequest(name=story.name, purpose=PURPOSE)
    )
    assert found.credentials["access_key_id"] == keys[1].access_key_id
    current = await custody.secrets.get(story.secret_name, Stage.CURRENT)
    previous = await custody.secrets.get(story.secret_name, Stage.PREVIOUS)
    assert keys[1].access_key_id in current.value
    assert keys[0].access_key_id in previous.value
