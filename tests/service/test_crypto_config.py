"""What a tenant decides about people's data, through a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.embedded.postgres import Access
from secmesh.crypto.v1 import config_service_pb2 as pb
from secmesh.crypto.v1 import user_service_pb2 as user
from secmesh.crypto.v1.user_pb2 import User
from secmesh.options.v1 import field_pb2
from services.crypto.audit.entry import Operation
from services.crypto.persons.fields import CONTRACT
from services.crypto.tables import ENCRYPTION_METADATA, USERS
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world
from tests.service.person_story import refused


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


async def test_settings_are_those_of_all_until_the_tenant_says_otherwise(world: World) -> None:
    config, name = world.config(), f"{world.parent}/configuration"
    common = await config.GetConfiguration(pb.GetConfigurationRequest(name=name))
    assert (common.encryption_enabled, common.audit_retention_days) == (True, 2555)
    assert common.max_failed_decryption_attempts == 5
    assert common.key_rotation_schedule_days == 90
    assert common.current_app_key_version == 1
    change = pb.UpdateConfigurationRequest(
        configuration=pb.Configuration(name=name, audit_retention_days=3650)
    )
    changed = await config.UpdateConfiguration(change)
    assert (changed.audit_retention_days, changed.key_rotation_schedule_days) == (3650, 90)
    assert world.audit.told[-1].operation is Operation.CONFIGURE
    back = pb.UpdateConfigurationRequest(
        configuration=pb.Configuration(name=name),
        update_mask=FieldMask(paths=["audit_retention_days"]),
    )
    assert await config.UpdateConfiguration(back) == common
    back.update_mask.paths[:] = ["current_app_key_version"]
    await refused(config.UpdateConfiguration(back), "MASK_INVALID")
    change.configuration.audit_retention_days = 0
    await refused(config.UpdateConfiguration(change), "FIELD_INVALID")


async def test_purposes_come_and_go(world: World) -> None:
    config = world.config()

    def ask(name: str, *fields: str) -> pb.CreatePurposeRequest:
        purpose = pb.Purpose(description=f"For {name}", fields=fields)
        return pb.CreatePurposeRequest(parent=world.parent, purpose=purpose, purpose_id=name)

    for name in ("billing", "payroll", "support"):
        await config.CreatePurpose(ask(name, "ssn", "address"))
    await refused(config.CreatePurpose(ask("billing", "ssn")), "RESOURCE_EXISTS")
    await refused(config.CreatePurpose(ask("marketing", "shoe_size")), "FIELD_INVALID")
    page = pb.ListPurposesRequest(parent=world.parent, page_size=2)
    first = await config.ListPurposes(page)
    page.page_token = first.next_page_token
    second = await config.ListPurposes(page)
    names = [each.name for each in (*first.purposes, *second.purposes)]
    assert names == [
        f"{world.parent}/purposes/{name}" for name in ("billing", "payroll", "support")
    ]
    assert not second.next_page_token
    gone = pb.DeletePurposeRequest(name=names[0])
    await refused(world.config("stranger").DeletePurpose(gone), "RESOURCE_NOT_FOUND")
    await config.DeletePurpose(gone)
    await refused(config.DeletePurpose(gone), "RESOURCE_NOT_FOUND")
    gone.allow_missing = True
    await config.DeletePurpose(gone)


async def test_fields_that_are_defined_at_once_have_numbers_of_their_own(world: World) -> None:
    config = world.config()
    asked = [
        pb.CreateUserFieldRequest(
            parent=world.parent,
            user_field=pb.UserField(possible_values=10_000_000),
            user_field_id=f"record_{number}",
        )
        for number in range(5)
    ]
    made = await asyncio.gather(*(config.CreateUserField(each) for each in asked))
    assert {(each.tier, each.own, each.searchable) for each in made} == {
        (field_pb2.TIER_SEALED, True, True)
    }
    await refused(config.CreateUserField(asked[0]), "RESOURCE_EXISTS")
    for taken, reason in (("ssn", "RESOURCE_EXISTS"), ("tenant_id", "FIELD_INVALID")):
        asked[0].user_field_id = taken
        await refused(config.CreateUserField(asked[0]), reason)
    page = pb.ListUserFieldsRequest(parent=world.parent, page_size=10)
    first = await config.ListUserFields(page)
    page.page_token = first.next_page_token
    second = await config.ListUserFields(page)
    names = [each.name.rpartition("/")[2] for each in (*first.user_fields, *second.user_fields)]
    assert names == sorted({*CONTRACT, *(f"record_{number}" for number in range(5))})


async def test_a_tier_is_raised_and_never_lowered(world: World) -> None:
    config = world.config()
    ask = pb.RaiseTierRequest(
        name=f"{world.parent}/user_fields/address", tier=field_pb2.TIER_DOUBLE
    )
    assert (await config.RaiseTier(ask)).tier == field_pb2.TIER_DOUBLE
    assert (await config.RaiseTier(ask)).tier == field_pb2.TIER_DOUBLE
    ask.tier = field_pb2.TIER_SEALED
    await refused(config.RaiseTier(ask), "TIER_LOWERED")
    ask.name = f"{world.parent}/user_fields/shoe_size"
    await refused(config.RaiseTier(ask), "RESOURCE_NOT_FOUND")


async def test_what_stands_there_is_brought_to_a_raised_tier(world: World) -> None:
    config, users = world.config(), world.users()
    made = await users.BatchCreateUsers(
        user.BatchCreateUsersRequest(
            parent=world.parent,
            users=[
                user.NewUser(user=User(email=f"p{number}@example.com", address=f"{number} Street"))
                for number in range(7)
            ],
        )
    )
    for field in ("email", "address"):
        name = f"{world.parent}/user_fields/{field}"
        await config.RaiseTier(pb.RaiseTierRequest(name=name, tier=field_pb2.TIER_DOUBLE))
        ask, counts = pb.ApplyTierRequest(name=name, page_size=3), [0, 0]
        while True:
            answer = await config.ApplyTier(ask)
            counts = [counts[0] + answer.examined, counts[1] + answer.resealed]
            if not answer.next_page_token:
                break
            ask.page_token = answer.next_page_token
        assert counts == [7, 7]
        again = await config.ApplyTier(pb.ApplyTierRequest(name=name))
        assert (again.examined, again.resealed, again.next_page_token) == (7, 0, "")
    async with world.transactions.connection(world.tenant) as connection:
        rows = (await connection.execute(sa.select(USERS.c.email, USERS.c.address_encrypted))).all()
        tiers = await connection.execute(
            sa.select(ENCRYPTION_METADATA.c.field_name, ENCRYPTION_METADATA.c.encryption_level)
        )
    assert {row.email for row in rows} == {None}
    assert {tuple(row) for row in tiers} == {("email", 3), ("address", 3)}
    purpose = pb.Purpose(fields=["email", "address"])
    await config.CreatePurpose(
        pb.CreatePurposeRequest(parent=world.parent, purpose=purpose, purpose_id="billing")
    )
    ask_all = user.BatchGetUsersRequest(
        parent=world.parent,
        names=[each.name for each in made.users],
        unmask=["email", "address"],
        purpose="billing",
    )
    read = await users.BatchGetUsers(ask_all)
    assert [(each.email, each.address) for each in read.users] == [
        (f"p{number}@example.com", f"{number} Street") for number in range(7)
    ]
    found = await users.SearchUsers(
        user.SearchUsersRequest(parent=world.parent, field="email", value="P3@example.com")
    )
    assert [each.name for each in found.users] == [made.users[3].name]


async def test_a_value_that_does_not_open_is_counted_and_left(world: World) -> None:
    config, users = world.config(), world.users()
    made = await users.CreateUser(
        user.CreateUserRequest(parent=world.parent, user=User(address="1 Main Street"))
    )
    async with world.transactions.transaction(world.tenant) as connection:
        broken = sa.func.overlay(USERS.c.address_encrypted, b"\x00" * 8, 40)
        await connection.execute(sa.update(USERS).values(address_encrypted=broken))
    name = f"{world.parent}/user_fields/address"
    await config.RaiseTier(pb.RaiseTierRequest(name=name, tier=field_pb2.TIER_DOUBLE))
    answer = await config.ApplyTier(pb.ApplyTierRequest(name=name))
    assert (answer.examined, answer.resealed, answer.failed) == (1, 0, 1)
    last = world.audit.told[-1]
    assert (last.success, last.error_code) == (False, "VALUE_UNOPENABLE")
    assert (await users.GetUser(user.GetUserRequest(name=made.name))).masked == ["address"]
