"""What goes into a table comes out equal, and what no table keeps is refused by name."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.contract.catalogue import Kind, load_catalogue
from mesh.errors import FieldInvalid
from mesh.sql.codec import Codec
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.examples import examples
from tests.unit.sql_contract import new, sample_catalogue
from tests.unit.sql_messages import messages

INVENTORY = load_catalogue("secmesh.inventory.v1")
KINDS = [*INVENTORY.kinds.values(), *sample_catalogue().kinds.values()]


class Roundtrip:
    """A database with every kind of one catalogue."""

    def __init__(self, runner: asyncio.Runner, catalogue: Any, url: str) -> None:
        self._runner = runner
        self.engine = open_engine(url)
        self.store = Store(self.engine, Tables(catalogue), page_key=b"k" * 32)
        runner.run(create_tables(self.engine, self.store.tables))

    def __call__(self, collection: str, message: Message) -> Message:
        return self._runner.run(self._through(collection, message))

    async def _through(self, collection: str, message: Any) -> Message:
        async with self.store.transaction() as connection:
            await connection.execute(self.store.delete(collection, "acme"))
            await self.store.insert(connection, collection, [message])
        return await self.store.get(collection, message.name, secrets=True)


@pytest.fixture(scope="module")
def databases(module_database: str) -> Iterator[dict[str, Roundtrip]]:
    with asyncio.Runner() as runner:
        made = {
            catalogue.package: Roundtrip(runner, catalogue, module_database)
            for catalogue in (INVENTORY, sample_catalogue())
        }
        yield made
        for each in made.values():
            runner.run(each.engine.dispose())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.collection)
@settings(max_examples=examples(4), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_message_survives_the_database(
    kind: Kind, data: st.DataObject, databases: dict[str, Roundtrip]
) -> None:
    message = data.draw(messages(kind))
    package: str = kind.descriptor.file.package
    assert databases[package](kind.collection, message) == message


def test_times_are_kept_to_the_microsecond() -> None:
    codec = Codec(sample_catalogue().kinds["everythings"])
    message = new("everythings")
    message.name = "tenants/acme/boxes/b/everythings/e"
    message.moment.seconds, message.moment.nanos = -1, 999_999_999
    message.length.seconds, message.length.nanos = 1, 1_999
    row = codec.row(message)
    assert (row["moment"], row["length"]) == (-1, 1_000_001)
    back: Any = codec.message(row)
    assert (back.moment.seconds, back.moment.nanos) == (-1, 999_999_000)
    assert (back.length.seconds, back.length.nanos) == (1, 1_000)


def test_negative_durations_keep_one_sign() -> None:
    codec = Codec(sample_catalogue().kinds["everythings"])
    message = new("everythings")
    message.name = "tenants/acme/boxes/b/everythings/e"
    message.length.seconds, message.length.nanos = -1, -500_000_000
    back: Any = codec.message(codec.row(message))
    assert (back.length.seconds, back.length.nanos) == (-1, -500_000_000)


def test_json_is_written_as_conditions_read_it() -> None:
    codec = Codec(sample_catalogue().kinds["everythings"])
    message = new("everythings")
    message.name = "tenants/acme/boxes/b/everythings/e"
    message.nested.level = 5
    message.nested.big = 2**64 - 1
    message.nested.raw = b"\xff\xfe"
    message.nested.moment.seconds = 2
    message.nested.length.nanos = -1_000
    message.nested.named["b"].text = "second"
    message.nested.status.code = 7
    message.truths[True] = b"x"
    message.numbers[-3] = 1.5
    row = codec.row(message)
    nested = orjson.loads(row["nested"])
    assert nested["level"] == 5
    assert nested["big"] == 2**64 - 1
    assert nested["raw"] == "//4="
    assert nested["moment"] == 2_000_000
    assert nested["length"] == -1
    assert nested["named"]["b"]["text"] == "second"
    assert nested["status"] == "CAc="
    # Without presence: always there. With presence and absent: left out.
    assert nested["inner"] == []
    assert nested["ratio"] == 0
    assert "number" not in nested
    assert "yes" not in nested
    assert row["truths"] == '{"true":"eA=="}'
    assert row["numbers"] == '{"-3":1.5}'
    assert row["words"] == "{}"
    assert row["strings"] == "[]"
    assert row["status"] is None
    assert row["maybe_string"] is None
    assert row["a_string"] == ""


def test_a_row_older_than_a_field_is_read_without_it() -> None:
    codec = Codec(sample_catalogue().kinds["everythings"])
    message = new("everythings")
    message.name = "tenants/acme/boxes/b/everythings/e"
    row = codec.row(message)
    row["nested"] = '{"text": "old", "removed_field": [1]}'
    back: Any = codec.message(row)
    assert back.nested.text == "old"
    assert not back.nested.HasField("number")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("a_double", float("nan")),
        ("a_float", float("inf")),
        ("a_string", "a\0b"),
        ("moment", {"seconds": 253_402_300_800}),
        ("moment", {"seconds": -62_135_596_801}),
        ("length", {"seconds": 315_576_000_001}),
        ("strings", ["fine", "a\0b"]),
        ("doubles", [1.0, float("-inf")]),
        ("nested", {"text": "\\\0"}),
        ("words", {"a\0": "b"}),
    ],
)
def test_what_no_store_keeps_is_refused_by_its_field(field: str, value: Any) -> None:
    codec = Codec(sample_catalogue().kinds["everythings"])
    message = type(new("everythings"))(name="tenants/acme/boxes/b/everythings/e", **{field: value})
    with pytest.raises(FieldInvalid) as refused:
        codec.row(message)
    [violation] = refused.value.details[0].field_violations  # type: ignore[attr-defined]  # BadRequest
    assert violation.field == f"secmesh.sample.v1.Everything.{field}"


def test_an_escaped_backslash_is_not_taken_for_nul() -> None:
    codec = Codec(sample_catalogue().kinds["everythings"])
    message = new("everythings")
    message.name = "tenants/acme/boxes/b/everythings/e"
    message.strings.append(r"\u0000")
    assert codec.message(codec.row(message)) == message


@pytest.mark.parametrize(
    "name", ["", "tenants/acme/everythings/e", "tenants/acme/boxes/b/everythings/e/f", "x"]
)
def test_a_name_of_another_kind_is_refused(name: str) -> None:
    message = new("everythings")
    message.name = name
    with pytest.raises(FieldInvalid, match=r"tenants/\{tenant\}/boxes/"):
        Codec(sample_catalogue().kinds["everythings"]).row(message)


def test_a_record_with_another_body_is_refused() -> None:
    record = new("vaults")
    record.name = "tenants/acme/vaults/v"
    record.plain.title = "no vault"
    with pytest.raises(FieldInvalid, match="vault: must be set"):
        Codec(sample_catalogue().kinds["vaults"]).row(record)


def test_secrets_come_back_only_when_asked_for() -> None:
    codec = Codec(sample_catalogue().kinds["vaults"])
    record = new("vaults")
    record.name = "tenants/acme/vaults/v"
    record.vault.owner = "ana"
    record.vault.password = "hunter2"
    for key in (record.vault.keys.add(), record.vault.main_key, record.vault.named_keys["k"]):
        key.label, key.material = "front", b"s3cret"
    row = codec.row(record)
    assert codec.message(row, secrets=True) == record
    shown: Any = codec.message(row)
    assert shown.vault.owner == "ana"
    assert not shown.vault.HasField("password")
    for key in (shown.vault.keys[0], shown.vault.main_key, shown.vault.named_keys["k"]):
        assert key.label == "front"
        assert not key.HasField("material")
    assert "password" not in codec.public_columns
    assert b"s3cret" not in shown.SerializeToString()
