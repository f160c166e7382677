"""`secmesh crypto erase` and `export` against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mesh.embedded.postgres import Access
from secmesh.crypto.v1 import config_service_pb2 as config
from tests.databases import crypto_database
from tests.service.crypto_command import Command
from tests.service.crypto_world import World, crypto_world

SSN = "078-05-1120"


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


@pytest.fixture
def secmesh(world: World) -> Command:
    return Command(world.address, world.home, world.tenant)


async def _put(secmesh: Command) -> str:
    words = ("--field", "email=ann@example.com", "--field", "ssn=-")
    name: str = (await secmesh.json("crypto", "put", *words, typed=SSN))["name"]
    return name


async def test_a_person_is_erased_by_its_id_said_twice(
    world: World, secmesh: Command, tmp_path: Path
) -> None:
    name = await _put(secmesh)
    user = name.rpartition("/")[2]
    for again, code in (("", 2), ("01999999-0000-7000-8000-000000000001", 1)):
        done = await secmesh.run(
            "crypto", "erase", user, *(["--user-again", again] if again else [])
        )
        assert done.exit_code == code, done.output
    assert await secmesh.json("crypto", "get", user)
    file = tmp_path / "certificate"
    words = ("--user-again", user, "--certificate", str(file))
    file.touch()
    assert (await secmesh.run("crypto", "erase", user, *words)).exit_code == 2
    assert await secmesh.json("crypto", "get", user)
    file.unlink()
    erased = await secmesh.json("crypto", "erase", user, *words)
    assert erased["state"] == "ERASURE_STATE_CERTIFIED"
    assert {"field": "ssn", "tier": 3} in erased["fields"]
    assert file.read_text() == erased["certificate"]
    assert file.stat().st_mode & 0o777 == 0o600
    key = world.registry.signer.public.encoded()
    proof = ("crypto", "verify-certificate", str(file), "--key", key, "--user", name)
    (held,) = await secmesh.json(*proof)
    assert held["verified"] == "signature person"
    gone = await secmesh.run("crypto", "get", user)
    assert gone.exit_code == 1
    assert "RESOURCE_NOT_FOUND" in gone.stderr


async def test_all_that_is_known_of_a_person_is_written_for_its_reader_alone(
    world: World, secmesh: Command, tmp_path: Path
) -> None:
    name = await _put(secmesh)
    purpose = config.Purpose(fields=["ssn"])
    await world.config().CreatePurpose(
        config.CreatePurposeRequest(parent=world.parent, purpose=purpose, purpose_id="dsar")
    )
    file = tmp_path / "person.jsonl"
    words = ("crypto", "export", name, "--purpose", "dsar", "--out", str(file))
    done = await secmesh.run(*words)
    assert done.exit_code == 0, done.output
    assert SSN not in done.output
    lines = file.read_text().splitlines()
    assert any(SSN in line for line in lines)
    assert all(json.loads(line) for line in lines)
    assert file.stat().st_mode & 0o777 == 0o600
    kept = await secmesh.run(*words)
    assert kept.exit_code == 2
    assert "is there already" in kept.output
    assert file.read_text().splitlines() == lines
    unwritten = tmp_path / "unwritten"
    asked = (*words[:-3], "curiosity", "--out", str(unwritten))
    assert (await secmesh.run(*asked)).exit_code == 1
    assert not await asyncio.to_thread(unwritten.exists)
