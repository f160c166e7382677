"""The drill: stored, backed up, erased; the backup is restored, and brings nobody back."""

import argparse
import dataclasses
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import NEWEST, SUPERUSER, Access, programs
from mesh.identifiers import new_uuid
from mesh.identity.keys import create_signing_key
from mesh.server.deployable import CommandFailed
from mesh.sql.engine import open_engine
from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import erasure_pb2 as pb
from secmesh.crypto.v1 import field_crypto_service_pb2 as crypto
from secmesh.crypto.v1 import user_service_pb2 as users
from services.crypto.__main__ import build_server
from services.crypto.audit.anchors import FileAnchors, erasure_name
from services.crypto.audit.entry import Operation
from services.crypto.audit_upkeep import open_audit_keys
from services.crypto.erasure.certificate import Certificate
from services.crypto.erasure.erasing import Registry
from services.crypto.erasure.erasure import Erasure
from services.crypto.erasure.person_digest import person_digest
from services.crypto.erasure.replay import CertificateBroken, Replay
from services.crypto.erasure_command import REPLAY, require_replayed
from services.crypto.erasure_parts import open_place, registry_of
from services.crypto.persons.person_store import PersonStore
from services.crypto.settings import CryptoSettings
from services.crypto.tables import ERASURES, USER_KEYS
from tests.databases import crypto_database, server
from tests.service.crypto_world import World, crypto_world
from tests.service.erasure_story import erase, everything, id_of, reason_of, rows_of
from tests.service.person_story import add_purpose, create, refused


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


def run(program: str, *arguments: str) -> None:
    subprocess.run([programs(NEWEST) / program, *arguments], check=True)


def back_up(access: Access, file: Path) -> Path:
    """Write a whole database, as any program for backups would."""
    name = sa.make_url(access.owner).database or ""
    run("pg_dump", "--format=custom", f"--file={file}", server(NEWEST).url(name, SUPERUSER))
    return file


@contextmanager
def restored(backup: Path) -> Iterator[Access]:
    """Give another database, as the backup knows it."""
    host, name = server(NEWEST), f"test_{uuid4().hex}"
    access = host.create_isolated_database(name)
    run("pg_restore", "--exit-on-error", f"--dbname={host.url(name, SUPERUSER)}", str(backup))
    yield access
    host.drop_database(name)


@dataclasses.dataclass
class Restored:
    """A database that was restored, before it is served."""

    transactions: Transactions
    replay: Replay

    @classmethod
    def of(cls, world: World, access: Access, registry: Registry | None = None) -> "Restored":
        transactions = Transactions(open_engine(access.application), None, isolated=True)
        registry = registry or world.registry
        replay = Replay(transactions, PersonStore(), world.audit, registry)
        return cls(transactions, replay)


async def test_a_backup_that_is_restored_brings_nobody_back(world: World, tmp_path: Path) -> None:
    made, other = await create(world), await create(world)
    await add_purpose(world, "ssn")
    field = crypto.PlainField(user_id=id_of(made.name), field="ssn", plaintext=b"078-05-1120")
    sealing = crypto.EncryptRequest(parent=world.parent, table="letters", fields=[field])
    (kept,) = (await world.fields().Encrypt(sealing)).results
    backup = back_up(world.access, tmp_path / "backup")
    done = await erase(world, made.name)
    with restored(backup) as access:
        # The backup alone would have brought the person back, key and all.
        assert made.email in everything(access)
        before = Restored.of(world, access)
        with pytest.raises(CommandFailed, match="does not know 1 erasures"):
            await require_replayed(before.transactions, world.registry)
        assert await before.replay.run() == (1, 1)
        await require_replayed(before.transactions, world.registry)
        assert await before.replay.run() == (0, 0)
        await before.transactions.engine.dispose()
        left = everything(access, "user_keys")
        assert id_of(made.name) not in left
        async with crypto_world(access, world.home, kms=world.kms) as again:
            again.tenant = world.tenant
            await _hold_nobody(again, made.name, kept.blob)
            found = await again.users().GetUser(users.GetUserRequest(name=other.name))
            assert found.email == other.email
            asked = pb.GetErasureRequest(name=done.name)
            known = await again.users().GetErasure(asked)
            assert known.HasField("replay_time")
            assert known.certificate == done.certificate
            assert known.erase_time == done.erase_time
    told = [each for each in world.audit.told if each.operation is Operation.ERASE]
    assert [each.principal for each in told] == ["ann", "system"]


async def _hold_nobody(world: World, name: str, blob: bytes) -> None:
    """Hold that a person is gone, and what was sealed for that person with it."""
    await refused(world.users().GetUser(users.GetUserRequest(name=name)), "RESOURCE_NOT_FOUND")
    await refused(create(world, id_of(name)), "USER_ERASED")
    sealed = crypto.SealedField(user_id=id_of(name), field="ssn", blob=blob)
    asked = crypto.DecryptRequest(
        parent=world.parent, table="letters", purpose="billing", fields=[sealed]
    )
    (opened,) = (await world.fields().Decrypt(asked)).results
    assert (opened.plaintext, reason_of(opened.error)) == (b"", "VALUE_UNOPENABLE")
    rows = [row for row in await rows_of(world, USER_KEYS) if str(row.user_id) == id_of(name)]
    assert [(row.state, row.wrapped) for row in rows] == [("destroyed", None)]


async def test_erasures_of_persons_that_the_backup_never_knew_are_known_afterwards(
    world: World, access: Access
) -> None:
    made = await create(world)
    done = await erase(world, made.name)
    with crypto_database() as empty:
        before = Restored.of(world, empty)
        assert await before.replay.run() == (1, 0)
        await require_replayed(before.transactions, world.registry)
        async with before.transactions.connection(world.tenant) as connection:
            (row,) = await connection.execute(sa.select(ERASURES))
        assert (row.state, row.certificate) == ("certified", done.certificate)
        await before.transactions.engine.dispose()


async def test_a_second_place_that_cannot_be_believed_serves_nobody(
    world: World, tmp_path: Path
) -> None:
    made = await create(world)
    done = await erase(world, made.name)
    place = FileAnchors(tmp_path / "other")
    registry = dataclasses.replace(world.registry, place=place)
    transactions = world.transactions
    await place.put(erasure_name(world.tenant, id_of(done.name)), done.certificate)
    await require_replayed(transactions, registry)
    # The certificate of one erasure by the name of another, that nobody knows.
    await place.put(erasure_name(world.tenant, str(uuid4())), done.certificate)
    with pytest.raises(CommandFailed, match="is the certificate of tenants/"):
        await require_replayed(transactions, registry)
    replay = Replay(transactions, PersonStore(), world.audit, registry)
    with pytest.raises(CertificateBroken):
        await replay.run()
    (tmp_path / "file").write_text("")
    away = dataclasses.replace(world.registry, place=FileAnchors(tmp_path / "file"))
    with pytest.raises(CommandFailed, match="folder of anchors"):
        await require_replayed(transactions, away)


async def test_the_service_does_not_start_before_erasures_are_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_signing_key(tmp_path / "keys")
    with crypto_database() as access:
        settings = CryptoSettings(SECMESH_HOME=tmp_path, DATABASE_URL=access.application)
        place = open_place(settings)
        registry = registry_of(settings, open_audit_keys(settings))
        user_id, erasure_id = new_uuid(), new_uuid()
        now, person = datetime.now(UTC), person_digest("acme", user_id)
        done = Erasure(
            "acme",
            erasure_id,
            person,
            (bytes(32),),
            "ann",
            ordered_at=now,
            erased_at=now,
            caches_until=now,
            backups_until=now,
        )
        note = registry.signer.sign(Certificate.of(done, registry.origin, "-").text())
        await place.put(erasure_name("acme", erasure_id), note)
        with pytest.raises(CommandFailed, match="run `replay-erasures`"):
            await build_server(settings)
        await REPLAY.run(settings, argparse.Namespace())
        assert capsys.readouterr().out == "1 erasures done again, 0 persons were back\n"
        server = await build_server(settings)
        await server.stop(0)
