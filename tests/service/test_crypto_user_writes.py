"""Persons written through a real server: all or nothing, at once, and what is refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import user_service_pb2 as pb
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import CallRefused
from services.crypto.audit.entry import Operation
from services.crypto.persons.values import MASK
from services.crypto.tables import ENCRYPTION_METADATA
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world
from tests.service.person_story import (
    ANN,
    SEALED,
    add_purpose,
    create,
    person,
    refused,
    shown,
)


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


async def test_values_of_no_form_are_refused_unnamed(world: World) -> None:
    for field, value in (
        ("email", "no address"),
        ("phone", "555"),
        ("date_of_birth", "1981-02-29"),
        ("ip_address", "300.1.1.1"),
        ("ssn", "12345"),
        ("credit_card", "4111 1111 1111 1112"),
        ("bank_account", "DE89 3704 0044 0532 0130 01"),
        ("address", MASK),
        ("first_name", " "),
    ):
        error = await refused(create(world, **{field: value}), "VALUE_INVALID")
        assert error.metadata["field"] == field
        assert not value.strip() or value not in error.message


async def test_an_update_changes_what_it_names(world: World) -> None:
    made = await create(world, **ANN)
    await add_purpose(world, *SEALED)
    change = User(name=made.name, etag=made.etag, ssn="219-09-9999", first_name="Anna")
    updated = await world.users().UpdateUser(
        pb.UpdateUserRequest(
            user=change, update_mask=FieldMask(paths=["ssn", "first_name", "phone"])
        )
    )
    assert updated.etag != made.etag
    asked = pb.GetUserRequest(name=made.name, unmask=sorted(SEALED), purpose="billing")
    now = shown(await world.users().GetUser(asked))
    left = {name: value for name, value in ANN.items() if name != "phone"}
    assert now == left | {"ssn": "219-09-9999", "first_name": "Anna"}
    stale = pb.UpdateUserRequest(user=change)
    await refused(world.users().UpdateUser(stale), "ETAG_MISMATCH")
    wrong = pb.UpdateUserRequest(user=User(name=made.name), update_mask=FieldMask(paths=["etag"]))
    await refused(world.users().UpdateUser(wrong), "FIELD_INVALID")


async def test_updates_at_once_lose_nothing(world: World) -> None:
    made = await create(world, first_name="Ann")
    await add_purpose(world, *SEALED)
    changes = [{name: ANN[name]} for name in sorted(SEALED)]
    users = world.users()
    await asyncio.gather(
        *(users.UpdateUser(pb.UpdateUserRequest(user=person(each, made.name))) for each in changes)
    )
    asked = pb.GetUserRequest(name=made.name, unmask=sorted(SEALED), purpose="billing")
    now = shown(await users.GetUser(asked))
    assert now == {name: ANN[name] for name in SEALED} | {"first_name": "Ann"}


async def test_a_value_that_is_taken_away_leaves_no_trace(world: World) -> None:
    made = await create(world, **ANN)
    await world.users().UpdateUser(
        pb.UpdateUserRequest(user=User(name=made.name), update_mask=FieldMask(paths=["ssn"]))
    )
    user = await world.users().GetUser(pb.GetUserRequest(name=made.name))
    assert not user.HasField("ssn")
    search = pb.SearchUsersRequest(parent=world.parent, field="ssn", value=ANN["ssn"])
    assert not (await world.users().SearchUsers(search)).users
    async with world.transactions.connection(world.tenant) as connection:
        names = await connection.execute(sa.select(ENCRYPTION_METADATA.c.field_name))
        assert "ssn" not in names.scalars().all()


async def test_a_deleted_person_is_gone(world: World) -> None:
    made = await create(world, **ANN)
    users = world.users()
    wrong = pb.DeleteUserRequest(name=made.name, etag="0-1")
    await refused(users.DeleteUser(wrong), "ETAG_MISMATCH")
    await users.DeleteUser(pb.DeleteUserRequest(name=made.name, etag=made.etag))
    await refused(users.GetUser(pb.GetUserRequest(name=made.name)), "RESOURCE_NOT_FOUND")
    gone = pb.DeleteUserRequest(name=made.name)
    await refused(users.DeleteUser(gone), "RESOURCE_NOT_FOUND")
    gone.allow_missing = True
    await users.DeleteUser(gone)


async def test_the_same_id_is_stored_once(world: World) -> None:
    user_id = new_uuid()
    ask = pb.CreateUserRequest(parent=world.parent, user=person(ANN), user_id=user_id)
    users = world.users()
    done = await asyncio.gather(*(users.CreateUser(ask) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, User) for each in done) == 1
    assert {each.reason for each in done if isinstance(each, CallRefused)} == {"RESOURCE_EXISTS"}


async def test_another_tenants_person_does_not_exist(world: World) -> None:
    made = await create(world, **ANN)
    strange = world.users("stranger")
    calls = [
        strange.GetUser(pb.GetUserRequest(name=made.name)),
        strange.UpdateUser(pb.UpdateUserRequest(user=User(name=made.name, first_name="X"))),
        strange.DeleteUser(pb.DeleteUserRequest(name=made.name)),
        strange.BatchGetUsers(
            pb.BatchGetUsersRequest(parent="tenants/stranger", names=[made.name])
        ),
        strange.ListUsers(pb.ListUsersRequest(parent=world.parent)),
    ]
    for call in calls:
        await refused(call, "RESOURCE_NOT_FOUND")


async def test_many_persons_are_stored_and_read_at_once(world: World) -> None:
    people = [
        pb.NewUser(user=User(ssn=f"{number:09}", last_name=f"Name {number}"), user_id=new_uuid())
        for number in range(1, 501)
    ]
    await add_purpose(world, "ssn")
    users = world.users()
    made = await users.BatchCreateUsers(
        pb.BatchCreateUsersRequest(parent=world.parent, users=people)
    )
    names = [each.name for each in made.users]
    assert [name.rpartition("/")[2] for name in names] == [each.user_id for each in people]
    read = await users.BatchGetUsers(
        pb.BatchGetUsersRequest(parent=world.parent, names=names, unmask=["ssn"], purpose="billing")
    )
    assert [each.ssn for each in read.users] == [each.user.ssn for each in people]
    assert sum(each.operation is Operation.DECRYPT for each in world.audit.told) == len(people)
    seen: list[str] = []
    page = pb.ListUsersRequest(parent=world.parent, page_size=200)
    while True:
        answer = await users.ListUsers(page)
        seen += [each.name for each in answer.users]
        if not answer.next_page_token:
            break
        page.page_token = answer.next_page_token
    assert sorted(seen) == sorted(names)
    page.page_token = answer.next_page_token or "forged"
    await refused(users.ListUsers(page), "PAGE_TOKEN_INVALID")


async def test_one_bad_person_of_many_stores_none(world: World) -> None:
    people = [pb.NewUser(user=User(ssn="078051120")), pb.NewUser(user=User(ssn="1"))]
    ask = pb.BatchCreateUsersRequest(parent=world.parent, users=people)
    await refused(world.users().BatchCreateUsers(ask), "VALUE_INVALID")
    twice = [pb.NewUser(user=User(first_name="A"), user_id=new_uuid())] * 2
    ask = pb.BatchCreateUsersRequest(parent=world.parent, users=twice)
    await refused(world.users().BatchCreateUsers(ask), "FIELD_INVALID")
    listed = await world.users().ListUsers(pb.ListUsersRequest(parent=world.parent))
    assert not listed.users


async def test_while_sealing_is_off_nothing_is_stored_in_its_place(world: World) -> None:
    made = await create(world, **ANN)
    off = config.Configuration(name=f"{world.parent}/configuration", encryption_enabled=False)
    await world.config().UpdateConfiguration(config.UpdateConfigurationRequest(configuration=off))
    error = await refused(create(world, **ANN), "ENCRYPTION_DISABLED")
    assert error.metadata["field"] in SEALED
    change = pb.UpdateUserRequest(user=User(name=made.name, ssn="219-09-9999"))
    await refused(world.users().UpdateUser(change), "ENCRYPTION_DISABLED")
    assert (await create(world, first_name="Bea")).first_name == "Bea"
