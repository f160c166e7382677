"""Keys of a store turned: what older keys sealed is sealed anew, what they hashed is known."""

import json
from argparse import ArgumentParser
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message

from mesh.embedded.postgres import Access
from mesh.errors import RequestIdReused
from mesh.identifiers import new_uuid
from mesh.records.moments import now
from mesh.sealing.keyring import KeyRing
from mesh.server.call import RequestKey
from mesh.server.deployable import CommandFailed
from mesh.sql import resealing
from mesh.sql.answers import Answers
from mesh.sql.changes import ChangeFeed
from mesh.sql.resealing import Resealing, Step
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from mesh.sql.tenancy import acting_for
from secmesh.security.v1 import mfa_device_pb2 as mfa
from secmesh.security.v1.incident_service_pb2 import ArmPlaybookRequest
from services.security import reseal_command
from services.security.mfa.backup_codes import normal_form
from services.security.mfa.records import CODES, MfaRecords
from services.security.reseal_command import RESEAL
from services.security.settings import SecuritySettings
from tests.databases import security_database
from tests.service.own_tenant import OwnTenant, whole_store
from tests.service.security_world import CATALOGUE

OLD = KeyRing({"old": b"1" * 32}, b"p" * 32)
TURNED = KeyRing({"new": b"2" * 32, "old": b"1" * 32}, {"pepper-2": b"q" * 32, "pepper": b"p" * 32})
NEW = KeyRing({"new": b"2" * 32}, {"pepper-2": b"q" * 32})
INTEGRATIONS = "external_integrations"


@cache
def tables(ring: str) -> Tables:
    keys = {"old": OLD, "turned": TURNED, "new": NEW}[ring]
    return Tables(CATALOGUE, isolated=True, keys=keys)


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with security_database() as made:
        yield made


@pytest.fixture
async def old(access: Access) -> AsyncIterator[OwnTenant]:
    """A tenant whose secrets the old key sealed, in a database without others."""
    async with whole_store(access, tables("old")) as store:
        yield OwnTenant(store)
        async with store.upkeep() as connection:
            for collection in (INTEGRATIONS, CODES):
                await connection.execute(sa.delete(store.target(collection).table))


def turned(access: Access, ring: str = "turned") -> AbstractAsyncContextManager[Store]:
    return whole_store(access, tables(ring))


async def integration(tenant: OwnTenant, secret: str) -> str:
    return await tenant.create(
        INTEGRATIONS,
        name=secret,
        provider="x",
        integration_type="INTEGRATION_TYPE_CHAT",
        direction="SYNC_DIRECTION_OUTBOUND",
        auth_type="INTEGRATION_AUTH_TYPE_BEARER",
        webhook_secret=secret,
        status="INTEGRATION_STATUS_ACTIVE",
        is_enabled=True,
    )


async def secret_of(store: Store, tenant: str, name: str) -> str:
    with acting_for(tenant):
        found: Any = await store.get(INTEGRATIONS, name, secrets=True)
    return str(found.external_integration.webhook_secret)


async def stored(store: Store) -> list[Any]:
    async with store.whole() as connection:
        columns = "id, webhook_secret, credentials, etag, update_time"
        rows = await connection.execute(
            sa.text(f"SELECT {columns} FROM {INTEGRATIONS} ORDER BY id")  # noqa: S608  # of tests
        )
        return list(rows)


async def steps(resealing_: Resealing) -> list[Step]:
    return [step async for step in resealing_.run()]


async def test_what_the_old_key_sealed_is_sealed_by_the_new_one_and_nothing_else_changes(
    access: Access, old: OwnTenant
) -> None:
    other = OwnTenant(old.store)
    names = {await integration(each, f"s{n}"): each for n in range(3) for each in (old, other)}
    before, feed = await stored(old.store), ChangeFeed(old.store)
    place = await feed.present(old.tenant)
    async with turned(access) as store:
        work = Resealing(store, TURNED)
        assert (await work.waiting())[INTEGRATIONS] == len(names)
        assert await steps(work) == [Step(INTEGRATIONS, len(names), 0)]
        assert set((await work.waiting()).values()) == {0}
        assert await steps(work) == []
        after = await stored(store)
        assert (await feed.page(old.tenant, place)).changes == []
    assert [row[2:] for row in after] == [row[2:] for row in before]
    assert not {row[1] for row in after} & {row[1] for row in before}
    async with turned(access, "new") as store:
        for name, tenant in names.items():
            [secret] = {(await tenant.found(INTEGRATIONS))[name].name}
            assert await secret_of(store, tenant.tenant, name) == secret


async def test_a_run_that_is_broken_off_goes_on_where_it_was(
    access: Access, old: OwnTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "BATCH", 2)
    for number in range(5):
        await integration(old, f"s{number}")
    async with turned(access) as store:
        async for step in Resealing(store, TURNED).run():
            assert step == Step(INTEGRATIONS, 2, 0)
            break
    async with turned(access) as store:
        work = Resealing(store, TURNED)
        assert (await work.waiting())[INTEGRATIONS] == 3
        assert [step.sealed for step in await steps(work)] == [2, 1]


async def test_what_is_written_meanwhile_stays_and_what_nothing_opens_is_told(
    access: Access, old: OwnTenant
) -> None:
    written, lost, kept = [await integration(old, word) for word in ("a", "b", "c")]
    async with turned(access) as store:
        work, target = Resealing(store, TURNED), store.target(INTEGRATIONS)
        rows = await work._next(target, ())
        writer = OwnTenant(store)
        writer.tenant = old.tenant
        await writer.set(written, webhook_secret="newer")
        assert await work._seal(target, old.tenant, rows) == (2, 0)
        assert await secret_of(store, old.tenant, written) == "newer"
        async with store.upkeep() as connection:
            broken = sa.update(target.table).where(target.table.c.id == lost.rpartition("/")[2])
            await connection.execute(broken.values(webhook_secret="sealed:AQNvbGQ"))
        assert await steps(work) == [Step(INTEGRATIONS, 0, 1)]
        assert (await work.waiting())[INTEGRATIONS] == 1
        assert await secret_of(store, old.tenant, kept) == "c"


async def test_a_backup_code_of_an_old_pepper_is_taken_and_moves_to_the_new_one(
    access: Access, old: OwnTenant
) -> None:
    user, code = await old.admin(), normal_form("R3JQ-AAAA-BBBB-CCCC")
    body: dict[str, Any] = {"user_id": user, "batch_id": "b", "code_hash": code}
    with acting_for(old.tenant):
        async with old.store.transaction() as connection:
            records = MfaRecords(old.store, CATALOGUE, now)
            made = await _code(records, connection, old.tenant, body)
    async with turned(access) as store:
        work, records = Resealing(store, TURNED), MfaRecords(store, CATALOGUE, now)
        assert (await work.hashed())[CODES] == 1
        with acting_for(old.tenant):
            async with store.transaction() as connection:
                assert await records.code(connection, user, normal_form("R3JQ")) is None
                found = await records.code(connection, user, code)
                assert found is not None
                assert found.name == made
                await records.save(connection, found)
        assert (await work.hashed())[CODES] == 0
    async with turned(access, "new") as store:
        records = MfaRecords(store, CATALOGUE, now)
        with acting_for(old.tenant):
            async with store.transaction() as connection:
                assert await records.code(connection, user, code) is not None


async def _code(records: MfaRecords, connection: Any, tenant: str, body: dict[str, Any]) -> str:
    code = mfa.MfaBackupCode(status=mfa.BACKUP_CODE_STATUS_UNUSED, **body)
    return str((await records.add(connection, tenant, CODES, code)).name)


async def test_a_request_that_is_sent_again_after_the_pepper_changed_is_known(
    access: Access, old: OwnTenant
) -> None:
    key = RequestKey(old.tenant, "ann", "/x", new_uuid())
    request, answer = ArmPlaybookRequest(name="a"), ArmPlaybookRequest(name="answered")
    runs = []

    async def run() -> Message:
        runs.append(key)
        return answer

    with acting_for(old.tenant):
        await Answers(old.store).once(key, request, run)
        async with turned(access) as store:
            again = await Answers(store).once(key, request, run)
            with pytest.raises(RequestIdReused):
                await Answers(store).once(key, ArmPlaybookRequest(name="b"), run)
    assert (again, len(runs)) == (answer.SerializeToString(), 1)


async def test_the_command_seals_and_tells_what_is_left(
    access: Access,
    old: OwnTenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, lost = await integration(old, "good"), await integration(old, "lost")
    async with old.store.upkeep() as connection:
        table = old.store.target(INTEGRATIONS).table
        broken = sa.update(table).where(table.c.id == lost.rpartition("/")[2])
        await connection.execute(broken.values(webhook_secret="sealed:AQNvbGQ"))
    file = tmp_path / "keys"
    lines = [*TURNED.sealing.items(), *TURNED.peppers.items()]
    file.write_text("".join(f"{name} {b64encode(key).decode()}\n" for name, key in lines))
    file.chmod(0o600)
    monkeypatch.setenv("SECMESH_SECURITY_SEALING_KEYS", str(file))
    parser = ArgumentParser()
    RESEAL.add_arguments(parser)
    async with turned(access) as store:

        async def opened(*_: object, **__: object) -> Store:
            return store

        # What is derived from the contract takes seconds.
        monkeypatch.setattr(reseal_command, "open_store", opened)
        await RESEAL.run(SecuritySettings(), parser.parse_args(["--check"]))
        told = json.loads(capsys.readouterr().out)
        assert told == {"sealed_by_older_keys": {INTEGRATIONS: 2}, "hashed_by_older_keys": {}}
        with pytest.raises(CommandFailed, match="1 records have values that no key"):
            await RESEAL.run(SecuritySettings(), parser.parse_args([]))
        assert json.loads(capsys.readouterr().out)["sealed_by_older_keys"] == {INTEGRATIONS: 1}
        assert await secret_of(store, old.tenant, good) == "good"
