"""The story's person at later starts: the same one, whatever the starts before left behind."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from cli import crypto_rotation
from cli.embedded import story_people
from mesh.embedded.postgres import Access
from mesh.identity.keys import sign_token
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as keys
from secmesh.crypto.v1.user_service_pb2_grpc import UserServiceStub
from secmesh_client import connect
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world
from tests.service.rotation_story import plan


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        monkeypatch.setattr(story_people, "TENANT", made.tenant)
        monkeypatch.setattr(story_people, "PARENT", made.parent)
        monkeypatch.setattr(crypto_rotation, "SECONDS", 0.02)
        yield made


@pytest.fixture
def channel(world: World) -> Iterator[grpc.Channel]:
    token = sign_token(world.home, subject="operator", tenant=world.tenant, roles=["admin"])
    with connect(world.address, token=token) as made:
        yield made


@asynccontextmanager
async def rotations_run(world: World) -> AsyncIterator[None]:
    async def look() -> None:
        while True:
            await world.runner.look()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(look())
    yield
    task.cancel()


async def test_it_is_one_person_at_every_start_and_another_is_erased(
    world: World, access: Access, channel: grpc.Channel
) -> None:
    users = UserServiceStub(channel)
    first = await asyncio.to_thread(story_people.store_person, users)
    again = await asyncio.to_thread(story_people.store_person, users)
    assert (again.name, again.ssn) == (first.name, "•••")
    said = await asyncio.to_thread(story_people.erase_other, users, access.owner)
    assert "no row left" in said
    async with rotations_run(world):
        rotated = await asyncio.to_thread(story_people.rotate_and_back, channel)
    assert rotated == "3 rows planned, 3 rotated, 3 rolled back"


async def test_other_peoples_many_rows_are_left_alone(
    channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(story_people.store_person, UserServiceStub(channel))
    monkeypatch.setattr(story_people, "_MOST_ROTATED", 0)
    said = await asyncio.to_thread(story_people.rotate_and_back, channel)
    assert "`secmesh crypto rotate user-dek` writes them" in said


async def test_a_rotation_that_was_left_unfinished_does_not_end_the_story(
    world: World, channel: grpc.Channel
) -> None:
    await asyncio.to_thread(story_people.store_person, UserServiceStub(channel))
    planned = await plan(world, key_pb2.KEY_TYPE_USER_DEK)
    await world.key_service().RunRotation(keys.RunRotationRequest(name=planned.name))
    await world.key_service().PauseRotation(keys.PauseRotationRequest(name=planned.name))
    said = await asyncio.to_thread(story_people.rotate_and_back, channel)
    assert "of an earlier start is not finished" in said
