"""Access keys that change by themselves: when, what is left, and what is done when it fails."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import boto3
import pytest

from mesh.embedded.aws import AwsEndpoint
from secmesh.tenancy.v1.credential_access_pb2 import CredentialAction
from secmesh.tenancy.v1.credential_pb2 import Credential, CredentialVersionState
from secmesh.tenancy.v1.credential_service_pb2 import (
    DeleteCredentialRequest,
    RetrieveCredentialRequest,
    RollbackCredentialRequest,
    SetCredentialRotationRequest,
    VendCredentialsRequest,
)
from secmesh_client.refusal import CallRefused
from services.tenancy.credentials.aws_access_keys import AwsAccessKeys
from services.tenancy.credentials.scheduled_rotation import Outcome
from services.tenancy.credentials.sts import AwsKeys
from services.tenancy.rotate_command import rotate_credentials
from tests.service.credential_story import Story, as_key, key_story, role_story
from tests.service.tenancy_world import World, tenancy_world

DAY = 86_400
HALF = DAY // 2


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


@pytest.fixture
async def story(world: World) -> Story:
    """An account whose key changes each 30 days."""
    made = await key_story(world)
    await made.store(made.new_key())
    await set_rotation(made, 30)
    return made


async def set_rotation(story: Story, days: int, etag: str = "") -> Credential:
    made: Credential = await story.calls.SetCredentialRotation(
        SetCredentialRotationRequest(name=story.name, interval_days=days, etag=etag)
    )
    return made


async def known(story: Story) -> Credential:
    found = await story.world.parts.credentials.credentials.find(story.tenant, story.account_id)  # type: ignore[union-attr]  # fakes keep them
    return found.stored()


async def key_of(story: Story) -> AwsKeys:
    got = await story.calls.RetrieveCredential(
        RetrieveCredentialRequest(name=story.name, purpose="test")
    )
    return AwsKeys(got.credentials["access_key_id"], got.credentials["secret_access_key"])


def states(credential: Credential) -> dict[int, str]:
    word = CredentialVersionState.Name
    prefix = "CREDENTIAL_VERSION_STATE_"
    return {each.version: word(each.state).removeprefix(prefix) for each in credential.versions}


async def passed(story: Story) -> Counter[Outcome]:
    """Run a pass, with no rotation of other tests in it."""
    return await rotate_credentials(story.world.parts)


async def test_a_key_changes_when_its_time_has_come(story: Story) -> None:
    world, first = story.world, await key_of(story)
    arn = world.tokens.arn_of(first.access_key_id)
    world.clock.turn(30 * DAY - 60)
    assert await passed(story) == {}
    world.clock.turn(60)
    assert await passed(story) == {Outcome.ROTATED: 1}
    second = await key_of(story)
    assert second != first
    assert set(world.access_keys.live(arn)) == {first.access_key_id, second.access_key_id}
    now = await known(story)
    assert states(now) == {2: "CURRENT", 1: "PREVIOUS"}
    assert (now.rotation.failures, now.rotation.HasField("attempt_time")) == (0, False)
    assert now.rotation.next_time.seconds - now.rotation.last_time.seconds == 30 * DAY
    assert await passed(story) == {}
    world.clock.turn(HALF)
    assert await passed(story) == {Outcome.RETIRED: 1}
    assert world.access_keys.live(arn) == [second.access_key_id]
    assert states(await known(story)) == {2: "CURRENT", 1: "RETIRED"}
    with pytest.raises(CallRefused) as refused:
        await story.calls.RollbackCredential(RollbackCredentialRequest(name=story.name, version=1))
    assert refused.value.reason == "CREDENTIAL_VERSION_UNFIT"
    actions = Counter(CredentialAction.Name(each.action) for each in await story.accesses())
    assert actions["CREDENTIAL_ACTION_ROTATE"] == actions["CREDENTIAL_ACTION_SET_ROTATION"] == 1


async def test_many_at_once_change_it_once(story: Story) -> None:
    story.world.clock.turn(30 * DAY)
    ends: Counter[Outcome] = Counter()
    for each in await asyncio.gather(*(passed(story) for _ in range(6))):
        ends += each
    assert (ends[Outcome.ROTATED], ends[Outcome.FAILED]) == (1, 0)
    assert states(await known(story)) == {2: "CURRENT", 1: "PREVIOUS"}


async def test_year_after_year_a_user_has_two_keys_at_most(story: Story) -> None:
    world = story.world
    arn = world.tokens.arn_of((await key_of(story)).access_key_id)
    for _ in range(24):
        world.clock.turn(30 * DAY)
        # Nobody came half a day later: what is left makes room first.
        assert await passed(story) == {Outcome.ROTATED: 1}
        assert len(world.access_keys.live(arn)) == 2
        world.tokens.who(await key_of(story))
    assert (await known(story)).current_version == 25


async def test_a_key_that_fails_its_test_changes_nothing_and_is_tried_again(story: Story) -> None:
    world, first = story.world, await key_of(story)
    arn = world.tokens.arn_of(first.access_key_id)
    world.access_keys.broken = True
    world.clock.turn(30 * DAY)
    assert await passed(story) == {Outcome.FAILED: 1}
    assert await key_of(story) == first
    assert world.access_keys.live(arn) == [first.access_key_id]
    plan = (await known(story)).rotation
    assert (plan.failures, plan.reason) == (1, "keys_refused")
    assert plan.next_time.seconds * 1_000_000 > world.clock.now()
    assert await passed(story) == {}
    world.access_keys.broken = False
    world.clock.turn(2 * DAY)
    assert await passed(story) == {Outcome.ROTATED: 1}
    assert (await known(story)).rotation.reason == ""


@pytest.mark.parametrize("reason", ["not_permitted", "too_many_keys", "no_user"])
async def test_a_failure_is_told_where_one_looks(story: Story, reason: str) -> None:
    world, first = story.world, await key_of(story)
    if reason == "not_permitted":
        world.access_keys.forbidden = True
    elif reason == "too_many_keys":
        # One that its owner made, which nobody here may delete.
        world.tokens.add_user(world.tokens.arn_of(first.access_key_id))
    else:
        story = await key_story(world)
        root = world.tokens.add_user(f"arn:aws:iam::{story.account.cloud_account_id}:root")
        await story.store(as_key(root))
        await set_rotation(story, 1)
    world.clock.turn(30 * DAY)
    assert (await passed(story))[Outcome.FAILED] == 1
    plan = (await known(story)).rotation
    assert (plan.failures, plan.reason) == (1, reason)
    entry = (await story.accesses())[-1]
    assert (entry.granted, entry.purpose) == (False, f"scheduled rotation: {reason}")
    assert entry.subject == "secmesh-tenancy"


async def test_a_new_key_that_stops_working_is_taken_back(story: Story) -> None:
    """By itself, as after any rotation: the key before lives on for half a day."""
    world, first = story.world, await key_of(story)
    await story.verify()
    world.clock.turn(30 * DAY)
    await passed(story)
    world.tokens.disable((await key_of(story)).access_key_id)
    await story.calls.VendCredentials(
        VendCredentialsRequest(name=story.account.name, purpose="test")
    )
    assert await key_of(story) == first
    assert states(await known(story)) == {2: "ROLLED_BACK", 1: "CURRENT"}


async def test_what_is_off_deleted_or_suspended_stays(story: Story) -> None:
    etag = (await known(story)).etag
    with pytest.raises(CallRefused) as refused:
        await set_rotation(story, 5, etag="v99")
    assert refused.value.reason == "ETAG_MISMATCH"
    off = await set_rotation(story, 0, etag=etag)
    assert not off.HasField("rotation")
    story.world.clock.turn(90 * DAY)
    assert await passed(story) == {}
    await set_rotation(story, 30)
    await story.calls.DeleteCredential(DeleteCredentialRequest(name=story.name))
    assert await passed(story) == {}


async def test_a_key_that_is_old_already_changes_at_once(world: World) -> None:
    story = await key_story(world)
    await story.store(story.new_key())
    world.clock.turn(400 * DAY)
    await set_rotation(story, 90)
    assert await passed(story) == {Outcome.ROTATED: 1}


async def test_a_role_has_no_key(world: World) -> None:
    story = await role_story(world)
    with pytest.raises(CallRefused) as refused:
        await set_rotation(story, 30)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


async def test_the_adapter_does_it_at_iam(aws: AwsEndpoint) -> None:
    """Of an account of its own: others list what theirs holds."""
    sts = boto3.client("sts", region_name="eu-west-1", endpoint_url=aws.url)
    number = f"{uuid.uuid4().int % 10**12:012d}"
    lent = sts.assume_role(
        RoleArn=f"arn:aws:iam::{number}:role/administrator", RoleSessionName="test"
    )["Credentials"]
    sts.close()
    session = boto3.Session(
        lent["AccessKeyId"], lent["SecretAccessKey"], lent["SessionToken"], region_name="eu-west-1"
    )
    iam = session.client("iam", endpoint_url=aws.url)
    iam.create_user(UserName="scanner")
    made = iam.create_access_key(UserName="scanner")["AccessKey"]
    iam.close()
    first = AwsKeys(made["AccessKeyId"], made["SecretAccessKey"])
    adapter = AwsAccessKeys("eu-west-1", aws.url)
    second = await adapter.create(first, "scanner")
    ids = {each.id for each in await adapter.listed(second, "scanner")}
    assert ids == {first.access_key_id, second.access_key_id}
    for _ in range(2):
        await adapter.delete(second, "scanner", first.access_key_id)
    assert [each.id for each in await adapter.listed(second, "scanner")] == [second.access_key_id]
    await adapter.close()
