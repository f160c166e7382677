"""Sessions over the wire: short, bounded, remembered, refused, and taken back to what works."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1 import credential_access_pb2 as access_pb
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest, SuspendAccountRequest
from secmesh.tenancy.v1.credential_service_pb2 import (
    DeleteCredentialRequest,
    GetCredentialRequest,
    RotateCredentialRequest,
    VendCredentialsRequest,
)
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AZURE, Provider
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest
from secmesh_client.refusal import CallRefused
from services.tenancy.credentials.sts import AwsKeys
from tests.service.credential_story import PURPOSE, Story, key_story, role_story
from tests.service.tenancy_world import World, tenancy_world
from tests.unit.fake_sts import Role


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as made:
        yield made


@pytest.fixture
async def role(world: World) -> Story:
    """An account that a role leads into, verified."""
    made = await role_story(world)
    assert (await made.verify()).entered
    return made


@pytest.fixture
async def keyed(world: World) -> Story:
    """An account that an access key leads into, verified."""
    made = await key_story(world)
    await made.store(made.new_key())
    assert (await made.verify()).entered
    return made


async def vended(story: Story, **more: Any) -> Any:
    return await story.calls.VendCredentials(
        VendCredentialsRequest(name=story.account.name, purpose=PURPOSE, **more)
    )


async def refusal(story: Story, **more: Any) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        await vended(story, **more)
    return refused.value


def keys_of(made: Any) -> AwsKeys:
    return AwsKeys(made.access_key_id, made.secret_access_key, made.session_token)


async def test_a_role_gives_a_session_of_the_account_and_needs_no_secret(role: Story) -> None:
    made = await vended(role, lifetime=Duration(seconds=1800), execution_id="e1")
    identity = await role.world.tokens.identity(keys_of(made))
    assert identity.account == made.cloud_account_id == role.account.cloud_account_id
    assert made.expire_time.ToMicroseconds() - role.world.clock.now() == 1_800_000_000
    assert made.version == 0
    assert not role.world.secrets.calls
    asked = role.world.tokens.made[-1]
    assert asked.external_id == role.account.external_id
    assert asked.scope.tags == {"tenant_id": role.tenant, "account_id": role.account_id}
    assert list(asked.scope.policy_arns) == [
        "arn:aws:iam::aws:policy/SecurityAudit",
        "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",
    ]
    last = (await role.accesses())[-1]
    assert (last.action, last.execution_id, last.purpose, last.granted) == (
        access_pb.CREDENTIAL_ACTION_VEND,
        "e1",
        PURPOSE,
        True,
    )


async def test_actions_that_are_named_bound_the_session(role: Story) -> None:
    await vended(role, actions=["s3:Get*", "ec2:Describe*"])
    scope = role.world.tokens.made[-1].scope
    allowed, refused = json.loads(scope.policy)["Statement"]
    assert allowed["Action"] == ["ec2:Describe*", "s3:Get*"]
    assert "s3:GetObject*" in refused["Action"]
    assert not scope.policy_arns


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("actions", ["s3:PutObject"]),
        ("actions", ["*"]),
        ("actions", ["iam:*"]),
        ("lifetime", Duration(seconds=899)),
        ("lifetime", Duration(seconds=3601)),
    ],
)
async def test_a_session_that_is_too_wide_is_refused(role: Story, field: str, value: Any) -> None:
    refused = await refusal(role, **{field: value})
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "FIELD_INVALID",
    )


async def test_a_session_is_lent_again_until_five_minutes_before_its_end(role: Story) -> None:
    first = await vended(role)
    asked = role.world.tokens.calls["assume_role"]
    calls = len(role.world.recorder.calls)
    role.world.clock.turn(599)
    assert keys_of(await vended(role)) == keys_of(first)
    assert role.world.tokens.calls["assume_role"] == asked
    # The account with its credential, and the log.
    assert len(role.world.recorder.calls) - calls == 2
    role.world.clock.turn(1)
    assert keys_of(await vended(role)) != keys_of(first)


async def test_other_wishes_have_other_sessions(role: Story) -> None:
    first = await vended(role)
    assert keys_of(await vended(role, actions=["s3:List*"])) != keys_of(first)
    assert keys_of(await vended(role, lifetime=Duration(seconds=3600))) != keys_of(first)


async def test_a_key_gives_a_session_and_not_itself(keyed: Story) -> None:
    made = await vended(keyed)
    assert made.version == 1
    assert made.session_token
    arn = (await keyed.world.tokens.identity(keys_of(made))).arn
    assert "federated-user" in arn


async def test_a_key_with_a_role_gives_a_session_of_the_role(world: World) -> None:
    story = await key_story(world)
    key = story.new_key()
    user = world.tokens.arn_of(key.access_key_id)
    key.role_arn = f"arn:aws:iam::{story.account.cloud_account_id}:role/reader"
    world.tokens.add_role(Role(key.role_arn, trusts=user, external_id=story.account.external_id))
    await story.store(key)
    assert (await story.verify()).entered
    arn = (await world.tokens.identity(keys_of(await vended(story)))).arn
    assert "assumed-role/reader" in arn


async def test_only_accounts_that_were_verified_are_entered(world: World) -> None:
    story = await role_story(world)
    refused = await refusal(story)
    assert (refused.reason, refused.metadata["status"]) == ("ACCOUNT_STATUS_UNFIT", "pending")
    await story.verify()
    await vended(story)
    await world.accounts(story.tenant).SuspendAccount(
        SuspendAccountRequest(name=story.account.name)
    )
    assert (await refusal(story)).metadata["status"] == "suspended"
    assert [each.granted for each in await story.accesses()] == [False, True, True, False]


async def test_a_role_that_lets_nobody_in_any_more_is_told(role: Story) -> None:
    await vended(role)
    role.world.tokens.roles.clear()
    role.world.clock.turn(601)
    refused = await refusal(role)
    assert (refused.reason, refused.metadata["problem"]) == (
        "ACCOUNT_ENTRY_DENIED",
        "assumption_denied",
    )


async def test_without_a_credential_nothing_is_vended(keyed: Story) -> None:
    await keyed.calls.DeleteCredential(DeleteCredentialRequest(name=keyed.name))
    assert (await refusal(keyed)).metadata["problem"] == "no_credential"


async def rotated(story: Story) -> str:
    key = story.new_key()
    await story.calls.RotateCredential(RotateCredentialRequest(name=story.name, aws_access_key=key))
    return str(key.access_key_id)


async def test_a_new_key_that_stops_working_is_taken_back_by_itself(keyed: Story) -> None:
    new = await rotated(keyed)
    keyed.world.clock.turn(599)
    keyed.world.tokens.disable(new)
    made = await vended(keyed)
    assert made.version == 1
    credential = await keyed.calls.GetCredential(GetCredentialRequest(name=keyed.name))
    assert credential.current_version == 1
    assert credential.versions[0].reason == "KeysRefused"
    actions = [(each.action, each.subject) for each in await keyed.accesses()]
    assert (access_pb.CREDENTIAL_ACTION_ROLL_BACK_BY_ITSELF, "secmesh-tenancy") in actions


async def test_after_ten_minutes_nothing_is_taken_back(keyed: Story) -> None:
    new = await rotated(keyed)
    keyed.world.clock.turn(600)
    keyed.world.tokens.disable(new)
    assert (await refusal(keyed)).metadata["problem"] == "keys_refused"


async def test_what_works_no_better_is_not_gone_back_to(keyed: Story) -> None:
    credential = await keyed.calls.GetCredential(GetCredentialRequest(name=keyed.name))
    old = credential.versions[0].key_id
    new = await rotated(keyed)
    for key in (old, new):
        keyed.world.tokens.disable(key)
    assert (await refusal(keyed)).metadata["problem"] == "keys_refused"
    credential = await keyed.calls.GetCredential(GetCredentialRequest(name=keyed.name))
    assert credential.current_version == 2


async def test_an_sts_that_does_not_answer_is_no_fault_of_the_account(role: Story) -> None:
    role.world.tokens.down = True
    assert (await refusal(role)).metadata["dependency"] == "sts"


async def test_accounts_of_other_clouds_are_not_entered_yet(world: World) -> None:
    tenant = await world.tenant()
    provider = Provider(provider_type=PROVIDER_TYPE_AZURE, provider_name="Azure")
    made = await world.providers(tenant).CreateProvider(
        CreateProviderRequest(parent=f"tenants/{tenant}", provider=provider, provider_id="az")
    )
    account = account_pb2.Account(
        provider=made.name,
        cloud_account_id="0b1f6471-1bf0-4dda-aec3-cb9272f09590",
        account_name="subscription",
        credential_type=account_pb2.CREDENTIAL_TYPE_AZURE_SERVICE_PRINCIPAL,
    )
    created = await world.accounts(tenant).CreateAccount(
        CreateAccountRequest(parent=f"tenants/{tenant}", account=account)
    )
    story = Story(world, tenant, created)
    with pytest.raises(CallRefused) as refused:
        await story.verify()
    assert (refused.value.code, refused.value.metadata["provider_type"]) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "azure",
    )


async def test_another_tenant_gets_no_session(role: Story, world: World) -> None:
    rival = await world.tenant()
    with pytest.raises(CallRefused) as refused:
        await world.credentials(rival).VendCredentials(
            VendCredentialsRequest(name=role.account.name, purpose=PURPOSE)
        )
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
