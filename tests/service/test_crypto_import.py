"""Persons imported from a stream: refused one by one, stored once, resumed after a break."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from secmesh.crypto.v1 import user_import_pb2 as pb
from secmesh.crypto.v1.user_pb2 import User
from secmesh.crypto.v1.user_service_pb2 import ListUsersRequest
from secmesh_client import CallRefused
from services.crypto.persons.values import MASK
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world

PART = 50


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


def person(sequence: int) -> pb.ImportedUser:
    return pb.ImportedUser(
        sequence=sequence, user=User(ssn=f"{sequence:09}", last_name=f"Name {sequence}")
    )


async def parts(
    world: World, import_id: str, users: Iterable[pb.ImportedUser]
) -> AsyncIterator[pb.ImportUsersRequest]:
    waiting = list(users)
    request = pb.ImportUsersRequest(parent=world.parent, import_id=import_id)
    for start in range(0, len(waiting), PART):
        request.users.extend(waiting[start : start + PART])
        yield request
        request = pb.ImportUsersRequest()


async def stored(world: World) -> list[str]:
    names: list[str] = []
    ask = ListUsersRequest(parent=world.parent, page_size=1000)
    answer = await world.users().ListUsers(ask)
    names += [each.last_name for each in answer.users]
    assert not answer.next_page_token
    return sorted(names)


async def test_persons_are_refused_one_by_one(world: World) -> None:
    users = [person(number) for number in range(1, 201)]
    users[9].user.ssn = "1"
    users[149].user.first_name = "n" * 300
    users[199].user.address = MASK
    import_id = new_uuid()
    answer = await world.users().ImportUsers(parts(world, import_id, users))
    progress = answer.user_import
    assert (progress.stored, progress.refused, progress.resume_after) == (197, 3, 200)
    problems = {each.sequence: each.error.message for each in answer.problems}
    assert problems.keys() == {10, 150, 200}
    assert "nnn" not in problems[150]
    assert len(await stored(world)) == 197
    asked = pb.GetUserImportRequest(name=progress.name)
    assert await world.users().GetUserImport(asked) == progress
    assert sum(len(each.fields) for each in world.audit.told) == 2 * 197


async def test_a_stream_that_broke_off_goes_on_where_it_was(world: World) -> None:
    users = [person(number) for number in range(1, 201)]
    import_id = new_uuid()

    async def broken() -> AsyncIterator[pb.ImportUsersRequest]:
        async for each in parts(world, import_id, users[:100]):
            yield each
        async with asyncio.timeout(60):
            while len(await stored(world)) < 100:
                await asyncio.sleep(0.01)
        world.audit.broken = True
        yield pb.ImportUsersRequest(users=users[100:150])

    with pytest.raises(CallRefused) as error:
        await world.users().ImportUsers(broken())
    assert error.value.reason == "DEPENDENCY_UNAVAILABLE"
    world.audit.broken = False
    name = f"{world.parent}/user_imports/{import_id}"
    progress = await world.users().GetUserImport(pb.GetUserImportRequest(name=name))
    assert (progress.stored, progress.resume_after) == (100, 100)
    answer = await world.users().ImportUsers(
        parts(world, import_id, users[progress.resume_after :])
    )
    assert (answer.user_import.stored, answer.user_import.resume_after) == (200, 200)
    assert await stored(world) == sorted(each.user.last_name for each in users)


async def test_what_is_sent_twice_at_once_is_stored_once(world: World) -> None:
    users = [person(number) for number in range(1, 101)]
    import_id = new_uuid()
    stub = world.users()
    answers = await asyncio.gather(
        *(stub.ImportUsers(parts(world, import_id, users)) for _ in range(3))
    )
    assert not [problem for each in answers for problem in each.problems]
    assert await stored(world) == sorted(each.user.last_name for each in users)
    again = await stub.ImportUsers(parts(world, import_id, users))
    assert (again.user_import.stored, again.user_import.refused) == (100, 0)


async def test_streams_that_say_nothing_clear_are_refused(world: World) -> None:
    stub = world.users()

    async def of(*requests: pb.ImportUsersRequest) -> AsyncIterator[pb.ImportUsersRequest]:
        for each in requests:
            yield each

    first = pb.ImportUsersRequest(parent=world.parent, import_id=new_uuid())
    for requests in (
        [],
        [pb.ImportUsersRequest(import_id=new_uuid())],
        [pb.ImportUsersRequest(parent=world.parent)],
        [first, pb.ImportUsersRequest(import_id=new_uuid())],
        [pb.ImportUsersRequest(parent=world.parent, import_id=new_uuid(), users=[person(1)] * 2)],
    ):
        with pytest.raises(CallRefused) as error:
            await stub.ImportUsers(of(*requests))
        assert error.value.reason == "FIELD_INVALID"
    strange = pb.ImportUsersRequest(parent="tenants/stranger", import_id=new_uuid())
    with pytest.raises(CallRefused) as error:
        await stub.ImportUsers(of(strange))
    assert error.value.reason == "RESOURCE_NOT_FOUND"
    unknown = pb.GetUserImportRequest(name=f"{world.parent}/user_imports/{new_uuid()}")
    with pytest.raises(CallRefused) as error:
        await stub.GetUserImport(unknown)
    assert error.value.reason == "RESOURCE_NOT_FOUND"


async def test_a_process_that_is_about_to_end_says_where_to_go_on(
    access: Access, world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    users = [person(number) for number in range(1, 201)]
    import_id = new_uuid()

    async def slow() -> AsyncIterator[pb.ImportUsersRequest]:
        async for each in parts(world, import_id, users[:100]):
            yield each
        async with asyncio.timeout(60):
            while len(await stored(world)) < 100:
                await asyncio.sleep(0.01)
        # The client says nothing now, and does not end the stream.
        world.server.draining.set()
        await asyncio.sleep(20)
        yield pb.ImportUsersRequest(users=users[100:])

    answer = await world.users().ImportUsers(slow())
    assert (answer.resume, answer.user_import.resume_after) == (True, 100)
    again = await world.users().ImportUsers(parts(world, import_id, users))
    assert again.resume
    assert not again.HasField("user_import")
    home = tmp_path_factory.mktemp("other")
    (home / "app.keys").write_bytes((world.home / "app.keys").read_bytes())
    (home / "app.keys").chmod(0o600)
    async with crypto_world(access, home, kms=world.kms) as other:
        other.tenant = world.tenant
        rest = users[answer.user_import.resume_after :]
        ended = await other.users().ImportUsers(parts(other, import_id, rest))
        assert (ended.resume, ended.user_import.stored) == (False, 200)
        assert await stored(other) == sorted(each.user.last_name for each in users)
