"""Controls as an OSCAL component definition: valid, the same each time, and read back whole."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import FieldInvalid
from secmesh.inventory.v1 import check_pb2, control_pb2
from services.inventory.controls.component_definition import component_definition
from services.inventory.controls.component_import import read_controls
from services.inventory.controls.control_rules import settled
from services.inventory.controls.control_store import content
from tests.unit.oscal_rules import obeying, props

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=80)
PARAMETERS = st.builds(
    check_pb2.CheckParameter,
    variable=st.sampled_from(["days", "most"]),
    default_value=st.integers(-(2**40), 2**40),
    direction=st.sampled_from([1, 2]),
    unit=st.sampled_from([1, 2]),
    fedramp_moderate_value=st.none() | st.integers(0, 400),
)
CHECKS = st.builds(
    check_pb2.Check,
    title=st.text("abc xyz", min_size=1, max_size=40)
    .map(str.strip)
    .filter(bool)
    .map(lambda text: " ".join(text.split())),
    collection=st.just("s3_buckets"),
    scope=st.sampled_from([1, 2, 3]),
    quantifier=st.sampled_from([0, 1, 2, 3]),
    applies=st.just("") | TEXT,
    condition=TEXT,
    severity=st.sampled_from([1, 2, 3, 4]),
    grade=st.sampled_from([1, 2, 3]),
    controls=st.lists(st.sampled_from(["ac-2", "ac-2.3", "sc-28"]), min_size=1, unique=True).map(
        lambda ids: [check_pb2.ControlMapping(control_id=each) for each in ids]
    ),
    parameters=st.lists(PARAMETERS, max_size=2),
    remediation=TEXT,
)


@st.composite
def fixtures(draw: st.DrawFn) -> control_pb2.ControlFixture:
    outcome = draw(st.sampled_from(check_pb2.EvidenceOutcome.values()[1:5]))
    made = control_pb2.ControlFixture(title=draw(TEXT), outcome=outcome)
    for body in draw(st.lists(st.dictionaries(TEXT, st.booleans() | TEXT), max_size=2)):
        record = made.records.add(unread=draw(st.lists(TEXT, max_size=2)))
        json_format.ParseDict(body, record.body)
    return made


@st.composite
def controls(draw: st.DrawFn) -> list[control_pb2.Control]:
    ids = draw(st.lists(st.sampled_from(["a", "own-1", "x-y-z"]), min_size=1, unique=True))
    made = []
    for each in ids:
        control = control_pb2.Control(
            check=draw(CHECKS),
            fixtures=draw(st.lists(fixtures(), max_size=2)),
            description=draw(st.just("") | TEXT),
            disabled=draw(st.booleans()),
            version=draw(st.integers(1, 9)),
        )
        control.update_time.seconds = draw(st.integers(0, 2**31))
        made.append(settled(control, f"tenants/acme/controls/{each}"))
    return made


@given(controls())
@settings(max_examples=60)
def test_what_is_written_is_valid_and_read_back(wanted: list[control_pb2.Control]) -> None:
    document = component_definition("acme", wanted)
    assert document == component_definition("acme", reversed(wanted))
    root = obeying(document, "component_definition")
    assert sorted(each for part in root["components"] for each in props(part, "control")) == sorted(
        each.name.rpartition("/")[2] for each in wanted
    )
    found = read_controls(document)
    assert not found.issues
    back = {
        control_id: settled(control, f"tenants/acme/controls/{control_id}")
        for control_id, (_, control) in found.controls.items()
    }
    assert {name: content(each) for name, each in back.items()} == {
        each.name.rpartition("/")[2]: content(each) for each in wanted
    }


def document(**changes: Any) -> dict[str, Any]:
    check = check_pb2.Check(
        title="Buckets are private",
        collection="s3_buckets",
        scope=check_pb2.CHECK_SCOPE_RESOURCE,
        condition="!public",
        severity=check_pb2.SEVERITY_HIGH,
        grade=check_pb2.EVIDENCE_GRADE_DIRECT,
        controls=[check_pb2.ControlMapping(control_id="ac-3")],
        remediation="Block public access.",
    )
    control = control_pb2.Control(check=check, version=1, **changes)
    control.fixtures.add(title="private", outcome=check_pb2.EVIDENCE_OUTCOME_PASS)
    name = "tenants/acme/controls/private"
    made: dict[str, Any] = json.loads(component_definition("acme", [settled(control, name)]))
    return made


def refused(content: dict[str, Any]) -> str:
    with pytest.raises(FieldInvalid) as refusal:
        read_controls(json.dumps(content).encode())
    return str(refusal.value)


def test_components_of_others_are_named_and_passed_over() -> None:
    written = document()
    other = {"uuid": "00000000-0000-4000-8000-000000000000", "type": "software", "title": "Theirs"}
    written["component-definition"]["components"].append(other)
    found = read_controls(json.dumps(written).encode())
    assert [*found.controls] == ["private"]
    assert [(each.pointer, each.problem) for each in found.issues] == [
        ("/component-definition/components/1", "Theirs is no control of ours")
    ]


def test_what_is_broken_is_refused_with_its_place() -> None:
    component = "/component-definition/components/0"
    assert "/component-definition: is required and missing" in refused({"catalog": {}})
    twice = document()
    twice["component-definition"]["components"] *= 2
    assert f"{component[:-1]}1: control private stands there twice" in refused(twice)

    word = document()
    for each in word["component-definition"]["components"][0]["props"]:
        if each["name"] == "severity":
            each["value"] = "awful"
    assert "severity must be one of low, medium, high, critical, not 'awful'" in refused(word)

    condition = document()
    for each in condition["component-definition"]["components"][0]["props"]:
        if each["name"] == "condition":
            each["value"] = "!public"
    assert f"{component}: condition is no JSON" in refused(condition)

    lost = document()
    del lost["component-definition"]["back-matter"]
    assert f"{component}/links/0/href: leads to no attached resource" in refused(lost)

    broken = document()
    attached = broken["component-definition"]["back-matter"]["resources"][0]["base64"]
    attached["value"] = "%"
    assert "is no base64" in refused(broken)
    attached["value"] = "e30="
    assert "must hold a JSON array of fixtures" in refused(broken)
    broken["component-definition"]["back-matter"]["resources"][0]["base64"]["value"] = (
        "W3siYSI6MX1d"
    )
    assert 'has no field named "a"' in refused(broken)
