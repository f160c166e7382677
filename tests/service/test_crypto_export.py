"""Exports of persons through a real server: what is in the file, and who is given it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from cli.app import app
from cli.exit_codes import ExitCode
from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_export_pb2 import ExportUserRequest
from secmesh.crypto.v1.user_pb2 import User
from services.crypto.audit.append_store import AppendStore
from services.crypto.audit.entry import Operation
from services.crypto.audit.writer import AuditWriter
from services.crypto.custody.kms import KmsKeyState
from services.crypto.tables import USERS
from tests.databases import crypto_database
from tests.service.crypto_world import KMS_KEY, ORIGIN, World, crypto_world
from tests.service.erasure_story import TIERS, erase, id_of
from tests.service.person_story import ANN, add_purpose, create, refused

SEALED = [name for name, tier in TIERS.items() if tier > 1]


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        await add_purpose(made, *SEALED)
        yield made


async def export(world: World, name: str, purpose: str = "billing", stub: Any = None) -> bytes:
    request = ExportUserRequest(name=name, purpose=purpose)
    parts = (stub or world.users()).ExportUser(request)
    return b"".join([part.data async for part in parts])


def lines_of(data: bytes, kind: str) -> list[dict[str, Any]]:
    read = map(orjson.loads, data.splitlines())
    return [{k: v for k, v in each.items() if k != "type"} for each in read if each["type"] == kind]


async def test_the_file_holds_all_that_is_known_of_a_person(world: World) -> None:
    other = await create(world, email="bob@example.com", ssn="219-09-9999")
    made = await create(world)
    changed = User(name=made.name, phone="+14155550101")
    await world.users().UpdateUser(users.UpdateUserRequest(user=changed))
    data = await export(world, made.name)
    values = {each["field"]: each for each in lines_of(data, "value")}
    wanted = {**ANN, "phone": "+14155550101"}
    assert {name: each["value"] for name, each in values.items()} == wanted
    assert {name: each["tier"] for name, each in values.items()} == TIERS
    assert {values[name]["key_version"] for name in SEALED} == {1}
    assert [each["state"] for each in lines_of(data, "key")] == ["active"]
    changes = lines_of(data, "change")
    assert [(each["operation"], each["columns"], each["principal"]) for each in changes] == [
        ("insert", [], "ann"),
        ("update", ["phone"], "ann"),
    ]
    assert b"219-09-9999" not in data
    assert id_of(other.name).encode() not in data
    (told,) = lines_of(data, "export")
    assert (told["user"], told["origin"], told["purpose"]) == (made.name, ORIGIN, "billing")


async def test_the_signature_holds_every_byte_of_the_file(world: World, tmp_path: Path) -> None:
    made = await create(world)
    lines = (await export(world, made.name)).splitlines(keepends=True)
    key = f"--key={world.registry.signer.public.encoded()}"

    def verified(content: list[bytes]) -> Result:
        (tmp_path / "file").write_bytes(b"".join(content))
        command = ["-o", "ndjson", "crypto", "verify-export", str(tmp_path / "file"), key]
        return CliRunner().invoke(app, command)

    found = orjson.loads(verified(lines).stdout)
    assert (found["user"], found["origin"]) == (made.name, ORIGIN)
    assert (found["value_lines"], found["lines"]) == (len(ANN), len(lines) - 1)
    forged = [line.replace(b"Springfield", b"Shelbyville") for line in lines]
    for wrong in (forged, lines[:-1], lines[:3] + lines[4:], [*lines[:-2], lines[-1]], lines * 2):
        assert verified(wrong).exit_code == ExitCode.FAILED_VERDICT


async def test_the_same_state_has_the_same_bytes(world: World) -> None:
    made = await create(world)
    first, second = [(await export(world, made.name)).splitlines() for _ in range(2)]
    assert first[1:-1] == second[1:-1]


async def test_the_audit_of_a_person_is_in_the_file_the_export_itself_included(
    world: World,
) -> None:
    made, other = await create(world), await create(world, address="2 Main Street")
    registry, engine = world.registry, world.transactions.engine
    writer = AuditWriter(AppendStore(engine), registry.subjects, registry.signer, ORIGIN)
    writer.start()
    world.audit.forward = writer
    wanted = users.GetUserRequest(name=made.name, unmask=["ssn"], purpose="billing")
    await world.users().GetUser(wanted)
    await world.users().GetUser(
        users.GetUserRequest(name=other.name, unmask=["address"], purpose="billing")
    )
    data = await export(world, made.name)
    await writer.close()
    read, exported = lines_of(data, "access")
    assert (read["operation"], read["fields"], read["principal"], read["purpose"]) == (
        "decrypt",
        [{"field": "ssn", "tier": 3}],
        "ann",
        "billing",
    )
    assert exported["operation"] == Operation.EXPORT
    assert {each["field"]: each["tier"] for each in exported["fields"]} == TIERS


async def test_a_file_is_given_to_who_may_for_a_purpose_that_covers_it(world: World) -> None:
    made = await create(world)
    rights = ["crypto.users.export", *(f"crypto.{name}.unmask" for name in SEALED)]
    assert await export(world, made.name, stub=world.users(permissions=rights))
    for missing in ("crypto.users.export", "crypto.ssn.unmask"):
        weak = world.users(permissions=[each for each in rights if each != missing])
        error = await refused(export(world, made.name, stub=weak), "PERMISSION_MISSING")
        assert missing in error.message
    await add_purpose(world, "ssn", name="narrow")
    await refused(export(world, made.name, "narrow"), "PURPOSE_REFUSED")
    await refused(export(world, made.name, "unknown"), "PURPOSE_REFUSED")
    clear = await create(world, email="clear@example.com")
    await refused(export(world, clear.name, "unknown"), "PURPOSE_REFUSED")
    told = [each for each in world.audit.told if each.operation is Operation.EXPORT]
    assert [(each.purpose, each.error_code) for each in told] == [
        ("billing", ""),
        ("billing", "PERMISSION_MISSING"),
        ("narrow", "PURPOSE_REFUSED"),
        ("unknown", "PURPOSE_REFUSED"),
        ("unknown", "PURPOSE_REFUSED"),
    ]


async def test_nothing_leaves_that_the_audit_does_not_hold(world: World) -> None:
    made = await create(world)
    world.audit.broken = True
    await refused(export(world, made.name), "DEPENDENCY_UNAVAILABLE")
    world.audit.broken = False
    world.kms.set_state(KMS_KEY, KmsKeyState.DISABLED)
    world.keys.revoke(KMS_KEY)
    await refused(export(world, made.name), "KEY_DISABLED")


async def test_who_is_of_another_tenant_or_gone_has_no_file(world: World) -> None:
    made = await create(world)
    stranger = world.users(tenant="strangers")
    await refused(export(world, made.name, stub=stranger), "RESOURCE_NOT_FOUND")
    await refused(export(world, f"{world.parent}/users/{new_uuid()}"), "RESOURCE_NOT_FOUND")
    await erase(world, made.name)
    await refused(export(world, made.name), "RESOURCE_NOT_FOUND")


async def test_a_value_that_does_not_open_is_told_of_in_its_place(world: World) -> None:
    made = await create(world)
    byte = sa.func.set_byte(USERS.c.address_encrypted, 60, 7)
    spoiled = sa.update(USERS).where(USERS.c.tenant_id == world.tenant)
    async with world.transactions.transaction(world.tenant) as connection:
        await connection.execute(spoiled.values(address_encrypted=sa.func.set_byte(byte, 61, 9)))
    data = await export(world, made.name)
    values = {each["field"]: each for each in lines_of(data, "value")}
    assert (values["address"]["value"], values["address"]["problem"]) == (None, "VALUE_UNOPENABLE")
    assert values["ssn"]["value"] == ANN["ssn"]
    told = [each for each in world.audit.told if each.operation is Operation.EXPORT]
    assert [(each.error_code, dict(each.fields).get("address")) for each in told] == [
        ("", None),
        ("VALUE_UNOPENABLE", 2),
    ]
