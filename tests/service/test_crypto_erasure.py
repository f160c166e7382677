"""Erasures through a real server: what is left of a person, what is said of it, who comes back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.sql.engine import open_engine
from secmesh.crypto.v1 import erasure_pb2 as pb
from secmesh.crypto.v1 import field_crypto_service_pb2 as crypto
from secmesh.crypto.v1 import user_import_pb2 as imports
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import CallRefused
from services.crypto.audit.anchors import erasure_name
from services.crypto.audit.change_log_store import folded_changes
from services.crypto.audit.entry import Operation
from services.crypto.erasure.certificate import Certificate
from services.crypto.erasure.person_digest import person_digest
from services.crypto.persons.importing import Import
from services.crypto.tables import ERASURES, USER_KEYS, USERS_CHANGE_LOG
from tests.databases import crypto_database
from tests.service.crypto_world import World, crypto_world
from tests.service.erasure_story import TIERS, erase, everything, id_of, reason_of, rows_of
from tests.service.person_story import ANN, add_purpose, create, refused


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


async def test_nothing_is_left_of_a_person_but_destroyed_keys(world: World) -> None:
    # Others keep the same person here: this one alone is called so.
    mine = {**ANN, "email": "gone@example.com", "phone": "+49 89 1234567"}
    made = await create(world, **mine)
    wrapped = await _wrapped(world, made.name)
    assert id_of(made.name) in everything(world.access)
    done = await erase(world, made.name, etag=made.etag)
    left = everything(world.access, "user_keys")
    assert id_of(made.name) not in left
    for value in (mine["email"], mine["phone"], wrapped.hex()):
        assert value not in left
    rows = await rows_of(world, USER_KEYS)
    assert [(row.version, row.state, row.wrapped) for row in rows] == [(1, "destroyed", None)]
    assert done.state == pb.ERASURE_STATE_CERTIFIED
    assert {each.field: each.tier for each in done.fields} == TIERS
    # Three are found by blind indexes; the row was inserted and deleted.
    assert (list(done.key_versions), done.index_count, done.change_count) == ([1], 3, 2)
    assert done.person_digest == person_digest(world.tenant, id_of(made.name)).hex()
    assert done.ordered_by == "ann"


async def test_what_was_sealed_for_a_person_opens_nowhere_any_more(world: World) -> None:
    made = await create(world)
    await add_purpose(world, "address")
    field = crypto.PlainField(user_id=id_of(made.name), field="address", plaintext=b"1 Main Street")
    asked = crypto.EncryptRequest(parent=world.parent, table="letters", fields=[field])
    (kept,) = (await world.fields().Encrypt(asked)).results
    sealed = crypto.SealedField(user_id=id_of(made.name), field="address", blob=kept.blob)
    opening = crypto.DecryptRequest(
        parent=world.parent, table="letters", purpose="billing", fields=[sealed]
    )
    (opened,) = (await world.fields().Decrypt(opening)).results
    assert opened.plaintext == b"1 Main Street"
    await erase(world, made.name)
    (opened,) = (await world.fields().Decrypt(opening)).results
    assert (opened.plaintext, reason_of(opened.error)) == (b"", "VALUE_UNOPENABLE")
    (again,) = (await world.fields().Encrypt(asked)).results
    assert reason_of(again.error) == "KEY_DISABLED"


async def test_who_was_erased_is_nobody(world: World) -> None:
    made, other = await create(world), await create(world)
    await erase(world, made.name)
    named, unknown = users.GetUserRequest(name=made.name), f"{world.parent}/users/{new_uuid()}"
    gone = await refused(world.users().GetUser(named), "RESOURCE_NOT_FOUND")
    absent = users.GetUserRequest(name=unknown)
    never = await refused(world.users().GetUser(absent), "RESOURCE_NOT_FOUND")
    assert gone.message.replace(made.name, "") == never.message.replace(unknown, "")
    changed = users.UpdateUserRequest(user=User(name=made.name, phone="+14155550101"))
    await refused(world.users().UpdateUser(changed), "RESOURCE_NOT_FOUND")
    await refused(erase(world, made.name), "RESOURCE_NOT_FOUND")
    searched = users.SearchUsersRequest(parent=world.parent, field="ssn", value=ANN["ssn"])
    found = (await world.users().SearchUsers(searched)).users
    assert [each.name for each in found] == [other.name]
    listed = await world.users().ListUsers(users.ListUsersRequest(parent=world.parent))
    assert [each.name for each in listed.users] == [other.name]


async def test_an_id_is_never_used_again(world: World) -> None:
    made, clear = await create(world), await create(world, email="bob@example.com")
    for name in (made.name, clear.name):
        await erase(world, name)
        for values in (ANN, {"email": "new@example.com"}):
            refusal = await refused(create(world, id_of(name), **values), "USER_ERASED")
            assert refusal.metadata["resource"] == name
        # Nobody's key is made by the attempt, nor by sealing what the caller keeps.
        field = crypto.PlainField(user_id=id_of(name), field="ssn", plaintext=b"078-05-1120")
        asked = crypto.EncryptRequest(parent=world.parent, table="letters", fields=[field])
        (result,) = (await world.fields().Encrypt(asked)).results
        assert reason_of(result.error) == "KEY_DISABLED"
    assert {row.state for row in await rows_of(world, USER_KEYS)} == {"destroyed"}
    # The person may come again, as somebody else.
    assert (await create(world)).name != made.name


async def test_an_import_that_is_sent_again_brings_nobody_back(world: World) -> None:
    import_id = new_uuid()
    imported = Import(world.tenant, import_id)

    async def send(*sequences: int) -> imports.ImportUsersResponse:
        people = [imports.ImportedUser(sequence=n, user=User(ssn=ANN["ssn"])) for n in sequences]
        parts = [imports.ImportUsersRequest(parent=world.parent, import_id=import_id, users=people)]
        done: imports.ImportUsersResponse = await world.users().ImportUsers(iter(parts))
        return done

    await send(1)
    name = f"{world.parent}/users/{imported.user_id(1)}"
    await erase(world, name)
    assert not (await send(1)).problems
    async with world.transactions.transaction(world.tenant) as connection:
        # As in a database where the import's own row is older than the person.
        await connection.execute(sa.text("UPDATE user_imports SET resume_after = 0"))
    (problem,) = (await send(1, 2)).problems
    assert (problem.sequence, reason_of(problem.error)) == (1, "USER_ERASED")
    listed = await world.users().ListUsers(users.ListUsersRequest(parent=world.parent))
    assert [id_of(each.name) for each in listed.users] == [imported.user_id(2)]


async def test_an_erasure_is_confirmed_and_by_who_may(world: World) -> None:
    made = await create(world)
    ask = pb.EraseUserRequest(name=made.name)
    await refused(world.users().EraseUser(ask), "FIELD_INVALID")
    await refused(erase(world, made.name, confirm_user_id=new_uuid()), "FIELD_INVALID")
    await refused(erase(world, made.name, etag="another"), "ETAG_MISMATCH")
    ask.confirm_user_id = id_of(made.name)
    weak = world.users(permissions=["crypto.users.delete", "crypto.users.unmask"])
    await refused(weak.EraseUser(ask), "PERMISSION_MISSING")
    assert (await world.users().GetUser(users.GetUserRequest(name=made.name))).email
    told = [each for each in world.audit.told if each.operation is Operation.ERASE]
    assert {(each.success, each.error_code) for each in told} == {(False, "ETAG_MISMATCH")}
    assert await rows_of(world, ERASURES) == []


async def test_persons_and_erasures_of_other_tenants_do_not_exist(world: World) -> None:
    made = await create(world)
    done = await erase(world, (await create(world)).name)
    stranger = world.users(tenant="strangers")
    ask = pb.EraseUserRequest(name=made.name, confirm_user_id=id_of(made.name))
    await refused(stranger.EraseUser(ask), "RESOURCE_NOT_FOUND")
    await refused(stranger.GetErasure(pb.GetErasureRequest(name=done.name)), "RESOURCE_NOT_FOUND")
    parent = pb.ListErasuresRequest(parent=world.parent)
    await refused(stranger.ListErasures(parent), "RESOURCE_NOT_FOUND")
    absent = pb.GetErasureRequest(name=f"{world.parent}/erasures/{new_uuid()}")
    await refused(world.users().GetErasure(absent), "RESOURCE_NOT_FOUND")
    nobody = f"{world.parent}/users/{new_uuid()}"
    await refused(erase(world, nobody), "RESOURCE_NOT_FOUND")
    assert (await world.users().GetUser(users.GetUserRequest(name=made.name))).email


async def test_a_repeated_call_is_given_the_same_erasure(world: World) -> None:
    made, other = await create(world), await create(world)
    erasure_id = new_uuid()
    again = {"confirm_user_id": id_of(made.name), "erasure_id": erasure_id}
    done = await erase(world, made.name, **again)
    assert done.name == f"{world.parent}/erasures/{erasure_id}"
    assert await erase(world, made.name, **again) == done
    taken = {"confirm_user_id": id_of(other.name), "erasure_id": erasure_id}
    await refused(erase(world, other.name, **taken), "RESOURCE_EXISTS")
    assert (await world.users().GetUser(users.GetUserRequest(name=other.name))).email
    told = [each for each in world.audit.told if each.operation is Operation.ERASE]
    assert [(each.success, each.details) for each in told] == [
        (True, f"erasure {erasure_id}"),
        (False, ""),
    ]
    assert dict(told[0].fields) == TIERS


async def test_calls_at_once_make_one_erasure(world: World) -> None:
    made = await create(world)
    calls = [erase(world, made.name) for _ in range(4)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    done = [each for each in answers if isinstance(each, pb.Erasure)]
    refusals = [each for each in answers if isinstance(each, CallRefused)]
    assert len(done) + len(refusals) == len(answers)
    assert {each.reason for each in refusals} <= {"RESOURCE_NOT_FOUND"}
    assert len({each.name for each in done}) == 1
    assert len(await rows_of(world, ERASURES)) == 1


async def test_who_has_keys_alone_is_erased_too(world: World) -> None:
    user_id = new_uuid()
    field = crypto.PlainField(user_id=user_id, field="ssn", plaintext=b"078-05-1120")
    asked = crypto.EncryptRequest(parent=world.parent, table="letters", fields=[field])
    (kept,) = (await world.fields().Encrypt(asked)).results
    assert kept.blob
    done = await erase(world, f"{world.parent}/users/{user_id}")
    assert (list(done.key_versions), list(done.fields)) == ([1], [])
    assert {row.state for row in await rows_of(world, USER_KEYS)} == {"destroyed"}


async def test_erasures_are_listed_and_found_by_the_person(world: World) -> None:
    people = [await create(world, email=f"p{n}@example.com") for n in range(3)]
    done = [await erase(world, each.name) for each in people]
    page = pb.ListErasuresRequest(parent=world.parent, page_size=2)
    first = await world.users().ListErasures(page)
    page.page_token = first.next_page_token
    second = await world.users().ListErasures(page)
    assert [*first.erasures, *second.erasures] == done[::-1]
    assert not second.next_page_token
    of_one = pb.ListErasuresRequest(parent=world.parent, user_id=id_of(people[1].name))
    assert list((await world.users().ListErasures(of_one)).erasures) == [done[1]]
    of_one.user_id = new_uuid()
    assert not (await world.users().ListErasures(of_one)).erasures
    assert await world.users().GetErasure(pb.GetErasureRequest(name=done[0].name)) == done[0]


async def test_the_certificate_says_what_was_done_and_until_when(world: World) -> None:
    made = await create(world)
    done = await erase(world, made.name)
    kept = Certificate.opened(done.certificate, [world.registry.signer.public])
    assert kept.name == done.name
    assert kept.person == person_digest(world.tenant, id_of(made.name))
    assert kept.subjects == (bytes.fromhex(done.subject),)
    assert dict(kept.destroyed.fields) == TIERS
    assert (kept.destroyed.key_versions, kept.destroyed.index_count) == ((1,), 3)
    moments = (done.order_time, done.erase_time, done.cache_expire_time, done.backup_expire_time)
    assert (kept.ordered_at, kept.erased_at, kept.caches_until, kept.backups_until) == tuple(
        each.ToMicroseconds() for each in moments
    )
    assert kept.caches_until - kept.erased_at == 90_000_000
    assert kept.backups_until - kept.erased_at == 7 * 86_400_000_000
    assert id_of(made.name) not in done.certificate
    name = erasure_name(world.tenant, id_of(done.name))
    assert await world.registry.place.note(name) == done.certificate


async def test_the_log_of_changes_keeps_a_pseudonym(world: World) -> None:
    made = await create(world)
    done = await erase(world, made.name)
    rows = await rows_of(world, USERS_CHANGE_LOG)
    assert [(row.operation, row.user_id, row.subject.hex()) for row in rows] == [
        ("INSERT", None, done.subject),
        ("DELETE", None, done.subject),
    ]
    owner = open_engine(world.access.owner)
    async with owner.connect() as connection:
        entries = await folded_changes(connection, world.registry.subjects, 1)
    await owner.dispose()
    mine = [entry for entry in entries if entry.tenant_id == world.tenant]
    assert {entry.subject.hex() for entry in mine} == {done.subject}
    assert [entry.details.split()[0] for entry in mine] == ["insert", "delete"]


async def test_another_process_forgets_keys_when_it_hears_of_an_erasure(
    world: World, access: Access, tmp_path: Path
) -> None:
    made = await create(world)
    user_id = id_of(made.name)
    async with crypto_world(access, tmp_path, kms=world.kms) as other:
        other.tenant = world.tenant
        assert user_id in await other.keys.users.current(world.tenant, [user_id])
        await erase(world, made.name)
        async with asyncio.timeout(60):
            while user_id in await other.keys.users.current(world.tenant, [user_id]):
                await asyncio.sleep(0.01)


async def test_a_process_that_does_not_hear_writes_nobody_back(
    world: World, access: Access, tmp_path: Path
) -> None:
    made = await create(world)
    user_id = id_of(made.name)
    async with crypto_world(access, tmp_path, kms=world.kms) as other:
        other.tenant = world.tenant
        await other.news.close()
        assert user_id in await other.keys.users.current(world.tenant, [user_id])
        await erase(world, made.name)
        # Within the bound it remembers the key.
        assert user_id in await other.keys.users.current(world.tenant, [user_id])
        await refused(create(other, user_id), "USER_ERASED")


async def _wrapped(world: World, name: str) -> bytes:
    (row,) = [row for row in await rows_of(world, USER_KEYS) if str(row.user_id) == id_of(name)]
    return bytes(row.wrapped)
