"""What is done with credentials needs no right that the service's policy does not give."""

from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from secmesh.tenancy.v1.credential_service_pb2 import (
    DeleteCredentialRequest,
    RetrieveCredentialRequest,
    RollbackCredentialRequest,
    RotateCredentialRequest,
    UndeleteCredentialRequest,
)
from services.tenancy.credentials.aws_secrets import AwsSecrets
from services.tenancy.credentials.aws_sts import AwsSecurityTokens
from services.tenancy.credentials.parts import Custody
from services.tenancy.policy.calls import Account
from tests.service.credential_story import PURPOSE, key_story, role_story
from tests.service.tenancy_world import tenancy_world
from tests.tenancy_calls import recorded, refused, requests
from tests.tenancy_templates import policy
from tests.unit.fake_prober import FakeProber
from tests.unit.fake_sts import FakeSecurityTokens

REGION = "eu-west-3"
"""One that no test of the sample account collects."""
KEY = "alias/threat-engine-secrets"


async def test_secrets_are_kept_by_the_policy_of_the_service(
    aws: AwsEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = FakeSecurityTokens()
    custody = Custody(AwsSecrets(REGION, KEY, aws.url), tokens, FakeProber())
    async with tenancy_world(tmp_path, custody=custody) as world:
        # The world's own STS is the one that the story makes users in.
        world.tokens = tokens
        story = await key_story(world)
        with recorded(monkeypatch) as calls:
            await story.store(story.new_key())
            await story.calls.RotateCredential(
                RotateCredentialRequest(name=story.name, aws_access_key=story.new_key())
            )
            await story.calls.RollbackCredential(RollbackCredentialRequest(name=story.name))
            await story.calls.RetrieveCredential(
                RetrieveCredentialRequest(name=story.name, purpose=PURPOSE)
            )
            await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name))
            await story.calls.UndeleteCredential(UndeleteCredentialRequest(name=story.name))
        tags = {"tenant_id": story.tenant, "account_id": story.account_id}
        here = Account(region=REGION, secret_tags={story.secret_name: tags})
        # A secret has no tags before it is made.
        making = [each for each in calls if each.operation == "CreateSecret"]
        others = [each for each in calls if each.operation != "CreateSecret"]
        assert {each.service for each in calls} == {"secretsmanager"}
        assert len(making) == 1
        rights = policy("serve")
        assert refused(rights, requests(making, Account(region=REGION))) == []
        assert refused(rights, requests(others, here)) == []


async def test_accounts_are_entered_by_the_policy_of_the_service(
    aws: AwsEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = AwsSecrets(REGION, KEY, aws.url)
    custody = Custody(secrets, AwsSecurityTokens(REGION, aws.url), FakeProber())
    async with tenancy_world(tmp_path, custody=custody) as world:
        story = await role_story(world)
        with recorded(monkeypatch) as calls:
            # The first of its sessions is made as those that are vended.
            await story.verify()
        entering = [each for each in calls if each.operation == "AssumeRole"]
        asked = requests(entering, Account(region=REGION))
        assert [("Tags" in each.parameters) for each in entering] == [True, False, False]
        assert refused(policy("serve"), asked) == []
