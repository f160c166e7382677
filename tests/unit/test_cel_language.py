"""What conditions may say, and where a refusal points."""

import pytest

from mesh.cel import CelType, Condition, Environment
from mesh.contract.catalogue import load_catalogue
from mesh.errors import FilterInvalid
from mesh.sql.document import is_askable
from secmesh.inventory.v1 import ec2_pb2
from tests.unit.sql_contract import compile_contract, new, sample_catalogue

INVENTORY = load_catalogue("secmesh.inventory.v1")
GROUPS = INVENTORY.kinds["security_groups"]
AWKWARD = """
syntax = "proto3";
package secmesh.awkward.v1;
import "secmesh/options/v1/kind.proto";

enum Mood {
  MOOD_UNSPECIFIED = 0;
  MOOD_GOOD = 1;
}
message Record {
  string name = 1;
  oneof body {
    Thing thing = 100;
  }
}
// Its fields have names that CEL keeps for itself.
message Thing {
  option (secmesh.options.v1.kind) = {module: "awkward" collection: "things"};
  optional string type = 1;
  optional string package = 2;
  repeated string list = 3;
  optional int32 size = 4;
  optional Mood mood = 5;
  optional int32 has = 6;
}
"""


def compiled(text: str) -> Condition:
    parameters = {"now": CelType.TIMESTAMP, "limit": CelType.INT}
    return Environment.of_kind(GROUPS, parameters).compile(text)


def refusal(text: str) -> tuple[str, int, int]:
    with pytest.raises(FilterInvalid) as caught:
        compiled(text)
    metadata = caught.value.metadata
    return caught.value.message, int(metadata["line"]), int(metadata["column"])


@pytest.mark.parametrize(
    ("text", "problem", "line", "column"),
    [
        ('attached_enis == "a"', "no matching overload for '==' applied to '(int, string)'", 1, 15),
        ("attached_enis", "is int, not bool", 1, 1),
        ("nope == 1", "undeclared reference to 'nope'", 1, 1),
        ("unused && nope(1)", "undeclared reference to 'nope'", 1, 11),
        ("ingress.exists(r, r.nope == 1)", "undefined field 'nope'", 1, 20),
        ("unused &&", "Syntax error", 1, 10),
        ("", "Syntax error", 1, 1),
        ("unused &&\n  is_default &&\n  vpc_id", "no matching overload", 2, 14),
        ('vpc_id == "😀" && nope', "undeclared reference to 'nope'", 1, 18),
        # has() is rewritten before CEL sees it; positions must not show it.
        ("has(vpc_id) && nope", "undeclared reference to 'nope'", 1, 16),
        ("has(vpc_id) &&\nhas( group_id ) && has(vpc_id) && nope", "'nope'", 2, 35),
        ("has(nope)", "has() argument must be a field selection", 1, 5),
        ("has(limit)", "has() argument must be a field selection", 1, 5),
        ('has("vpc_id") || has(vpc_id)', "has() argument must be a field selection", 1, 5),
        ('vpc_id.matches("a")', "'matches' cannot be used", 1, 8),
        ("unused && size(string(attached_enis)) > 1", "'string' cannot be used", 1, 16),
        ("now.getFullYear() == 2026", "'getFullYear' cannot be used", 1, 5),
        ("ingress.exists_one(r, r.from_port == 1)", "'exists_one' cannot be used", 1, 9),
        ("size(ingress.filter(r, true)) == 0", "'filter' cannot be used", 1, 14),
        ("size(ingress.map(r, 1)) == 0", "'map' cannot be used", 1, 14),
        ("unused ||\n ingress == egress", "'==' takes scalars, not list(", 2, 10),
        ("record.valid_to == null", "null is no value", 1, 20),
        ("record.security_group.unused", "undefined field 'security_group'", 1, 7),
        ("record == record", "'record' is no value", 1, 1),
        ('timestamp("yesterday") < now', "this is no timestamp", 1, 11),
        ('duration("1d") < duration("1h")', "this is no duration", 1, 10),
        ("timestamp(vpc_id) < now", "timestamp() takes a text literal", 1, 1),
        ('vpc_id == "a\\u0000"', "cannot hold the character NUL", 1, 11),
        ("tags.exists(vpc_id, true)", "'vpc_id' hides a name of the record", 1, 6),
        ("{'a': 1}['a'] == 1", "objects cannot be written", 1, 1),
        ("attached_enis in [1, 1.0]", "scalars of one type", 1, 18),
        ("9223372036854775808u == 1u", "the number is too large", 1, 1),
        ("__body.unused", "undeclared reference to '__body'", 1, 1),
        (
            "ingress.exists(a, egress.exists(b, tags.exists(c, true)))",
            "at most 2 deep",
            1,
            41,
        ),
    ],
)
def test_a_refusal_says_what_and_where(text: str, problem: str, line: int, column: int) -> None:
    message, at_line, at_column = refusal(text)
    assert problem in message
    assert (at_line, at_column) == (line, column)
    assert message.startswith(f"filter:{line}:{column}: ")
    # Nothing of the rewriting or of the library shows.
    assert text == "__body.unused" or "__body" not in message
    assert "<input>" not in message
    assert "container" not in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("unused " * 1500, "more than 4096 characters"),
        ("(" * 2000 + "unused" + ")" * 2000, "nested too deeply"),
        ("unused == (" * 31 + "unused" + ")" * 31, "nested too deeply"),
        ("-" * 1 + "-(" * 33 + "limit" + ")" * 33 + " == 1", "nested too deeply"),
        (" + ".join(["attached_enis"] * 40) + " > 1", "nested too deeply"),
        (" && ".join(["unused"] * 400), "more than 512 parts"),
    ],
)
def test_limits(text: str, problem: str) -> None:
    assert problem in refusal(text)[0]


def test_a_long_flat_condition_is_taken() -> None:
    text = " || ".join(f'vpc_id == "vpc-{place}"' for place in range(100))
    assert compiled(text).fields == {"vpc_id"}


@pytest.mark.parametrize(
    "text",
    [
        r'vpc_id == "has(vpc_id)"',
        r'vpc_id == "a\"has(vpc_id)"',
        r"vpc_id == r'\has(vpc_id)'",
        '''vpc_id == """has(vpc_id)\n"has(vpc_id)" """''',
        "vpc_id == '''it's has(vpc_id)'''",
        'vpc_id == "" // has(vpc_id)',
        "vpc_id == R\"has(vpc_id)\"\n  || vpc_id == 'b'",
    ],
)
def test_text_and_comments_are_left_alone(text: str) -> None:
    # Rewritten text would be longer, so what it is compared with would change.
    condition = compiled(text)
    assert condition.fields == {"vpc_id"}
    held = ["has(vpc_id)", 'a"has(vpc_id)', "\\has(vpc_id)", 'has(vpc_id)\n"has(vpc_id)" ']
    held += ["it's has(vpc_id)", ""]
    assert [condition.matches(group(vpc_id=each)) for each in held].count(True) == 1
    assert condition.matches(group()) is None


def group(**values: object) -> ec2_pb2.SecurityGroup:
    made = ec2_pb2.SecurityGroup()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_fields_are_what_it_reads() -> None:
    condition = compiled(
        "has(vpc_id) && record.region == 'a' && ingress.exists(r, r.from_port == limit)"
        " || has(record.arn) || tags.exists(key, tags[key] == '')"
    )
    assert condition.fields == {"vpc_id", "record.region", "record.arn", "ingress", "tags"}


def test_secrets_cannot_be_asked() -> None:
    vaults = Environment.of_kind(sample_catalogue().kinds["vaults"])
    assert vaults.compile('owner == "a" && size == 3 && size(keys) == 1').fields == {
        "owner",
        "size",
        "keys",
    }
    for text in (
        'password == "a"',
        "has(password)",
        'password.startsWith("a")',
        'main_key.material == b"a"',
        "has(main_key.material)",
        "keys.exists(key, has(key.material))",
        'has(named_keys["a"].material)',
        "has(record.vault.password)",
    ):
        with pytest.raises(FilterInvalid):
            vaults.compile(text)


def test_what_storage_keeps_opaque_can_only_be_asked_for() -> None:
    everythings = Environment.of_kind(sample_catalogue().kinds["everythings"])
    for text in ("has(status)", "has(nested.status)", "has(nested.big)", "has(nested.raw)"):
        assert everythings.compile(text).fields
    for text in (
        "status.code == 1",
        "has(status.code)",
        "nested.big == 1u",
        'nested.raw == b""',
        "1u in uint64s",
        'byte_strings[0] == b""',
        "statuses.exists(each, has(each.code))",
        "truths[true] == b''",
        "size(nested.raw) == 1",
    ):
        with pytest.raises(FilterInvalid):
            everythings.compile(text)


def test_names_that_cel_keeps_for_itself() -> None:
    catalogue = compile_contract("cel_awkward.proto", AWKWARD, "secmesh.awkward.v1")
    environment = Environment.of_kind(catalogue.kinds["things"])
    thing = new("things", catalogue).thing
    thing.type, thing.size, thing.mood = "a", 2, 1
    thing.has = 3
    thing.list.append("x")
    for text, outcome in {
        'type == "a"': True,
        "has(type) && !has(package)": True,
        'package == "b"': None,
        'list.exists(each, each == "x") && size(list) == 1 && size == 2': True,
        'type == "type" || "list" in list': False,
        "mood == MOOD_GOOD && mood == secmesh.awkward.v1.Mood.MOOD_GOOD": True,
        "has == 3 && has(has)": True,
    }.items():
        assert environment.compile(text).matches(thing) is outcome, text
    with pytest.raises(FilterInvalid) as caught:
        environment.compile('type == "a" && nope')
    assert caught.value.metadata["column"] == "16"


def test_parameters_are_checked() -> None:
    condition = compiled("attached_enis < limit")
    used = group(attached_enis=1)
    assert condition.matches(used, parameters={"limit": 2, "not used": object()}) is True
    assert condition.matches(used, parameters={"limit": None}) is None
    with pytest.raises(KeyError, match="limit"):
        condition.matches(used)
    for wrong in ("2", 2.0, True):
        with pytest.raises(TypeError, match="limit"):
            condition.matches(used, parameters={"limit": wrong})
    with pytest.raises(ValueError, match="out of range"):
        condition.matches(used, parameters={"limit": 2**63})
    for name in ("vpc_id", "record", "type", "READ_OUTCOME_DENIED"):
        with pytest.raises(ValueError, match=name):
            Environment.of_kind(GROUPS, {name: CelType.INT})


def test_environments_are_made_once() -> None:
    parameters = {"now": CelType.TIMESTAMP, "limit": CelType.INT}
    turned = dict(reversed(parameters.items()))
    environment = Environment.of_kind(GROUPS, parameters)
    assert environment is Environment.of_kind(GROUPS, turned)
    assert environment is not Environment.of_kind(GROUPS)
    assert environment.compile("unused") is environment.compile("unused")


def test_every_kind_has_an_environment() -> None:
    for kind in INVENTORY.kinds.values():
        for each in filter(is_askable, kind.descriptor.fields):
            assert Environment.of_kind(kind).compile(f"has({each.name})").fields == {each.name}
