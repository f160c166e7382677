"""The evaluator of IAM policies: each rule of the user guide, and properties over many policies."""

import fnmatch
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tenancy.policy.conditions import Condition, PolicyInvalid
from services.tenancy.policy.document import Policy, Request, read_policy
from services.tenancy.policy.patterns import (
    Context,
    VariableAbsent,
    literal,
    matches,
    matches_arn,
)

TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/threat-engine-accounts"
TENANT = "${aws:PrincipalTag/tenant_id}"
ACME: Context = {"aws:principaltag/tenant_id": ("acme",)}
WORDS = st.text("ab*?:$", max_size=12)


def policy(*statements: dict[str, Any]) -> Policy:
    return read_policy(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def statement(sid: str = "One", effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Sid": sid, "Effect": effect, "Action": "*", "Resource": "*"} | elements


def leading(*keys: str) -> Context:
    return {"dynamodb:leadingkeys": keys} if keys else {}


@given(WORDS, st.text("ab:", max_size=12))
def test_wildcards_are_those_of_shells(pattern: str, value: str) -> None:
    assert matches(pattern, value, {}) is fnmatch.fnmatchcase(value, pattern)


@given(WORDS)
def test_a_variable_s_value_is_no_pattern(value: str) -> None:
    """A tag of a star does not open what belongs to others."""
    context = {"aws:principaltag/tenant_id": (value,)}
    assert matches(TENANT, value, context)
    assert literal(TENANT, context) == value
    assert not matches(TENANT, value + "b", context)
    assert not matches(TENANT, "x" + value, context)


def test_signs_and_defaults_of_variables() -> None:
    assert matches("a${*}${?}${$}", "a*?$", {})
    assert not matches("a${*}", "ab", {})
    assert literal("${aws:PrincipalTag/team, 'none'}", {}) == "none"
    assert literal("${aws:PrincipalTag/team, 'none'}", {"aws:principaltag/team": ("t",)}) == "t"
    with pytest.raises(VariableAbsent, match="team"):
        literal("${aws:PrincipalTag/team}", {})


@pytest.mark.parametrize(
    ("pattern", "meets"),
    [
        (TABLE, True),
        ("*", True),
        ("arn:aws:dynamodb:*:*:table/threat-engine-*", True),
        ("arn:aws:dynamodb:eu-west-?:111122223333:table/threat-engine-account?", True),
        # A star that ends a part reaches over colons, one within it does not.
        ("arn:aws:dynamodb:*:table/threat-engine-accounts", False),
        ("arn:*:table/threat-engine-accounts", False),
        ("arn:aws:dynamodb:eu*1:111122223333:table/*", True),
        ("arn:aws:dyn*b:1:111122223333:table/*", False),
        ("arn:aws:dynamodb:eu-west-2:*:table/*", False),
        ("arn:aws:dynamodb:*:*:table/threat-engine-accounts/index/*", False),
        ("arn:aws:DynamoDB:*:*:table/*", False),
        ("dynamodb", False),
    ],
)
def test_arns_are_met_part_by_part(pattern: str, meets: bool) -> None:
    assert matches_arn(pattern, TABLE, {}) is meets


def test_an_arn_with_a_tag_in_it() -> None:
    pattern = f"arn:aws:secretsmanager:*:*:secret:engine/{TENANT}/*"
    arn = "arn:aws:secretsmanager:eu-west-1:1:secret:engine/acme/x-AbCdEf"
    assert matches_arn(pattern, arn, ACME)
    assert not matches_arn(pattern, arn, {"aws:principaltag/tenant_id": ("acm*",)})


def test_what_nothing_allows_is_denied_and_a_denial_wins() -> None:
    request = Request("dynamodb:GetItem", TABLE)
    assert policy(statement()).allows(request)
    assert not policy(statement(Action="s3:*")).allows(request)
    both = policy(statement(), statement("No", "Deny", Action="dynamodb:Get*"))
    decision = both.decide(request)
    assert (decision.allowed, decision.statements) == (False, ("No",))
    assert both.allows(Request("dynamodb:PutItem", TABLE))


def test_actions_have_no_case_and_resources_have() -> None:
    made = policy(statement(Action="DynamoDB:getitem", Resource=TABLE))
    assert made.allows(Request("dynamodb:GetItem", TABLE))
    assert not made.allows(Request("dynamodb:GetItem", TABLE.upper()))


def test_negated_elements_cover_all_else() -> None:
    made = policy(
        statement(), {"Sid": "No", "Effect": "Deny", "NotAction": "a:*", "NotResource": TABLE}
    )
    assert made.allows(Request("a:b", "arn:aws:x:y:z:w"))
    assert made.allows(Request("c:d", TABLE))
    assert not made.allows(Request("c:d", "arn:aws:x:y:z:w"))


@pytest.mark.parametrize(
    ("operator", "wanted", "values", "holds"),
    [
        ("StringEquals", ["a", "b"], ("b",), True),
        ("StringEquals", ["a*"], ("ab",), False),
        ("StringEquals", ["a"], (), False),
        ("StringEqualsIfExists", ["a"], (), True),
        ("StringNotEquals", ["a"], ("b",), True),
        ("StringNotEquals", ["a", "b"], ("b",), False),
        ("StringNotEquals", ["a"], (), True),
        ("StringEqualsIgnoreCase", ["A"], ("a",), True),
        ("StringNotEqualsIgnoreCase", ["A"], ("a",), False),
        ("StringLike", ["a*"], ("ab",), True),
        ("StringNotLike", ["a*"], ("ab",), False),
        ("Bool", ["true"], ("True",), True),
        ("Null", ["true"], (), True),
        ("Null", ["false"], (), False),
        ("Null", ["false"], ("a",), True),
        ("NumericLessThanEquals", ["30"], ("30",), True),
        ("NumericLessThanEquals", ["30"], ("31",), False),
        ("NumericGreaterThan", ["7"], ("7",), False),
        ("ArnLike", ["arn:aws:iam::*:role/x"], ("arn:aws:iam::1:role/x",), True),
        ("ArnNotLike", ["arn:aws:iam::*:role/x"], ("arn:aws:iam::1:role/y",), True),
        # What every policy with LeadingKeys must know: no keys at all satisfies it.
        ("ForAllValues:StringLike", ["a#*"], (), True),
        ("ForAllValues:StringLike", ["a#*"], ("a#1", "a#2"), True),
        ("ForAllValues:StringLike", ["a#*"], ("a#1", "b#2"), False),
        ("ForAnyValue:StringLike", ["a#*"], (), False),
        ("ForAnyValue:StringLike", ["a#*"], ("b#1", "a#2"), True),
    ],
)
def test_condition_operators(
    operator: str, wanted: list[str], values: tuple[str, ...], holds: bool
) -> None:
    context = {"service:key": values} if values else {}
    assert Condition(operator, "Service:Key", tuple(wanted)).holds(context) is holds


def test_an_absent_tag_allows_nothing_and_does_not_stop_a_denial() -> None:
    key = {"aws:ResourceTag/tenant_id": TENANT}
    allowing = policy(statement(Condition={"StringEquals": key}))
    denying = policy(statement(), statement("No", "Deny", Condition={"StringNotEquals": key}))
    of_acme = Request("a:b", TABLE, {"aws:resourcetag/tenant_id": ("acme",)})
    for each in (allowing, denying):
        assert each.allows(of_acme.also(ACME))
        assert not each.allows(of_acme)
        assert not each.allows(of_acme.also({"aws:principaltag/tenant_id": ("umbrella",)}))


@given(st.lists(st.sampled_from(["acme", "acme#1", "acme2", "umbrella", "umbrella#acme", "#acme"])))
def test_leading_keys_are_those_of_the_tenant(keys: list[str]) -> None:
    condition = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [TENANT, f"{TENANT}#*"]}}
    made = policy(statement(Condition=condition))
    own = all(key == "acme" or key.startswith("acme#") for key in keys)
    assert made.allows(Request("dynamodb:Query", TABLE, {**leading(*keys), **ACME})) is own
    # Without the tag only who names no key gets in: so policies deny that as well.
    assert made.allows(Request("dynamodb:Query", TABLE, leading(*keys))) is (not keys)


SIDS = st.lists(st.sampled_from("ABCDEF"), unique=True, max_size=5)
ACTIONS = st.sampled_from(["a:b", "a:*", "*", "c:d", "a:?"])


@given(SIDS, st.data())
def test_a_denial_more_allows_nothing_more(sids: list[str], data: st.DataObject) -> None:
    statements = [
        statement(sid, data.draw(st.sampled_from(["Allow", "Deny"])), Action=data.draw(ACTIONS))
        for sid in sids
    ]
    request = Request(data.draw(st.sampled_from(["a:b", "c:d", "e:f"])), TABLE)
    before = policy(*statements)
    assert not policy(*statements, statement("Z", "Deny", Action=data.draw(ACTIONS))).allows(
        request
    ) or before.allows(request)
    assert before.allows(request) <= policy(*statements, statement("Z")).allows(request)
    # The order says nothing.
    assert before.allows(request) is policy(*reversed(statements)).allows(request)


def test_statements_that_no_request_needs_are_named() -> None:
    made = policy(
        statement("Read", Action="a:Get"),
        statement("Write", Action="a:Put"),
        statement("No", "Deny", Action="a:Drop"),
    )
    assert made.unused([Request("a:Get", TABLE)]) == {"Write"}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"Effect": "allow"}, "One: Effect"),
        ({"Acton": "a:b"}, "One: Acton"),
        ({"Principal": "*"}, "One: Principal"),
        ({"NotAction": "a:b"}, "One: Action or NotAction"),
        ({"Action": []}, "One: an empty list"),
        ({"Resource": {"Ref": "Table"}}, "One: dict in place of a text"),
        ({"Condition": {"StringMatches": {"a": "b"}}}, "condition StringMatches of a"),
        ({"Condition": {"ForSome:StringLike": {"a": "b"}}}, "condition ForSome:StringLike"),
        ({"Condition": {"ForAllValues:Null": {"a": "true"}}}, "condition ForAllValues:Null"),
        ({"Condition": {"Null": {"a": "yes"}}}, "condition Null of a"),
        ({"Condition": {"StringEquals": "a"}}, "One: StringEquals has no keys"),
    ],
)
def test_what_is_not_understood_is_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(PolicyInvalid, match=f"^{re.escape(named)}"):
        policy(statement(**changed))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not JSON"),
        ("[]", "a policy is Version and Statement"),
        ('{"Version": "2008-10-17", "Statement": []}', "Version is not 2012-10-17"),
        ('{"Version": "2012-10-17", "Statements": []}', "a policy is Version and Statement"),
        ('{"Version": "2012-10-17"}', "statement 1 is no object"),
    ],
)
def test_documents_that_are_none_are_refused(text: str, named: str) -> None:
    with pytest.raises(PolicyInvalid, match=named):
        read_policy(text)


def test_two_statements_of_one_name_are_refused() -> None:
    with pytest.raises(PolicyInvalid, match="one Sid"):
        policy(statement(), statement())
