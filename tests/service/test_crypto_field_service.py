"""FieldCryptoService through a real server: each value by itself, each use in the audit."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.rpc import error_details_pb2, status_pb2

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.sql.engine import open_engine
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import field_crypto_service_pb2 as pb
from secmesh_client import CallRefused
from services.crypto.audit.entry import Operation
from services.crypto.custody.kms import KmsKeyState
from services.crypto.keys.states import KeyState
from services.crypto.suite.header import Tier, read_header
from services.crypto.tables import PURPOSES, SYSTEM_CONFIG, USER_KEYS
from tests.databases import crypto_database
from tests.service.crypto_world import KMS_KEY, World, crypto_world
from tests.service.person_story import refused

VALUES = {"ssn": b"078-05-1120", "address": b"1 Main Street", "credit_card": b"4111111111111111"}
EVERYTHING = [
    "crypto.fields.decrypt",
    *(f"crypto.{name}.unmask" for name in VALUES),
]


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        purpose = config.Purpose(fields=list(VALUES))
        await made.config().CreatePurpose(
            config.CreatePurposeRequest(parent=made.parent, purpose=purpose, purpose_id="billing")
        )
        yield made


def reason_of(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert any(each.Unpack(info) for each in status.details)
    return str(info.reason)


def plain(user: str, **values: bytes) -> list[pb.PlainField]:
    return [
        pb.PlainField(user_id=user, field=name, plaintext=value) for name, value in values.items()
    ]


async def encrypt(
    world: World, fields: Sequence[pb.PlainField], table: str = "payments"
) -> list[pb.SealedField]:
    """Seal values; all must succeed."""
    answer = await world.fields().Encrypt(
        pb.EncryptRequest(parent=world.parent, table=table, fields=fields)
    )
    assert not any(each.HasField("error") for each in answer.results)
    return [
        pb.SealedField(user_id=each.user_id, field=each.field, blob=result.blob)
        for each, result in zip(fields, answer.results, strict=True)
    ]


async def decrypt(
    world: World, fields: Sequence[pb.SealedField], table: str = "payments", **options: Any
) -> list[pb.PlainResult]:
    request = pb.DecryptRequest(
        parent=world.parent,
        table=table,
        purpose=options.get("purpose", "billing"),
        fields=fields,
    )
    stub = world.fields(permissions=options.get("permissions", ()))
    return list((await stub.Decrypt(request)).results)


async def rewrap(world: World, fields: Sequence[pb.SealedField]) -> list[pb.SealedResult]:
    stub = world.fields(permissions=["crypto.fields.rewrap"])
    request = pb.RewrapRequest(parent=world.parent, table="payments", fields=fields)
    return list((await stub.Rewrap(request)).results)


async def add_key_version(world: World, user: str) -> None:
    """Make a second version of a user's key the one that seals."""
    async with world.transactions.transaction(world.tenant) as connection:
        chosen = USER_KEYS.c.user_id == user
        await connection.execute(sa.update(USER_KEYS).where(chosen).values(state="decrypt_only"))
        parent = await world.keys.tenants.current(world.tenant)
        made = world.keys.users.make(parent, world.tenant, user, 2)
        values = {"tenant_id": world.tenant, **made._asdict()}
        await connection.execute(sa.insert(USER_KEYS).values(values))
    world.keys.users.forget(world.tenant)


async def test_values_open_for_their_place_as_they_were(world: World) -> None:
    users = [new_uuid() for _ in range(50)]
    fields = [each for user in users for each in plain(user, **VALUES)]
    sealed = await encrypt(world, fields)
    assert all(value not in each.blob for each in sealed for value in VALUES.values())
    assert read_header(sealed[0].blob).tier is Tier.DOUBLE
    assert read_header(sealed[1].blob).tier is Tier.SEALED
    opened = await decrypt(world, sealed)
    assert [each.plaintext for each in opened] == [each.plaintext for each in fields]
    assert world.kms.calls["generate"] + world.kms.calls["decrypt"] <= 3


async def test_a_value_that_was_changed_or_moved_fails_alone_and_says_nothing(
    world: World,
) -> None:
    one, two = new_uuid(), new_uuid()
    ssn, address = await encrypt(world, plain(one, ssn=b"1", address=b"2"))
    other = await encrypt(world, plain(two, ssn=b"3"))
    changed = pb.SealedField(user_id=one, field="ssn", blob=ssn.blob[:-1] + b"\x00")
    moved = pb.SealedField(user_id=two, field="ssn", blob=ssn.blob)
    swapped = pb.SealedField(user_id=one, field="address", blob=ssn.blob)
    empty = pb.SealedField(user_id=one, field="ssn")
    unknown = pb.SealedField(user_id=one, field="shoe_size", blob=ssn.blob)
    stranger = pb.SealedField(user_id=new_uuid(), field="ssn", blob=ssn.blob)
    bad = [changed, moved, swapped, empty, unknown, stranger]
    results = await decrypt(world, [ssn, *bad, address, *other])
    assert [each.plaintext for each in (results[0], *results[-2:])] == [b"1", b"2", b"3"]
    failed = results[1:-2]
    assert {reason_of(each.error) for each in failed} == {"VALUE_UNOPENABLE"}
    assert len({each.error.message for each in failed}) == 1
    assert not any(each.plaintext for each in failed)
    elsewhere = await decrypt(world, [ssn], table="archive")
    assert reason_of(elsewhere[0].error) == "VALUE_UNOPENABLE"


async def test_a_field_in_clear_is_not_sealed_and_fails_alone(world: World) -> None:
    user = new_uuid()
    fields = plain(user, email=b"a@example.com", ssn=b"1", shoe_size=b"44")
    answer = await world.fields().Encrypt(
        pb.EncryptRequest(parent=world.parent, table="payments", fields=fields)
    )
    email, ssn, unknown = answer.results
    assert ssn.blob
    assert reason_of(email.error) == reason_of(unknown.error) == "FIELD_NOT_SEALED"
    assert not email.blob
    assert not unknown.blob


async def test_each_use_is_in_the_audit_by_user_and_outcome(world: World) -> None:
    one, two = new_uuid(), new_uuid()
    sealed = await encrypt(world, [*plain(one, ssn=b"1", address=b"2"), *plain(two, ssn=b"3")])
    world.audit.told.clear()
    sealed[1].blob = b""
    await decrypt(world, sealed)
    told = {(each.user_id.hex(), each.error_code): each for each in world.audit.told}
    assert len(told) == len(world.audit.told) == 3
    good = told[one.replace("-", ""), ""]
    assert (good.fields, good.purpose, good.success) == ((("ssn", 3),), "billing", True)
    assert (good.operation, good.principal) == (Operation.DECRYPT, "ann")
    bad = told[one.replace("-", ""), "VALUE_UNOPENABLE"]
    assert (bad.fields, bad.success) == ((("address", 2),), False)
    assert told[two.replace("-", ""), ""].fields == (("ssn", 3),)


async def test_nothing_is_opened_that_cannot_be_recorded(world: World) -> None:
    sealed = await encrypt(world, plain(new_uuid(), ssn=b"1"))
    world.audit.broken = True
    await refused(decrypt(world, sealed), "DEPENDENCY_UNAVAILABLE")
    await refused(rewrap(world, sealed), "DEPENDENCY_UNAVAILABLE")
    await refused(encrypt(world, plain(new_uuid(), ssn=b"1")), "DEPENDENCY_UNAVAILABLE")


async def test_reading_needs_a_right_for_each_field_and_a_purpose(world: World) -> None:
    sealed = await encrypt(world, plain(new_uuid(), ssn=b"1", address=b"2"))
    assert (await decrypt(world, sealed, permissions=EVERYTHING))[0].plaintext == b"1"
    world.audit.told.clear()
    for missing in ("crypto.fields.decrypt", "crypto.ssn.unmask"):
        held = [each for each in EVERYTHING if each != missing]
        error = await refused(decrypt(world, sealed, permissions=held), "PERMISSION_MISSING")
        assert error.metadata["permission"] == missing
    await refused(decrypt(world, sealed, purpose="curiosity"), "PURPOSE_REFUSED")
    # What never reached the service is not its to record.
    assert [each.error_code for each in world.audit.told] == [
        "PERMISSION_MISSING",
        "PURPOSE_REFUSED",
    ]


async def test_what_another_process_decides_holds_for_the_next_call(
    world: World, access: Access
) -> None:
    sealed = await encrypt(world, plain(new_uuid(), ssn=b"1"))
    assert (await decrypt(world, sealed))[0].plaintext == b"1"
    engine = open_engine(access.owner)
    async with engine.begin() as connection:
        mine = PURPOSES.c.tenant_id == world.tenant
        await connection.execute(sa.delete(PURPOSES).where(mine))
        off = {"config_key": "encryption_enabled", "config_value": "false", "updated_by": "x"}
        await connection.execute(sa.insert(SYSTEM_CONFIG).values(tenant_id=world.tenant, **off))
    await engine.dispose()
    await refused(decrypt(world, sealed), "PURPOSE_REFUSED")
    await refused(encrypt(world, plain(new_uuid(), ssn=b"1")), "ENCRYPTION_DISABLED")


async def test_values_are_sealed_again_with_their_context_by_one_who_cannot_read(
    world: World,
) -> None:
    user = new_uuid()
    sealed = await encrypt(world, plain(user, ssn=b"1", address=b"2"))
    assert [each.blob for each in await rewrap(world, sealed)] == [each.blob for each in sealed]
    await add_key_version(world, user)
    # The custodian of the app key is not asked: the inner layer stays closed.
    world.keys.app._cache.purge(lambda *_: True)
    (world.home / "app.keys").rename(world.home / "away")
    again = await rewrap(world, sealed)
    (world.home / "away").rename(world.home / "app.keys")
    assert [read_header(each.blob).key_version for each in again] == [2, 2]
    moved = [
        pb.SealedField(user_id=user, field=each.field, blob=result.blob)
        for each, result in zip(sealed, again, strict=True)
    ]
    assert [each.plaintext for each in await decrypt(world, moved)] == [b"1", b"2"]
    assert [each.plaintext for each in await decrypt(world, sealed)] == [b"1", b"2"]
    wrong = pb.SealedField(user_id=user, field="address", blob=sealed[0].blob)
    assert reason_of((await rewrap(world, [wrong]))[0].error) == "VALUE_UNOPENABLE"
    held = ["crypto.fields.rewrap"]
    await refused(decrypt(world, moved, permissions=held), "PERMISSION_MISSING")


async def test_a_user_who_was_erased_gets_no_key_and_opens_nothing(world: World) -> None:
    gone, there = new_uuid(), new_uuid()
    sealed = await encrypt(world, [*plain(gone, ssn=b"1"), *plain(there, ssn=b"2")])
    async with world.transactions.transaction(world.tenant) as connection:
        statement = sa.update(USER_KEYS).where(USER_KEYS.c.user_id == gone)
        await connection.execute(statement.values(state=KeyState.DESTROYED.value, wrapped=None))
    world.keys.users.forget(world.tenant, gone)
    lost, kept = await decrypt(world, sealed)
    assert (reason_of(lost.error), kept.plaintext) == ("VALUE_UNOPENABLE", b"2")
    answer = await world.fields().Encrypt(
        pb.EncryptRequest(
            parent=world.parent,
            table="payments",
            fields=[*plain(gone, ssn=b"1"), *plain(there, ssn=b"2")],
        )
    )
    assert reason_of(answer.results[0].error) == "KEY_DISABLED"
    assert answer.results[1].blob


async def test_a_kms_that_says_no_is_heard_and_one_that_is_away_may_be_asked_again(
    world: World,
) -> None:
    sealed = await encrypt(world, plain(new_uuid(), ssn=b"1"))
    world.kms.set_state(KMS_KEY, KmsKeyState.DISABLED)
    world.keys.tenants.revoke(KMS_KEY)
    error = await refused(decrypt(world, sealed), "KEY_DISABLED")
    assert error.metadata["custodian"] == "kms"
    world.kms.set_state(KMS_KEY, KmsKeyState.ENABLED)
    world.kms.down = True
    error = await refused(decrypt(world, sealed), "DEPENDENCY_UNAVAILABLE")
    assert error.retry_after
    world.kms.down = False
    assert (await decrypt(world, sealed))[0].plaintext == b"1"


async def test_another_tenant_neither_opens_nor_exists(world: World) -> None:
    sealed = await encrypt(world, plain(new_uuid(), ssn=b"1"))
    mine = replace(world)
    request = pb.DecryptRequest(
        parent=world.parent, table="payments", purpose="billing", fields=sealed
    )
    await refused(world.fields(mine.tenant).Decrypt(request), "RESOURCE_NOT_FOUND")
    purpose = config.Purpose(fields=["ssn"])
    await world.config(mine.tenant).CreatePurpose(
        config.CreatePurposeRequest(parent=mine.parent, purpose=purpose, purpose_id="billing")
    )
    request.parent = mine.parent
    answer = await world.fields(mine.tenant).Decrypt(request)
    assert reason_of(answer.results[0].error) == "VALUE_UNOPENABLE"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"table": ""}, "table"),
        ({"table": "Users; --"}, "table"),
        ({"fields": []}, "fields"),
        ({"fields": plain(new_uuid(), ssn=b"1") * 501}, "fields"),
        ({"fields": plain("0190", ssn=b"1")}, "fields[0].user_id"),
        ({"fields": plain(new_uuid(), Ssn=b"1")}, "fields[0].field"),
    ],
)
async def test_a_request_without_its_context_is_refused(
    world: World, change: dict[str, Any], field: str
) -> None:
    request = {"parent": world.parent, "table": "t", "fields": plain(new_uuid(), ssn=b"1")}
    call = world.fields().Encrypt(pb.EncryptRequest(**(request | change)))
    error = await refused(call, "FIELD_INVALID")
    assert [each.field for each in error.violations] == [field]


async def test_a_stream_answers_each_message_and_bears_refusals(world: World) -> None:
    user = new_uuid()
    sealed = await encrypt(world, plain(user, ssn=b"1"))
    seal = pb.EncryptRequest(parent=world.parent, table="t", fields=plain(user, ssn=b"2"))
    unseal = pb.DecryptRequest(
        parent=world.parent, table="payments", purpose="billing", fields=sealed
    )
    idle = pb.DecryptRequest(parent=world.parent, table="payments", purpose="idle", fields=sealed)
    again = pb.RewrapRequest(parent=world.parent, table="payments", fields=sealed)
    operations = [
        pb.FieldOperation(encrypt=seal),
        pb.FieldOperation(decrypt=idle),
        pb.FieldOperation(rewrap=again),
    ]

    async def messages() -> AsyncIterator[pb.StreamFieldsRequest]:
        yield pb.StreamFieldsRequest(operations=operations)
        yield pb.StreamFieldsRequest(operations=[pb.FieldOperation(decrypt=unseal)])

    answers = [each async for each in world.fields().StreamFields(messages())]
    first, second, third = answers[0].results
    assert first.encrypted.results[0].blob
    assert reason_of(second.error) == "PURPOSE_REFUSED"
    assert third.rewrapped.results[0].blob == sealed[0].blob
    assert answers[1].results[0].decrypted.results[0].plaintext == b"1"


async def test_a_stream_lends_no_right(world: World) -> None:
    sealed = await encrypt(world, plain(new_uuid(), ssn=b"1"))
    unseal = pb.DecryptRequest(
        parent=world.parent, table="payments", purpose="billing", fields=sealed
    )

    async def messages() -> AsyncIterator[pb.StreamFieldsRequest]:
        yield pb.StreamFieldsRequest(operations=[pb.FieldOperation(decrypt=unseal)])

    stub = world.fields(permissions=["crypto.fields.stream", "crypto.fields.rewrap"])
    with pytest.raises(CallRefused) as error:
        async for _ in stub.StreamFields(messages()):
            pass
    assert error.value.reason == "PERMISSION_MISSING"
    assert error.value.metadata["permission"] == "crypto.fields.decrypt"
