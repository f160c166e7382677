"""`secmesh crypto put|get|ls|find` against a real server."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from tests.databases import crypto_database
from tests.service.crypto_command import Command
from tests.service.crypto_world import World, crypto_world

SSN = "078-05-1120"
MASK = "•••"


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


async def test_a_person_is_put_shown_masked_and_unmasked_for_a_purpose(secmesh: Command) -> None:
    await secmesh.json("crypto", "add-purpose", "billing", "--field", "ssn")
    words = ("--field", "email=ann@example.com", "--field", "ssn=-", "--field", "address=-")
    put = await secmesh.json("crypto", "put", *words, typed=f"{SSN}\n1 Main Street\n")
    assert (put["email"], put["ssn"], put["address"]) == ("ann@example.com", MASK, MASK)
    user = put["name"].rpartition("/")[2]
    assert await secmesh.json("crypto", "get", user) == put
    asked = ("crypto", "get", put["name"], "--unmask", "ssn", "--purpose", "billing")
    shown = await secmesh.json(*asked)
    assert (shown["ssn"], shown["masked"]) == (SSN, ["address"])
    assert [each["name"] for each in await secmesh.json("crypto", "ls")] == [put["name"]]
    found = await secmesh.json("crypto", "find", "ssn=-", typed="078051120\n")
    assert [(each["name"], each["ssn"]) for each in found] == [(put["name"], MASK)]


async def test_what_was_shown_is_put_again_with_a_change(secmesh: Command, tmp_path: Path) -> None:
    secret = tmp_path / "ssn"
    secret.write_text(f"{SSN}\n")
    words = ("--field", "first_name=Ann", "--field", "phone=+14155550100", "--id", new_uuid())
    put = await secmesh.json("crypto", "put", *words, "--field", f"ssn=@{secret}")
    file = tmp_path / "person.json"
    file.write_text(json.dumps(put | {"lastName": "Example"}))
    changed = await secmesh.json("crypto", "put", str(file))
    assert (changed["lastName"], changed["ssn"], changed["name"]) == ("Example", MASK, put["name"])
    stale = await secmesh.run("crypto", "put", str(file))
    assert stale.exit_code == 1
    assert "ETAG_MISMATCH" in stale.stderr
    user = put["name"].rpartition("/")[2]
    less = await secmesh.json("crypto", "put", "--user", user, "--field", "phone=")
    assert "phone" not in less
    assert (less["firstName"], less["ssn"]) == ("Ann", MASK)
    twice = await secmesh.run("crypto", "put", *words[:-1], user)
    assert twice.exit_code == 1
    assert "RESOURCE_EXISTS" in twice.stderr


async def test_what_the_service_refuses_is_told_with_reason_and_field(secmesh: Command) -> None:
    wrong = await secmesh.run("crypto", "put", "--field", "ssn=-", typed="999-99-99\n")
    assert wrong.exit_code == 1
    assert "INVALID_ARGUMENT VALUE_INVALID" in wrong.stderr
    assert "field: ssn" in wrong.stderr
    assert "999-99-99" not in wrong.output
    missing = await secmesh.run("crypto", "get", new_uuid())
    assert missing.exit_code == 1
    assert "NOT_FOUND" in missing.stderr
    put = await secmesh.json("crypto", "put", "--field", "ssn=-", typed=SSN)
    asked = ("crypto", "get", put["name"], "--unmask", "ssn")
    refused = await secmesh.run(*asked, "--purpose", "curiosity")
    assert refused.exit_code == 1
    assert "PURPOSE" in refused.stderr
    assert SSN not in refused.output
    poor = await secmesh.run(*asked, "--purpose", "billing", permissions=["crypto.users.get"])
    assert poor.exit_code == 1
    assert "PERMISSION_DENIED" in poor.stderr


async def test_purposes_are_added_listed_and_taken_away(world: World, secmesh: Command) -> None:
    words = ("--field", "ssn", "--field", "address", "--description", "Post")
    made = await secmesh.json("crypto", "add-purpose", "post", *words)
    assert (made["name"], made["fields"]) == (f"{world.parent}/purposes/post", ["ssn", "address"])
    assert await secmesh.json("crypto", "purposes") == [made]
    wrong = await secmesh.run("crypto", "add-purpose", "mail", "--field", "nothing")
    assert wrong.exit_code == 1
    assert "purpose.fields[0]" in wrong.stderr
    assert (await secmesh.run("crypto", "rm-purpose", "post")).exit_code == 0
    assert await secmesh.json("crypto", "purposes") == []
    gone = await secmesh.run("crypto", "rm-purpose", "purposes/post")
    assert gone.exit_code == 1
    assert "RESOURCE_NOT_FOUND" in gone.stderr
