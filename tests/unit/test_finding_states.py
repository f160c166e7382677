"""The declared lives of findings, walked at random, and how the declaration is held to account."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.contract.catalogue import load_catalogue
from mesh.errors import FieldInvalid
from secmesh.security.v1 import vocabulary_pb2
from services.security.errors import TransitionRefused
from services.security.findings.machine import (
    Machine,
    State,
    Step,
    declared_lives,
    finding_machines,
)

CATALOGUE = load_catalogue("secmesh.security.v1")
MACHINES = finding_machines(CATALOGUE)
LIVES = list(dict.fromkeys(MACHINES.values()))
NOW = 1_795_262_400_000_000
ENUM = vocabulary_pb2.FindingStatus.DESCRIPTOR
EVERYTHING = {"justification": "why", "expire_time": NOW + 1, "resolution": "A_RESOLUTION"}

lives = st.sampled_from(LIVES)


def step_into(state: State, **changes: Any) -> Step:
    """Give a step that has all that a state requires."""
    given = {name: value for name, value in EVERYTHING.items() if name in state.requires}
    return Step(state.name, **{**given, **changes})


def test_kinds_are_findings_by_their_status_alone() -> None:
    for collection, kind in CATALOGUE.record_kinds.items():
        field = kind.descriptor.fields_by_name.get("status")
        declared = field is not None and field.enum_type is not None
        lives = declared and field.enum_type.name in declared_lives()  # type: ignore[union-attr]  # declared says so
        assert (collection in MACHINES) == lives
    assert {"project_issues", "misconfigurations", "sast_issues"} <= MACHINES.keys()
    assert "incidents" not in MACHINES


@given(lives, st.data())
def test_every_walk_keeps_to_the_declaration(machine: Machine, data: st.DataObject) -> None:
    state = machine.states[data.draw(st.sampled_from(machine.first))]
    for wanted in data.draw(st.lists(st.sampled_from(sorted(machine.states)), max_size=30)):
        target = machine.states[wanted]
        if wanted in state.to:
            reached = machine.step(state, step_into(target), NOW)
            assert reached is target
            if state.closed and not reached.closed:
                assert reached is machine.reopened, "what was closed is open by reopening alone"
            state = reached
        else:
            with pytest.raises(TransitionRefused) as refused:
                machine.step(state, step_into(target), NOW)
            said = refused.value.metadata
            assert (said["from"], said["to"]) == (state.name, wanted)
            assert said["allowed"].split(",") == list(state.to)


@given(lives, st.data())
def test_a_step_without_what_it_requires_names_it(machine: Machine, data: st.DataObject) -> None:
    state = machine.states[data.draw(st.sampled_from(sorted(machine.states)))]
    target = machine.states[data.draw(st.sampled_from(state.to))]
    if not target.requires:
        assert machine.step(state, Step(target.name), NOW) is target
        return
    field = data.draw(st.sampled_from(sorted(target.requires)))
    lacking: Any = {"justification": " ", "expire_time": None, "resolution": ""}[field]
    with pytest.raises(FieldInvalid) as refused:
        machine.step(state, step_into(target, **{field: lacking}), NOW)
    (violation,) = refused.value.details[0].field_violations  # type: ignore[attr-defined]  # a BadRequest
    assert (violation.field, violation.reason) == (field, "REQUIRED")


@pytest.mark.parametrize("machine", LIVES)
def test_every_state_can_be_reached_and_left(machine: Machine) -> None:
    reached = set(machine.first)
    while more := {each for name in reached for each in machine.states[name].to} - reached:
        reached |= more
    assert reached == machine.states.keys()
    assert all(state.to for state in machine.states.values())
    for state in machine.states.values():
        assert not state.closed or machine.reopened.name in state.to


def test_what_a_status_has_no_use_for_is_refused() -> None:
    machine = MACHINES["project_issues"]
    current = machine.states["FINDING_STATUS_OPEN"]
    for field in ("expire_time", "resolution"):
        wanted = step_into(machine.states["FINDING_STATUS_RESOLVED"], **{field: EVERYTHING[field]})
        with pytest.raises(FieldInvalid, match=field):
            machine.step(current, wanted, NOW)


@pytest.mark.parametrize("expire_time", [NOW, NOW - 1])
def test_a_risk_is_accepted_for_time_to_come(expire_time: int) -> None:
    machine = MACHINES["project_issues"]
    assert machine.accepted is not None
    step = step_into(machine.accepted, expire_time=expire_time)
    with pytest.raises(FieldInvalid, match="future"):
        machine.step(machine.states["FINDING_STATUS_OPEN"], step, NOW)


def test_a_status_of_another_enum_is_named() -> None:
    machine = MACHINES["project_issues"]
    with pytest.raises(FieldInvalid, match="must be one of FINDING_STATUS_OPEN"):
        machine.step(machine.states["FINDING_STATUS_OPEN"], Step("SAST_ISSUE_STATUS_CLOSED"), NOW)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"NOWHERE": {"to": []}}, "FINDING_STATUS_NOWHERE is no value"),
        ({"OPEN": {"to": ["NOWHERE"]}}, "FINDING_STATUS_NOWHERE is no value"),
        ({"OPEN": {"requires": ["luck"]}}, "'luck' is nothing"),
        ({"OPEN": {"tO": ["RESOLVED"]}}, "'tO' is nothing"),
    ],
)
def test_a_declaration_that_is_not_of_the_contract_is_refused(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Machine(ENUM, {**declared_lives()["FindingStatus"], **changes})


def test_every_status_must_be_declared() -> None:
    declared = dict(declared_lives()["FindingStatus"])
    del declared["SUPPRESSED"]
    with pytest.raises(ValueError, match="no state is declared for FINDING_STATUS_SUPPRESSED"):
        Machine(ENUM, declared)
