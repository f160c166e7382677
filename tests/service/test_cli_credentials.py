"""`secmesh credentials`, and `accounts onboard|verify`, against a real server."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import MessageToJson

from mesh.server.program import CommandFailed
from secmesh.tenancy.v1.credential_pb2 import AwsAccessKey
from services.tenancy.access_log_command import prune_access_logs
from services.tenancy.credentials.access_chain import checkpoint_hash_of
from services.tenancy.credentials.access_log import ENTRY
from services.tenancy.credentials.access_retention import CHECKPOINT, checkpoint_of
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Put
from tests.service.credential_story import Story, key_story, role_story
from tests.service.crypto_command import Command
from tests.service.tenancy_world import World, tenancy_world
from tests.unit.fake_sts import PLATFORM


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, principal_arn=PLATFORM) as made:
        yield made


def command(story: Story) -> Command:
    return Command(story.world.address, story.world.home, story.tenant)


def text_of(key: AwsAccessKey) -> str:
    return MessageToJson(key)


async def test_a_key_is_stored_from_input_rotated_from_a_file_and_rolled_back(
    world: World, tmp_path: Path
) -> None:
    story = await key_story(world)
    secmesh, account = command(story), story.account_id
    old, new = story.new_key(), story.new_key()
    words = ("credentials", "store", account, "--aws-access-key", "-", "--note", "owner=ops")
    stored = await secmesh.json(*words, typed=text_of(old))
    assert (stored["currentVersion"], stored["metadata"]) == ("1", {"owner": "ops"})
    assert old.secret_access_key not in json.dumps(stored)
    file = tmp_path / "key.json"
    file.write_text(text_of(new))
    await secmesh.json("credentials", "rotate", account, "--aws-access-key", str(file))
    shown = await secmesh.json("credentials", "retrieve", account, "--purpose", "drill")
    assert shown["credentials"]["secret_access_key"] == new.secret_access_key
    listed = await secmesh.json("credentials", "versions", account)
    assert [each["version"] for each in listed] == ["2", "1"]
    back = await secmesh.json("credentials", "rollback", account)
    assert back["currentVersion"] == "1"
    await secmesh.json("credentials", "delete", account)
    assert (await secmesh.run("credentials", "retrieve", account, "--purpose", "x")).exit_code == 1
    await secmesh.json("credentials", "undelete", f"accounts/{account}")
    assert await secmesh.json("credentials", "get", story.account.name)


@pytest.mark.parametrize("typed", ["hunter2", '{"access_key_id": ["hunter2"]}'])
async def test_a_secret_that_cannot_be_read_is_not_shown(world: World, typed: str) -> None:
    story = await key_story(world)
    words = ("credentials", "store", story.account_id)
    done = await command(story).run(*words, "--aws-access-key", "-", typed=typed)
    assert done.exit_code == 2
    assert "hunter2" not in done.output
    assert "secret_access_key" in done.output
    assert (await command(story).run(*words)).exit_code == 2
    both = ("--aws-access-key", "-", "--gcp-service-account", "-")
    assert (await command(story).run(*words, *both)).exit_code == 2


async def test_an_account_is_onboarded_verified_and_entered(world: World) -> None:
    story = await role_story(world)
    secmesh, account = command(story), story.account_id
    text = await secmesh.run("accounts", "onboard", account)
    assert yaml.safe_load(text.stdout)["Resources"]["ScanRole"]
    text = await secmesh.run("accounts", "onboard", account, "--format", "terraform")
    assert story.account.external_id in text.stdout
    assert (await secmesh.run("accounts", "onboard", account, "--format", "x")).exit_code == 2
    found = await secmesh.json("accounts", "verify", account)
    assert found["entered"]
    words = ("credentials", "vend", account, "--purpose", "scan", "--credential-process")
    given = json.loads((await secmesh.run(*words)).stdout)
    assert (given["Version"], given["AccessKeyId"][:4]) == (1, "ASIA")
    assert given["SessionToken"]


async def test_an_account_that_is_not_entered_ends_in_failure(world: World) -> None:
    story = await role_story(world, external_id=None)
    done = await command(story).run("accounts", "verify", story.account_id)
    assert done.exit_code == 1
    assert "external_id_wrong_refused: accepted" in done.output


async def test_the_log_is_listed_and_held_against_its_hashes(world: World) -> None:
    story = await key_story(world)
    secmesh = command(story)
    await story.store(story.new_key())
    for _ in range(3):
        await secmesh.json("credentials", "retrieve", story.account_id, "--purpose", "drill")
    listed = await secmesh.json("credentials", "log")
    assert [each["number"] for each in listed] == ["4", "3", "2", "1"]
    done = await secmesh.run("credentials", "log", "--verify")
    assert (done.exit_code, "4 entries" in done.output) == (0, True)
    # Whoever may write the table, but not what came after.
    store, key = world.parts.store, TenantScope(story.tenant).credential_access(2)
    item = await store.get(key)
    assert item is not None
    entry = ENTRY.message(item)
    entry.subject = "nobody"
    await store.write(Put(key, ENTRY.item(entry)))
    done = await secmesh.run("credentials", "log", "--verify")
    assert (done.exit_code, "entry 2" in done.output) == (1, True)


async def test_a_log_of_which_was_removed_tells_since_when_it_is_whole(world: World) -> None:
    story, parts = await key_story(world), world.parts
    secmesh = command(story)
    await story.store(story.new_key())
    world.clock.turn(401 * 86_400)
    await secmesh.json("credentials", "retrieve", story.account_id, "--purpose", "drill")
    told = "entries of 1 access logs were removed\n"
    assert await prune_access_logs(parts) == f"1 {told}"
    assert await prune_access_logs(parts) == f"0 {told}"
    listed = await secmesh.json("credentials", "log")
    assert [each["number"] for each in listed] == ["3", "2"]
    assert listed[0]["action"] == "CREDENTIAL_ACTION_REMOVE_ENTRIES"
    done = await secmesh.run("credentials", "log", "--verify")
    assert (done.exit_code, "2 entries since 20" in done.output) == (0, True)
    # Whoever may write the table puts the checkpoint a step on, and its hash with it.
    scope = TenantScope(story.tenant)
    checkpoint = await checkpoint_of(parts.store, scope)
    assert checkpoint is not None
    checkpoint.removed += 1
    checkpoint.hash = checkpoint_hash_of(checkpoint)
    await parts.store.write(Put(scope.access_checkpoint(), CHECKPOINT.item(checkpoint)))
    done = await secmesh.run("credentials", "log", "--verify")
    assert (done.exit_code, "another checkpoint" in done.output) == (1, True)


async def test_a_log_that_is_broken_is_left_and_the_others_are_looked_after(world: World) -> None:
    broken, whole = [await key_story(world) for _ in range(2)]
    for story in (broken, whole):
        await story.store(story.new_key())
    place = TenantScope(broken.tenant).credential_access(1)
    item = await world.parts.store.get(place)
    assert item is not None
    entry = ENTRY.message(item)
    entry.subject = "nobody"
    await world.parts.store.write(Put(place, ENTRY.item(entry)))
    world.clock.turn(401 * 86_400)
    with pytest.raises(CommandFailed, match=r"1 entries of 1 access logs .* 1 logs failed"):
        await prune_access_logs(world.parts)
    assert await world.parts.store.get(place) is not None
