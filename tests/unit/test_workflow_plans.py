"""What a workflow must be like to run, and when schedules are due."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from mesh.cel.expression import Expression, ExpressionFailed, ExpressionInvalid
from mesh.contract.catalogue import load_catalogue
from secmesh.security.v1.workflow_run_pb2 import WorkflowContent
from secmesh.security.v1.workflow_step_pb2 import WorkflowStep, WorkflowStepType
from services.security.errors import WorkflowInvalid
from services.security.workflows.actions import delay_ms
from services.security.workflows.activation import check
from services.security.workflows.plan import Plan
from services.security.workflows.schedule import Schedule, ScheduleInvalid

KINDS = load_catalogue("secmesh.security.v1").record_kinds
NAME = "tenants/acme/workflows/w"
WAIT = {"key": "a", "wait": {"seconds": 1}}
_TYPES = {"action": "ACTION", "wait": "WAIT", "approval": "APPROVAL", "http": "HTTP"}
_TYPES |= {"notification": "NOTIFICATION", "subworkflow": "SUBWORKFLOW"}


def content(*steps: Mapping[str, Any], **workflow: Any) -> WorkflowContent:
    made = WorkflowContent()
    ParseDict({"trigger_type": "WORKFLOW_TRIGGER_MANUAL", **workflow}, made.workflow)
    for place, step in enumerate(steps):
        rest = dict(step)
        parts = [each for each in (*_TYPES, "branch") if each in rest]
        kind = rest.pop("type", _TYPES.get(parts[0], "") if parts else "")
        config = {each: rest.pop(each) for each in parts}
        written = {
            "sort_order": place,
            "step_type": f"WORKFLOW_STEP_TYPE_{kind}",
            "config": config,
            "on_failure": "FAILURE_POLICY_FAIL",
            **rest,
        }
        ParseDict(written, made.steps.add(name=f"tenants/acme/workflow_steps/{place}").step)
    return made


def checked(*steps: Mapping[str, Any], **workflow: Any) -> None:
    check(NAME, Plan.of(content(*steps, **workflow)), KINDS)


def action(operation: str = "record.get", **arguments: str) -> dict[str, Any]:
    return {"key": "a", "action": {"operation": operation, "arguments": arguments}}


def branch(kind: str, key: str = "b", **config: Any) -> dict[str, Any]:
    return {"key": key, "type": kind, "branch": config}


def event(**config: str) -> dict[str, Any]:
    return {"trigger_type": "WORKFLOW_TRIGGER_EVENT", "trigger_config": config}


def clock(**config: str) -> dict[str, Any]:
    return {"trigger_type": "WORKFLOW_TRIGGER_SCHEDULE", "trigger_config": config}


HTTP = {"key": "a", "integration_id": "tenants/acme/external_integrations/i"}
REFUSED: list[tuple[tuple[Mapping[str, Any], ...], Mapping[str, Any], str]] = [
    ((), {}, "0 steps"),
    ((WAIT, WAIT), {}, "the key of another"),
    (({**WAIT, "type": "APPROVAL"},), {}, "needs its part approval"),
    (({"key": "a", "wait": {}},), {}, "how many seconds"),
    (({**WAIT, "depends_on": ["z"]},), {}, "'z' that there is not"),
    (({**WAIT, "depends_on": ["a"]},), {}, "waits for itself"),
    (
        (
            WAIT,
            {**WAIT, "key": "c", "depends_on": ["d"]},
            {**WAIT, "key": "d", "depends_on": ["c"]},
        ),
        {},
        "waits for itself by way of c, d",
    ),
    (({**WAIT, "condition_expression": "nothing"},), {}, "condition_expression"),
    (({**WAIT, "condition_expression": "1 +"},), {}, "condition_expression"),
    ((WAIT,), {"definition": {"outputs": {"o": "foo.bar"}}}, "output o"),
    ((WAIT,), {"definition": {"first_steps": ["b"]}}, "first_steps"),
    ((WAIT,), {"definition": {"parameters": [{"key": "n", "type": "number"}]}}, "parameter n"),
    ((WAIT,), {"definition": {"parameters": [{"key": "n"}, {"key": "n"}]}}, "parameter 'n'"),
    ((action("shell.run"),), {}, "'shell.run' is none of"),
    ((action(),), {}, "needs name"),
    ((action(name="'x'", other="1"),), {}, "takes no other"),
    ((action(name="1 +"),), {}, "argument name"),
    (({"key": "a", "http": {"method": "GET", "path": "/"}},), {}, "integration_id"),
    (({**HTTP, "http": {"method": "TRACE", "path": "/"}},), {}, "method"),
    (({**HTTP, "http": {"method": "GET", "path": "/../x"}},), {}, "path"),
    (({**HTTP, "http": {"method": "GET", "path": "/", "headers": {"Host": "x"}}},), {}, "'Host'"),
    (({"key": "a", "notification": {"text": "'x'"}},), {}, "integration_id"),
    (({"key": "a", "approval": {}},), {}, "asks nobody"),
    (({"key": "a", "approval": {"users": ["u", "u"], "needed": 2}},), {}, "more yeses"),
    (
        ({"key": "a", "subworkflow": {"workflow": "tenants/beta/workflows/w"}},),
        {},
        "no workflow of",
    ),
    ((branch("LOOP", expression="[]"),), {}, "does no steps"),
    ((branch("LOOP", expression="[]", steps=["z"]),), {}, "'z' that there is not"),
    ((WAIT, branch("PARALLEL", steps=["a"], expression="x")), {}, "no use for an expression"),
    ((WAIT, branch("PARALLEL", steps=["a"], rounds=3)), {}, "no use for rounds"),
    ((WAIT, branch("LOOP", steps=["a"], expression="[]", otherwise=["a"])), {}, "is done by"),
    (
        (WAIT, branch("PARALLEL", steps=["a"]), branch("PARALLEL", "c", steps=["a"])),
        {},
        "is done by b and by c",
    ),
    (
        (
            WAIT,
            branch("PARALLEL", steps=["a"]),
            {"key": "c", "wait": {"seconds": 1}, "depends_on": ["a"]},
        ),
        {},
        "not beside it",
    ),
    (
        (branch("PARALLEL", "b", steps=["c"]), branch("PARALLEL", "c", steps=["b"])),
        {},
        "waits for itself",
    ),
    (
        (
            {**HTTP, "http": {"method": "POST", "path": "/"}},
            {"key": "z", "wait": {"seconds": 1}, "on_failure": "FAILURE_POLICY_COMPENSATE"},
        ),
        {},
        "cannot be undone",
    ),
    ((WAIT,), clock(cron="* * * *"), "five fields"),
    ((WAIT,), clock(cron="61 * * * *"), "five fields"),
    ((WAIT,), clock(cron="0 0 30 2 *"), "cron"),
    ((WAIT,), clock(cron="0 0 * * *", timezone="Mars/Olympus"), "timezone"),
    ((WAIT,), clock(cron="0 0 * * *", timezone="../../etc/passwd"), "timezone"),
    ((WAIT,), event(collection="gadgets"), "'gadgets'"),
    ((WAIT,), event(collection="incidents", condition="colour == 1"), "trigger_config.condition"),
    (
        (WAIT,),
        {
            **event(collection="incidents"),
            "definition": {"parameters": [{"key": "n", "required": True}]},
        },
        "nobody gives",
    ),
]


@pytest.mark.parametrize(("steps", "workflow", "problem"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_cannot_run_is_refused_by_name(
    steps: tuple[Mapping[str, Any], ...], workflow: Mapping[str, Any], problem: str
) -> None:
    with pytest.raises(WorkflowInvalid) as error:
        checked(*steps, **workflow)
    assert problem in error.value.message
    assert error.value.metadata["problem"] in error.value.message


def test_every_type_of_step_can_run() -> None:
    steps = [
        WAIT,
        {**action(name="'x'"), "key": "c"},
        {**action(name="'x'"), "key": "s", "type": "SCRIPT"},
        {**HTTP, "key": "h", "http": {"method": "POST", "path": "/x?y=1", "body": "input"}},
        {**HTTP, "key": "n", "notification": {"channel": "#a", "text": "'x'"}},
        {"key": "p", "approval": {"users": ["u"]}},
        {"key": "w", "subworkflow": {"workflow": "tenants/acme/workflows/x"}},
        branch("CONDITION", "i", expression="true", steps=["a"], otherwise=["c"]),
        branch("LOOP", "l", expression="[1]", steps=["s"], rounds=3),
        branch("PARALLEL", "q", steps=["h", "n"]),
    ]
    checked(*steps, **event(collection="incidents", condition="severity >= SEVERITY_HIGH"))
    kinds = {
        WorkflowStep(step_type=each.step.step_type).step_type for each in content(*steps).steps
    }
    assert kinds == set(WorkflowStepType.values()) - {0}


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("cron", "zone", "after", "due"),
    [
        ("0 * * * *", "", "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-01-01T00:00:00+00:00", "2026-01-01T01:30:00+00:00"),
        (
            "0 9 * * 1-5",
            "America/New_York",
            "2026-07-03T14:00:00+00:00",
            "2026-07-06T13:00:00+00:00",
        ),
        ("0 0 29 2 *", "", "2026-01-01T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_schedules_are_due_in_their_zone(cron: str, zone: str, after: str, due: str) -> None:
    assert Schedule(cron, zone).after(moment(after)) == moment(due)


@given(st.integers(1_500_000_000, 2_500_000_000))
def test_the_last_due_time_is_the_one_before_the_next(seconds: int) -> None:
    schedule, present = Schedule("*/7 3 * * *", "Europe/Berlin"), seconds * 1_000_000
    last, later = schedule.last(present), schedule.after(present)
    assert later is not None
    assert last <= present < later
    assert schedule.after(last) == later


def test_what_is_no_schedule_is_refused() -> None:
    for cron in ("", "@daily", "* * * * * *", "a b c d e"):
        with pytest.raises(ScheduleInvalid):
            Schedule(cron)


@given(
    st.integers(1, 100), st.integers(0, 86_400_000), st.floats(1, 10), st.integers(0, 86_400_000)
)
def test_delays_grow_and_are_bounded(made: int, first: int, factor: float, most: int) -> None:
    step = WorkflowStep()
    policy = step.retry_policy
    policy.initial_delay_ms, policy.multiplier, policy.max_delay_ms = first, factor, most
    assert 0 <= delay_ms(policy, made) <= most
    assert delay_ms(policy, made) <= delay_ms(policy, made + 1)


VARIABLES = frozenset({"input"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.n + 1", 4),
        ("input.items.map(each, each * 2)", [2, 4]),
        ("{'a': input.text + '!', 'b': null}", {"a": "x!", "b": None}),
        ("has(input.none) ? 1 : 2", 2),
        ("duration('90s')", "90s"),
        ("timestamp('2026-01-01T00:00:00Z')", "2026-01-01T00:00:00Z"),
    ],
)
def test_expressions_give_json(text: str, value: Any) -> None:
    given = {"n": 3, "items": [1, 2], "text": "x"}
    assert Expression.of(text, VARIABLES).value({"input": given}) == value


@pytest.mark.parametrize("text", ["input.none", "1 / 0", "{1: 2}", "b'x'", "input.n + 'x'"])
def test_expressions_without_a_value_say_so(text: str) -> None:
    with pytest.raises(ExpressionFailed):
        Expression.of(text, VARIABLES).value({"input": {"n": 3}})


def test_a_value_that_no_record_can_hold_is_none() -> None:
    for text in ("'a' + '\\x00'", "{'\\x00': 1}"):
        with pytest.raises(ExpressionFailed, match="NUL"):
            Expression.of(text, VARIABLES).value({})
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert Expression.of("input", VARIABLES).value({"input": deep}) == deep
    with pytest.raises(ExpressionFailed, match="deeper"):
        Expression.of("[input]", VARIABLES).value({"input": deep})


def test_expressions_are_bounded() -> None:
    with pytest.raises(ExpressionInvalid):
        Expression.of("1" * 9000, VARIABLES)
    many = {"input": {"items": list(range(300))}}
    deep = "input.items.all(a, input.items.all(b, input.items.all(c, a + b + c >= 0)))"
    with pytest.raises(ExpressionFailed):
        Expression.of(deep, VARIABLES).value(many)
    large = {"input": {"text": "x" * 200_000}}
    with pytest.raises(ExpressionFailed, match="more than"):
        Expression.of("[input.text, input.text]", VARIABLES).value(large)
