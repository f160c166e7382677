"""Persons through a real server: what is kept, what is shown, and to whom."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.embedded.postgres import Access
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import user_service_pb2 as pb
from secmesh.crypto.v1.user_pb2 import User
from secmesh.options.v1 import field_pb2
from services.crypto.audit.entry import Operation
from services.crypto.custody.kms import KmsKeyState
from services.crypto.persons.values import MASK
from services.crypto.tables import ENCRYPTION_METADATA, USERS
from tests.databases import crypto_database, open_sync_engine
from tests.service.crypto_world import World, crypto_world
from tests.service.person_story import ANN, CLEAR, SEALED, add_purpose, create, refused, shown


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


async def test_what_is_sealed_is_masked_unless_it_is_asked_for(world: World) -> None:
    made = await create(world, **ANN)
    assert set(made.masked) == SEALED
    user = await world.users().GetUser(pb.GetUserRequest(name=made.name))
    assert shown(user) == {name: ANN[name] if name in CLEAR else MASK for name in ANN}
    await add_purpose(world, "ssn", "address")
    asked = pb.GetUserRequest(name=made.name, unmask=["ssn", "address"], purpose="billing")
    user = await world.users().GetUser(asked)
    assert (user.ssn, user.address) == (ANN["ssn"], ANN["address"])
    assert set(user.masked) == SEALED - {"ssn", "address"}


async def test_the_database_holds_no_sealed_value_in_any_form(world: World) -> None:
    made = await create(world, **ANN)
    engine = open_sync_engine(world.access.owner)
    with engine.connect() as connection:
        found = [
            row
            for table in sa.inspect(connection).get_table_names()
            for row in connection.execute(
                sa.text(f"SELECT CAST(t AS text) FROM {table} AS t")  # noqa: S608 - its own names
            ).scalars()
            if made.name.rpartition("/")[2] in row
        ]
    engine.dispose()
    everything = " ".join(found)
    assert ANN["email"] in everything
    for name in SEALED:
        value = ANN[name]
        compact = re.sub(r"[^0-9A-Za-z]", "", value)
        assert value not in everything
        assert value.encode().hex() not in everything
        assert compact.encode().hex() not in everything


async def test_metadata_says_what_the_headers_say(world: World) -> None:
    made = await create(world, **ANN)
    user_id = made.name.rpartition("/")[2]
    async with world.transactions.connection(world.tenant) as connection:
        table = ENCRYPTION_METADATA
        rows = (await connection.execute(sa.select(table))).all()
        stats = (await connection.execute(sa.text("SELECT * FROM encryption_stats"))).all()
    assert {row.field_name for row in rows if str(row.user_id) == user_id} == SEALED
    assert {(row.field_name, row.encryption_level, row.app_key_version) for row in rows} == {
        *((name, 2, None) for name in ("address", "date_of_birth", "ip_address")),
        *((name, 3, 1) for name in ("ssn", "bank_account", "credit_card")),
    }
    assert {row.total_users for row in stats} == {1}


async def test_values_are_read_for_a_purpose_by_who_may_read_the_field(world: World) -> None:
    made = await create(world, **ANN)
    await add_purpose(world, "ssn", name="payroll")
    users = world.users()
    ask = pb.GetUserRequest(name=made.name, unmask=["ssn"])
    error = await refused(users.GetUser(ask), "PURPOSE_REFUSED")
    assert error.metadata["field"] == "ssn"
    ask.purpose = "curiosity"
    await refused(users.GetUser(ask), "PURPOSE_REFUSED")
    ask.purpose = "payroll"
    ask.unmask.append("address")
    error = await refused(users.GetUser(ask), "PURPOSE_REFUSED")
    assert error.metadata["field"] == "address"
    del ask.unmask[1]
    few = ["crypto.users.get", "crypto.users.unmask", "crypto.address.unmask"]
    error = await refused(world.users(permissions=few).GetUser(ask), "PERMISSION_MISSING")
    assert error.metadata["permission"] == "crypto.ssn.unmask"
    enough = [*few[:2], "crypto.ssn.unmask"]
    assert (await world.users(permissions=enough).GetUser(ask)).ssn == ANN["ssn"]
    deleted = config.DeletePurposeRequest(name=f"{world.parent}/purposes/payroll")
    await world.config().DeletePurpose(deleted)
    await refused(users.GetUser(ask), "PURPOSE_REFUSED")


async def test_each_read_and_each_refusal_is_in_the_audit_before_the_answer(world: World) -> None:
    made = await create(world, ssn=ANN["ssn"], email=ANN["email"])
    await add_purpose(world, "ssn")
    world.audit.told.clear()
    ask = pb.GetUserRequest(name=made.name, unmask=["ssn"], purpose="billing")
    await world.users().GetUser(ask)
    await refused(
        world.users().GetUser(pb.GetUserRequest(name=made.name, unmask=["ssn"], purpose="other")),
        "PURPOSE_REFUSED",
    )
    done, failed = world.audit.told
    assert (done.operation, done.fields, done.success) == (Operation.DECRYPT, (("ssn", 3),), True)
    assert (done.principal, done.purpose, done.tenant) == ("ann", "billing", world.tenant)
    assert done.request_id
    assert done.user_id.hex() == made.name.rpartition("/")[2].replace("-", "")
    assert (failed.success, failed.error_code) == (False, "PURPOSE_REFUSED")
    world.audit.broken = True
    await refused(world.users().GetUser(ask), "DEPENDENCY_UNAVAILABLE")


async def test_nothing_is_stored_that_the_audit_does_not_know(world: World) -> None:
    world.audit.broken = True
    await refused(create(world, **ANN), "DEPENDENCY_UNAVAILABLE")
    world.audit.broken = False
    listed = await world.users().ListUsers(pb.ListUsersRequest(parent=world.parent))
    assert not listed.users


async def test_a_kms_that_is_gone_leaves_what_is_clear_readable(world: World) -> None:
    made = await create(world, **ANN)
    await add_purpose(world, "ssn")
    world.kms.set_state("one", KmsKeyState.DISABLED)
    world.keys.tenants.forget(world.tenant)
    user = await world.users().GetUser(pb.GetUserRequest(name=made.name))
    assert user.email == ANN["email"]
    ask = pb.GetUserRequest(name=made.name, unmask=["ssn"], purpose="billing")
    await refused(world.users().GetUser(ask), "KEY_DISABLED")
    assert world.audit.told[-1].error_code == "KEY_DISABLED"
    await refused(create(world, ssn=ANN["ssn"]), "KEY_DISABLED")
    assert (await create(world, first_name="Bea")).first_name == "Bea"


async def test_persons_are_found_by_what_is_sealed(world: World) -> None:
    made = await create(world, **ANN)
    await create(world, ssn="219-09-9999", email="bea@example.com")
    users = world.users()

    async def names(field: str, value: str) -> list[str]:
        ask = pb.SearchUsersRequest(parent=world.parent, field=field, value=value)
        return [each.name for each in (await users.SearchUsers(ask)).users]

    assert await names("ssn", "078051120") == [made.name]
    assert await names("credit_card", "4111-1111-1111-1111") == [made.name]
    assert await names("bank_account", "de89370400440532013000") == [made.name]
    assert await names("email", ANN["email"]) == [made.name]
    assert await names("ssn", "078051121") == []
    for field in ("date_of_birth", "last_name"):
        ask = pb.SearchUsersRequest(parent=world.parent, field=field, value="1980-02-29")
        await refused(users.SearchUsers(ask), "FIELD_NOT_SEARCHABLE")
    ask = pb.SearchUsersRequest(parent=world.parent, field="ssn", value="1")
    await refused(users.SearchUsers(ask), "VALUE_INVALID")


async def test_those_who_share_an_index_by_chance_are_not_found(world: World) -> None:
    made = await create(world, **ANN)
    other = await create(world, ssn="219-09-9999")
    async with world.transactions.transaction(world.tenant) as connection:
        await connection.execute(
            sa.text(
                "UPDATE blind_indexes AS own SET index_value = other.index_value "
                "FROM blind_indexes AS other WHERE own.field_name = 'ssn' "
                "AND other.field_name = 'ssn' AND own.user_id = :own AND other.user_id = :other"
            ),
            {
                "own": other.name.rpartition("/")[2],
                "other": made.name.rpartition("/")[2],
            },
        )
    ask = pb.SearchUsersRequest(parent=world.parent, field="ssn", value=ANN["ssn"])
    found = await world.users().SearchUsers(ask)
    assert [each.name for each in found.users] == [made.name]


async def test_a_value_that_was_moved_to_another_person_does_not_open(world: World) -> None:
    victim, thief = await create(world, ssn=ANN["ssn"]), await create(world, ssn="219-09-9999")
    await add_purpose(world, "ssn")
    async with world.transactions.transaction(world.tenant) as connection:
        stolen = sa.select(USERS.c.ssn_encrypted).where(
            USERS.c.id == victim.name.rpartition("/")[2]
        )
        await connection.execute(
            sa.update(USERS)
            .where(USERS.c.id == thief.name.rpartition("/")[2])
            .values(ssn_encrypted=stolen.scalar_subquery())
        )
    ask = pb.GetUserRequest(name=thief.name, unmask=["ssn"], purpose="billing")
    await refused(world.users().GetUser(ask), "VALUE_UNOPENABLE")
    last = world.audit.told[-1]
    assert (last.success, last.error_code) == (False, "VALUE_UNOPENABLE")


async def test_a_raised_tier_holds_for_what_is_written_from_then_on(world: World) -> None:
    before = await create(world, email=ANN["email"], address=ANN["address"])
    for field in ("email", "address"):
        await world.config().RaiseTier(
            config.RaiseTierRequest(
                name=f"{world.parent}/user_fields/{field}", tier=field_pb2.TIER_DOUBLE
            )
        )
    after = await create(world, email="bea@example.com", address="2 Main Street")
    assert (before.email, after.email) == (ANN["email"], MASK)
    await add_purpose(world, "email", "address")
    users = world.users()
    for user, email, address in (
        (before, ANN["email"], ANN["address"]),
        (after, "bea@example.com", "2 Main Street"),
    ):
        ask = pb.GetUserRequest(name=user.name, unmask=["email", "address"], purpose="billing")
        read = await users.GetUser(ask)
        assert (read.email, read.address) == (email, address)
        found = await users.SearchUsers(
            pb.SearchUsersRequest(parent=world.parent, field="email", value=email)
        )
        assert [each.name for each in found.users] == [user.name]
    changed = await users.UpdateUser(
        pb.UpdateUserRequest(user=User(name=before.name, email="new@example.com"))
    )
    assert changed.email == MASK


async def test_a_field_of_the_tenants_own_is_kept_as_its_tier_says(world: World) -> None:
    for name, tier in (("medical_record", field_pb2.TIER_DOUBLE), ("team", field_pb2.TIER_CLEAR)):
        await world.config().CreateUserField(
            config.CreateUserFieldRequest(
                parent=world.parent,
                user_field=config.UserField(tier=tier),
                user_field_id=name,
            )
        )
    own = User(first_name="Ann", fields={"medical_record": "O negative", "team": "blue"})
    users = world.users()
    made = await users.CreateUser(pb.CreateUserRequest(parent=world.parent, user=own))
    assert dict(made.fields) == {"medical_record": MASK, "team": "blue"}
    await add_purpose(world, "medical_record")
    ask = pb.GetUserRequest(name=made.name, unmask=["medical_record"], purpose="billing")
    assert (await users.GetUser(ask)).fields["medical_record"] == "O negative"
    changed = await users.UpdateUser(
        pb.UpdateUserRequest(
            user=User(name=made.name, fields={"team": "red"}),
            update_mask=FieldMask(paths=["fields.team", "fields.medical_record"]),
        )
    )
    assert dict(changed.fields) == {"team": "red"}
    unknown = User(fields={"shoe_size": "44"})
    call = users.CreateUser(pb.CreateUserRequest(parent=world.parent, user=unknown))
    await refused(call, "FIELD_INVALID")
