"""What conditions mean, case by case, in memory and in SQL alike."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.cel import CelType, Environment, TableColumns
from mesh.contract.catalogue import load_catalogue
from mesh.errors import FilterInvalid
from secmesh.inventory.v1 import iam_pb2, record_pb2
from tests.unit.cel_expressions import Database
from tests.unit.sql_contract import new, sample_catalogue

INVENTORY = load_catalogue("secmesh.inventory.v1")
PARAMETERS = {"now": CelType.TIMESTAMP, "limit": CelType.INT, "longest": CelType.DURATION}
VALUES: dict[str, object] = {
    "now": datetime(2026, 5, 1, tzinfo=UTC),
    "limit": 3,
    "longest": timedelta(days=90),
}
YES, NO, UNKNOWN = True, False, None


def group() -> record_pb2.Record:
    record = record_pb2.Record(
        name="tenants/acme/security_groups/g1", region="eu-west-1", labels={"team": "blue"}
    )
    record.valid_from.FromJsonString("2026-04-30T23:59:59.999999Z")
    body = record.security_group
    body.group_id = "sg-1_%"
    body.group_name = "Zebra é😀"
    body.is_default = False
    body.attached_enis = 2**31 - 1
    body.open_to_world.add(protocol="tcp", from_port=20, to_port=25)
    body.open_to_world.add(protocol="udp")
    body.tags.update({"": "empty", 'a"b': "quote", "env": "prod", "é.$[0]": "odd"})
    record.unread.add(field="vpc_id", outcome=record_pb2.READ_OUTCOME_DENIED)
    record.unread.add(action="ec2:DescribeX").last_read_time.FromJsonString("2026-01-01T00:00:00Z")
    return record


def everything() -> Any:
    made = new("everythings")
    made.name = "tenants/acme/boxes/b1/everythings/e1"
    made.an_int64 = 2**63 - 1
    made.an_sint64 = -(2**63)
    made.an_int32, made.an_sfixed32 = 7, 200
    made.a_uint32 = 3
    made.a_double = 1.5
    made.some_bytes = b"\xff\x00"
    made.level = 5
    made.moment.seconds, made.moment.nanos = 1, 1_999
    made.length.seconds, made.length.nanos = -1, -1_999
    made.nested.text = "in"
    made.nested.inner.add(text="deep", ratio=0.5)
    made.nested.named["k"].number = 4
    made.int32s.extend([1, 2, 3])
    made.strings.extend(["a", ""])
    made.bools.append(True)
    made.levels.append(1)
    made.moments.add(seconds=1)
    made.numbers[-5] = 2.5
    made.named["x"].yes = True
    made.named_levels[-1] = 5
    made.named_moments["then"].seconds = 1
    made.chosen_number = 0
    return made


GROUP_CASES: dict[str, bool | None] = {
    # Absent is unknown, and the rest may still decide (Kleene).
    'vpc_id == "a"': UNKNOWN,
    'vpc_id != "a"': UNKNOWN,
    '!(vpc_id == "a")': UNKNOWN,
    'vpc_id == "a" || !is_default': YES,
    'vpc_id == "a" && is_default': NO,
    'vpc_id == "a" && !is_default': UNKNOWN,
    "unused ? true : true": UNKNOWN,
    "is_default ? unused : true": YES,
    "unused == unused": UNKNOWN,
    # What is denied is an operand like any other.
    "!is_default > (group_id in [])": YES,
    "!open_to_world.exists(r, r.to_port == 25) < (group_id in [])": NO,
    "!is_default == !has(vpc_id) && !has(vpc_id) in [true]": YES,
    "(vpc_id == '') == (vpc_id == '')": UNKNOWN,
    # has() is never unknown.
    "has(vpc_id)": NO,
    "has(is_default) && has(record.valid_from) && !has(record.valid_to)": YES,
    "has(egress) || has(record.arn)": NO,
    "has(ingress) == has(egress) && has(tags) && has(record.region)": YES,
    "has(tags.env) && !has(tags.nope)": YES,
    # Text is compared exactly, by code point.
    'group_id.contains("_%") && group_id.endsWith("%") && group_id.startsWith("sg-")': YES,
    'group_id.contains("1%") || group_id.startsWith("SG") || group_id.endsWith("_")': NO,
    'group_id.startsWith("") && group_id.endsWith("") && group_id.contains("")': YES,
    'vpc_id.endsWith("") || vpc_id.startsWith("")': UNKNOWN,
    'group_id.endsWith("and more than sg-1_%")': NO,
    "group_name.endsWith(group_name) && group_name.contains(vpc_id)": UNKNOWN,
    "size(group_name) == 8": YES,
    'group_name < "a" && group_name < "é" && "é" < "😀"': YES,
    '"sg-" + "1_%" == group_id && group_id + group_id == "sg-1_%sg-1_%"': YES,
    # Lists of messages; an absent part is unknown there too.
    "open_to_world.exists(r, r.from_port <= 22 && 22 <= r.to_port)": YES,
    "open_to_world.exists(r, r.from_port == 3389)": UNKNOWN,
    "open_to_world.all(r, r.from_port <= 22)": UNKNOWN,
    "open_to_world.all(r, r.from_port > 22)": NO,
    'open_to_world.all(r, r.protocol != "udp" || !has(r.from_port))': YES,
    "open_to_world.exists(r, unused)": UNKNOWN,
    "open_to_world.exists(r, is_default)": NO,
    "ingress.exists(r, true) || !ingress.all(r, false)": NO,
    "ingress.exists(r, unused)": NO,
    "[22, 3389].all(p, open_to_world.exists(r, r.from_port <= p && p <= r.to_port))": UNKNOWN,
    "[21, 22].all(p, open_to_world.exists(r, r.from_port <= p && p <= r.to_port))": YES,
    "[].exists(p, p == 1)": NO,
    "open_to_world[0].to_port == 25": YES,
    "open_to_world[1].to_port == 25 || open_to_world[2].to_port == 25": UNKNOWN,
    "open_to_world[-1].to_port == 25": UNKNOWN,
    "has(open_to_world[1].protocol) && !has(open_to_world[1].to_port)": YES,
    "has(open_to_world[7].protocol)": UNKNOWN,
    "size(open_to_world) == 2 && size(ingress) == 0": YES,
    # Parts without presence hold their default.
    'record.unread.exists(u, u.action == "" && u.field == "vpc_id")': YES,
    "record.unread.exists(u, has(u.action) && u.outcome == READ_OUTCOME_UNSPECIFIED)": YES,
    "record.unread.all(u, has(u.outcome))": NO,
    'record.unread.exists(u, u.last_read_time < timestamp("2026-01-01T00:00:00.1Z"))': YES,
    "record.unread.all(u, u.last_read_time < now)": UNKNOWN,
    # Maps.
    '"env" in tags && !("nope" in tags) && "" in tags': YES,
    'tags["env"] == "prod" && tags.env == "prod"': YES,
    'tags["nope"] == "prod" || tags["nope"] != "prod"': UNKNOWN,
    'tags["a\\"b"] == "quote" && tags["é.$[0]"] == "odd" && tags[""] == "empty"': YES,
    'tags.exists(key, key.startsWith("e") && tags[key] == "prod")': YES,
    "tags.all(key, size(tags[key]) > 3)": NO,
    "vpc_id in tags || vpc_id in record.labels": UNKNOWN,
    "size(tags) == 4 && size(record.labels) == 1": YES,
    # Membership.
    'group_id in ["a", "sg-1_%"]': YES,
    'group_id in ["sg-1_%", vpc_id]': UNKNOWN,
    "vpc_id in []": UNKNOWN,
    "group_id in []": NO,
    'record.region in ["us-east-1"]': NO,
    # Names are rebuilt from their ids; envelope fields without presence have a value.
    'record.name == "tenants/acme/security_groups/g1" && has(record.name)': YES,
    'record.arn == "" && record.region.startsWith("eu-")': YES,
    'record.labels["team"] == "blue"': YES,
    # Moments count to the microsecond.
    'record.valid_from == timestamp("2026-04-30T23:59:59.999999Z")': YES,
    'record.valid_from == timestamp("2026-05-01T01:59:59.999999999+02:00")': YES,
    'now - record.valid_from == duration("1us")': YES,
    'record.valid_from + duration("1us") == now': YES,
    'record.valid_from > now - longest && record.valid_from + duration("1h") > now': YES,
    'record.valid_to < now || record.valid_to - now < duration("1h")': UNKNOWN,
    'record.valid_from + duration("87660000h") > now': UNKNOWN,
    'now + duration("87660000h") > now': UNKNOWN,
    # Numbers.
    "attached_enis == 2147483647 && attached_enis + 1 == 2147483648": YES,
    "attached_enis * attached_enis * attached_enis > 0": UNKNOWN,
    "attached_enis / limit == 715827882 && -attached_enis / limit == -715827882": YES,
    "attached_enis % limit == 1 && -attached_enis % limit == -1": YES,
    "attached_enis / (limit - 3) == 0 || attached_enis % 0 == 0": UNKNOWN,
    "1 / 0 == 1": UNKNOWN,
    "limit > 2": YES,
}
EVERYTHING_CASES: dict[str, bool | None] = {
    "an_int64 + 1 > 0": UNKNOWN,
    "an_int64 + 0 == 9223372036854775807 && an_sint64 == -9223372036854775808": YES,
    "(an_int64 + 1) - 1 == an_int64": UNKNOWN,
    "(an_int64 + 1) % 2 == 0 || (an_int64 * 2) / 2 == 1": UNKNOWN,
    "-an_sint64 > 0 || an_sint64 / -1 > 0": UNKNOWN,
    "an_sint64 % -1 == 0": YES,
    "an_int64 * an_int64 * an_int64 * an_int64 * an_int64 == 1": UNKNOWN,
    "an_int64 - an_sint64 > 0 ? true : true": UNKNOWN,
    "an_int32 - 10 == -3 && an_int32 / -2 == -3 && an_int32 % -2 == 1": YES,
    "a_uint32 - 4u == 0u": UNKNOWN,
    "a_uint32 - 3u == 0u && a_uint32 * 2u == 6u && a_uint32 in [3u]": YES,
    "a_double / 0.0 > 1.0": UNKNOWN,
    "a_double * 1e308 * 10.0 > 1.0": UNKNOWN,
    "-(a_double * 1e308) * 10.0 > 1.0": UNKNOWN,
    "a_double + 0.5 == 2.0 && a_double / 3.0 == 0.5 && -a_double < 0.0": YES,
    'some_bytes == b"\\xff\\x00" && size(some_bytes) == 2 && some_bytes > b"a"': YES,
    "level == LEVEL_HIGH && level > LEVEL_LOW && has(level) && maybe_level == 1": UNKNOWN,
    "level == secmesh.sample.v1.Level.LEVEL_HIGH": YES,
    # Finer parts are cut off.
    'moment == timestamp("1970-01-01T00:00:01.000001Z")': YES,
    'length == duration("-1.000002s") && length < duration("-1.000001s")': YES,
    'moment + length == timestamp("1969-12-31T23:59:59.999999Z")': YES,
    'length < duration("0s") && length + duration("1.000002s") == duration("0s")': YES,
    "maybe_string == '' || maybe_bool": UNKNOWN,
    "a_string == '' && !a_bool && !has(a_string) && !has(a_bool) && !has(some_bytes)": NO,
    "a_string == '' && !a_bool && !has(a_string) && !has(a_bool)": YES,
    # Messages in messages.
    'nested.text == "in" && nested.ratio == 0.0 && has(nested.text)': YES,
    "has(nested.number) || has(nested.ratio) || has(nested.moment) || has(nested.big)": NO,
    "nested.number == 1": UNKNOWN,
    "nested.inner.exists(i, i.text == 'deep' && i.ratio > 0.25 && !has(i.level))": YES,
    "nested.inner[0].inner.all(i, false) && size(nested.inner[0].inner) == 0": YES,
    'nested.named["k"].number == 4 && nested.named.k.level == LEVEL_UNSPECIFIED': YES,
    'nested.named["z"].level == LEVEL_UNSPECIFIED': UNKNOWN,
    'has(nested.named["z"].number)': UNKNOWN,
    "chosen_nested.text == '' || chosen_nested.inner.exists(i, true)": UNKNOWN,
    "size(chosen_nested.inner) == 0": UNKNOWN,
    "has(chosen_nested.text) || has(chosen_nested.inner) || has(chosen_nested)": NO,
    "has(chosen_number) && chosen_number == 0 && !has(chosen_text)": YES,
    # Lists and maps of scalars.
    "int32s.exists(i, i == 3) && int32s[2] == 3 && 2 in int32s && !(4 in int32s)": YES,
    "int32s[3] == 1 || int32s[an_int32] == 1": UNKNOWN,
    "int32s.all(i, int32s.exists(j, i + j == 4))": YES,
    '"" in strings && strings.exists(s, s == "a") && !("b" in strings)': YES,
    "true in bools && bools.all(b, b) && bools[0]": YES,
    "levels.exists(l, l == LEVEL_LOW) && LEVEL_LOW in levels": YES,
    'moments[0] == timestamp("1970-01-01T00:00:01Z") && moments[0] in moments': YES,
    "-5 in numbers && numbers[-5] == 2.5 && numbers.exists(n, n < 0)": YES,
    "numbers[5] == 2.5": UNKNOWN,
    "4294967295 in numbers || 4294967295 in named_levels": NO,
    "named_levels[4294967295] == 1": UNKNOWN,
    "(an_int64 / 0 == 1 ? 1.5 : 2.5) + (1.0 / 0.0) > 1.0": UNKNOWN,
    "(a_bool ? 1.0 / 0.0 : 1.0 / 0.0) * 2.0 > a_double": UNKNOWN,
    "(a_bool ? 1 / 0 : 1 / 0) in int32s": UNKNOWN,
    'named["x"].yes && has(named.x.yes) && !has(named.x.why)': YES,
    "true in truths || false in truths": NO,
    "named_levels[-1] == LEVEL_HIGH": YES,
    'named_moments.then == timestamp("1970-01-01T00:00:01Z")': YES,
    'name == "tenants/acme/boxes/b1/everythings/e1" && has(name)': YES,
}


@pytest.fixture(scope="module")
def groups(module_database: str) -> Iterator[Database]:
    database = Database(INVENTORY, module_database)
    database.put("security_groups", group())
    yield database
    database.close()


@pytest.fixture(scope="module")
def everythings(module_database: str) -> Iterator[Database]:
    database = Database(sample_catalogue(), module_database)
    database.put("everythings", everything())
    yield database
    database.close()


@pytest.mark.parametrize(("text", "outcome"), GROUP_CASES.items())
def test_records(text: str, outcome: bool | None, groups: Database) -> None:
    record = group()
    condition = Environment.of_kind(INVENTORY.kinds["security_groups"], PARAMETERS).compile(text)
    assert condition.matches(record.security_group, record, VALUES) is outcome
    assert groups.ask("security_groups", condition, VALUES) is outcome
    # Reading must leave the message as it was.
    assert record == group()


@pytest.mark.parametrize(("text", "outcome"), EVERYTHING_CASES.items())
def test_every_type(text: str, outcome: bool | None, everythings: Database) -> None:
    condition = Environment.of_kind(sample_catalogue().kinds["everythings"]).compile(text)
    message = everything()
    assert condition.matches(message) is outcome
    assert everythings.ask("everythings", condition, {}) is outcome
    assert message == everything()


@pytest.mark.parametrize(
    ("text", "unread", "outcome"),
    [
        ("has(is_default)", "is_default", UNKNOWN),
        ("has(vpc_id)", "vpc_id", UNKNOWN),
        ("is_default", "is_default", UNKNOWN),
        ("is_default || attached_enis > 1", "is_default", YES),
        ("open_to_world.exists(r, r.from_port == 20)", "open_to_world", UNKNOWN),
        ("ingress.all(r, false)", "ingress", UNKNOWN),
        ("size(ingress) == 0", "ingress", UNKNOWN),
        ('"env" in tags', "tags", UNKNOWN),
        ('has(tags.env) || tags["env"] == "prod"', "tags", UNKNOWN),
        ('record.region == "eu-west-1" || has(record.region)', "record.region", UNKNOWN),
        ("is_default", "record.region", NO),
        # The envelope's name is not the body's.
        ("is_default", "record.is_default", NO),
    ],
)
def test_unread_fields_are_unknown(
    text: str, unread: str, outcome: bool | None, groups: Database
) -> None:
    record = group()
    condition = Environment.of_kind(INVENTORY.kinds["security_groups"], PARAMETERS).compile(text)
    assert condition.matches(record.security_group, record, VALUES, {unread}) is outcome
    assert groups.ask("security_groups", condition, VALUES, {unread}) is outcome


@pytest.mark.parametrize(
    "text", ["has(nested.text)", "has(nested.inner)", "nested.text == 'in'", "has(nested)"]
)
def test_parts_of_an_unread_message_are_unknown(text: str, everythings: Database) -> None:
    condition = Environment.of_kind(sample_catalogue().kinds["everythings"]).compile(text)
    assert condition.matches(everything()) is True
    assert condition.matches(everything(), unread={"nested"}) is None
    assert everythings.ask("everythings", condition, {}, {"nested"}) is None


def test_without_its_envelope_a_record_is_unknown_there() -> None:
    environment = Environment.of_kind(INVENTORY.kinds["iam_users"])
    user = iam_pb2.IamUser(username="ann")
    assert environment.compile('record.region == ""').matches(user) is None
    assert environment.compile("has(record.region)").matches(user) is None
    assert environment.compile('username == "ann" || record.region == ""').matches(user) is True


def test_a_condition_selects_rows_and_binds_every_value(groups: Database) -> None:
    kind = INVENTORY.kinds["security_groups"]
    table = groups.tables["security_groups"].table
    text = 'group_id == "x\'; --" || record.valid_from < now - longest || tags["k\'"] == "v\'"'
    condition = Environment.of_kind(kind, PARAMETERS).compile(text)
    compiled = condition.to_sql(TableColumns(table, kind), VALUES).compile()
    assert "'" not in str(compiled)
    # What no record decides is one value.
    day = datetime(2026, 1, 31, tzinfo=UTC).timestamp()
    assert int(day) * 1_000_000 in compiled.params.values()
    found = sa.select(table.c.id).where(condition.to_sql(TableColumns(table, kind), VALUES))
    assert "group_id = " in str(found)


@pytest.mark.parametrize(
    "text",
    [
        " + ".join(["an_int64"] * 15) + " > 0",
        "!(a_bool == (" * 8 + "maybe_bool" + "))" * 8,
        "((an_int64 * 3 == 1 ? an_int64 : 2) * 3 == 1 ? an_int64 : 2) > 0",
        "(" * 7 + "maybe_bool" + " in [a_bool, maybe_bool])" * 7,
        "nested.inner.exists(i, i.inner.all(j, j.ratio + i.ratio * j.ratio > 1.0))",
    ],
)
def test_statements_grow_with_the_condition_only(text: str, everythings: Database) -> None:
    """Doubling an operand anywhere would make these many times as long."""
    kind = sample_catalogue().kinds["everythings"]
    condition = Environment.of_kind(kind).compile(text)
    table, dialect = everythings.tables["everythings"].table, everythings.dialect
    columns = TableColumns(table, kind, dialect)
    assert len(str(condition.to_sql(columns, dialect=dialect))) < 40 * len(text)
    assert everythings.ask("everythings", condition, {}) is condition.matches(everything())


def _chain(before: str, middle: str, after: str) -> Callable[[int], str]:
    return lambda depth: before * depth + middle + after * depth


CHAINS: dict[str, Callable[[int], str]] = {
    "or": _chain("a_bool && (maybe_bool || ", "a_bool", ")"),
    "equal": _chain("a_bool == (", "a_bool", ")"),
    "equal, left": _chain("(", "a_bool", " == maybe_bool)"),
    "choice, last": _chain("a_bool ? maybe_bool : (", "a_bool", ")"),
    "choice, second": _chain("a_bool ? (", "a_bool", ") : maybe_bool"),
    "choice, first": _chain("(", "a_bool", " ? maybe_bool : a_bool)"),
    "not": _chain("!(a_bool && ", "maybe_bool", ")"),
    "int": lambda depth: f"{_chain('(an_int64 * ', 'an_int64', ')')(depth)} > 1",
    "int of choices": lambda depth: f"{_chain('(', 'an_int64', ' * 3 < 1 ? 7 : 8)')(depth)} > 1",
    "uint": lambda depth: f"{_chain('(a_uint32 - ', '1u', ')')(depth)} > 1u",
    "double": lambda depth: f"{_chain('(a_double / ', '2.0', ')')(depth)} > 1.0",
    "moment": lambda depth: f"{_chain('(length + ', 'length', ')')(depth)} > length",
    "text": lambda depth: f"{_chain('(a_string + ', 'a_string', ')')(depth)} > ''",
    "part": _chain("(", "a_bool", " ? a_string : 'b').startsWith('a')"),
    "in": _chain("(", "a_bool", " in [a_bool, maybe_bool])"),
    "in list": _chain("(", "a_bool", " in bools)"),
    "entry": _chain("(", "a_bool", " ? numbers[1] : numbers[an_int64]) > 1.0"),
    "size": lambda depth: f"size({_chain('(a_string + ', 'a_string', ')')(depth)}) > 1",
    "quantified": _chain("nested.inner.exists(i, i.ratio > 1.0 && (a_bool || ", "a_bool", "))"),
    "within": lambda depth: (
        "nesteds.exists(i, i.inner.all(j, "
        + _chain("j.number * (", "i.number", ")")(depth)
        + " > 1))"
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_whatever_compiles_runs(name: str, everythings: Database) -> None:
    """Parsers take a limited depth, in a statement that nests on its own too."""
    kind = sample_catalogue().kinds["everythings"]
    dialect = everythings.dialect
    columns = TableColumns(everythings.tables["everythings"].table, kind, dialect)
    deepest, last = 0, ""
    for depth in range(1, 33):
        try:
            condition = Environment.of_kind(kind).compile(CHAINS[name](depth))
        except FilterInvalid as refusal:
            last = refusal.message
            break
        deepest = depth
        everythings.ask_nested("everythings", condition.to_sql(columns, dialect=dialect))
    assert deepest >= 2
    assert "too deeply" in last or "at most 2 deep" in last
