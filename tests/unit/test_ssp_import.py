"""Claims drawn from a System Security Plan, and documents that are refused."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.ssp import Plan, read_plan
from services.inventory.errors import SspInvalid

NOW = datetime(2030, 1, 1, tzinfo=UTC)
IAM = "10000000-0000-4000-8000-000000000001"
AWS = "10000000-0000-4000-8000-000000000002"
FEDRAMP = "https://fedramp.gov/ns/oscal"


def uuid(number: int) -> str:
    return f"20000000-0000-4000-8000-{number:012d}"


def prop(name: str, value: str, ns: str = FEDRAMP) -> dict[str, str]:
    return {"name": name, "ns": ns, "value": value}


def part(number: int, component: str = IAM, **more: Any) -> dict[str, Any]:
    return {"component-uuid": component, "uuid": uuid(number), "description": "We do it.", **more}


def plan(*requirements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "system-security-plan": {
            "uuid": uuid(1),
            "metadata": {"title": "Plan", "version": "3", "oscal-version": "1.1.2"},
            "import-profile": {"href": "x/FedRAMP_rev5_MODERATE-baseline_profile.json"},
            "system-implementation": {
                "components": [
                    {"uuid": IAM, "type": "service", "title": "IAM"},
                    {"uuid": AWS, "type": "leveraged-system", "title": "AWS"},
                ]
            },
            "control-implementation": {"implemented-requirements": list(requirements), **more},
        }
    }


def requirement(control: str, **more: Any) -> dict[str, Any]:
    return {"uuid": uuid(100), "control-id": control, **more}


def read(document: Any, **options: Any) -> Plan:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_plan("tenants/acme/ssps/main", content, import_time=NOW, **options)


def only(document: dict[str, Any]) -> ssp_pb2.Claim:
    claims = read(document).claims
    assert len(claims) == 1
    return claims[0]


def refused(document: Any) -> SspInvalid:
    with pytest.raises(SspInvalid) as caught:
        read(document)
    assert caught.value.metadata == {"pointer": caught.value.pointer}
    return caught.value


def test_claims_stand_for_by_components_of_statements_and_requirement() -> None:
    found = read(
        plan(
            requirement(
                "AC-2",
                **{
                    "by-components": [part(1)],
                    "statements": [
                        {
                            "statement-id": "ac-2_stmt.a",
                            "uuid": uuid(50),
                            "by-components": [part(2), part(3, AWS)],
                        },
                        {"statement-id": "ac-2_smt.b", "uuid": uuid(51), "remarks": "Words."},
                    ],
                },
            ),
            {"uuid": uuid(101), "control-id": "ac-3"},
        )
    )
    seen = [
        (each.control_id, each.statement_id, each.implementation_statement_uuid)
        for each in found.claims
    ]
    assert seen == [
        ("ac-2", "", uuid(1)),
        ("ac-2", "ac-2_smt.a", uuid(2)),
        ("ac-2", "ac-2_smt.a", uuid(3)),
        ("ac-2", "ac-2_smt.b", uuid(51)),
        ("ac-3", "", uuid(101)),
    ]
    assert [each.inherited for each in found.claims] == [False, False, True, False, False]
    assert found.claims[0].component_title == "IAM"
    assert found.claims[0].name == f"tenants/acme/ssps/main/claims/{uuid(1)}"
    assert (found.ssp.controls, found.ssp.claims) == (2, 5)
    assert found.ssp.baseline == ssp_pb2.BASELINE_FEDRAMP_MODERATE
    assert not found.ssp.issues


@pytest.mark.parametrize(
    ("on_part", "on_requirement", "expected"),
    [
        ({"implementation-status": {"state": "implemented"}}, {}, "IMPLEMENTED"),
        ({}, {"props": [prop("implementation-status", "planned")]}, "PLANNED"),
        (
            {"props": [prop("implementation-status", "implemented")]},
            {"props": [prop("implementation-status", "planned")]},
            "IMPLEMENTED",
        ),
        (
            {"implementation-status": {"state": "alternative"}},
            {"props": [prop("implementation-status", "planned")]},
            "ALTERNATIVE",
        ),
        (
            {
                "props": [
                    prop("implementation-status", "implemented"),
                    prop("implementation-status", "partial"),
                ]
            },
            {},
            "PARTIAL",
        ),
        ({"props": [prop("implementation-status", "planned", "urn:other")]}, {}, "UNSPECIFIED"),
        ({"implementation-status": {"state": "not-applicable"}}, {}, "NOT_APPLICABLE"),
        ({}, {}, "UNSPECIFIED"),
    ],
)
def test_the_nearest_status_wins(
    on_part: dict[str, Any], on_requirement: dict[str, Any], expected: str
) -> None:
    document = plan(
        requirement("ac-2", **{"by-components": [part(1, **on_part)]}, **on_requirement)
    )
    assert only(document).state == ssp_pb2.ClaimState.Value(f"CLAIM_STATE_{expected}")


def test_an_unknown_status_is_an_issue_and_no_status() -> None:
    status: dict[str, Any] = {"implementation-status": {"state": "mostly"}}
    found = read(plan(requirement("ac-2", **{"by-components": [part(1, **status)]})))
    assert found.claims[0].state == ssp_pb2.CLAIM_STATE_UNSPECIFIED
    (issue,) = found.ssp.issues
    assert issue.pointer.endswith("/by-components/0/implementation-status/state")
    assert "'mostly'" in issue.problem


def test_the_nearest_parameter_is_in_force() -> None:
    def settings_of(**values: str) -> dict[str, Any]:
        listed = [{"param-id": key, "values": [value]} for key, value in values.items()]
        return {"set-parameters": listed}

    system = {"ac-02.03_odp.01": "system", "ac-2.3_odp.2": "system", "ac-2.3_prm_2": "system"}
    document = plan(
        requirement(
            "ac-2.3",
            **settings_of(**{"ac-02.03_odp.02": "requirement"}),
            **{"by-components": [part(1, **settings_of(**{"ac-02.03_odp.04": "part"}))]},
        ),
        **settings_of(**system, **{"sc-10_odp": "of another control"}),
    )
    assert dict(only(document).parameters) == {
        "ac-02.03_odp.01": "system",
        "ac-02.03_odp.02": "requirement",
        "ac-2.3_prm_2": "system",
        "ac-02.03_odp.04": "part",
    }


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, False),
        ({"inherited": [{"uuid": uuid(9), "description": "From AWS."}]}, True),
        (
            {
                "inherited": [{"uuid": uuid(9), "description": "From AWS."}],
                "satisfied": [{"uuid": uuid(8), "description": "Ours."}],
            },
            False,
        ),
        ({"props": [prop("control-origination", "inherited")]}, True),
        (
            {
                "props": [
                    prop("control-origination", "inherited"),
                    prop("control-origination", "sp-system"),
                ]
            },
            False,
        ),
    ],
)
def test_inheritance(more: dict[str, Any], expected: bool) -> None:
    document = plan(requirement("ac-2", **{"by-components": [part(1, **more)]}))
    assert only(document).inherited is expected


@pytest.mark.parametrize(
    ("written", "due"),
    [
        ("2024-01-31Z", datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-01-31", datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-01-31+02:00", datetime(2024, 1, 31, 21, 59, 59, tzinfo=UTC)),
        ("2024-01-31T12:00:00Z", datetime(2024, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_planned_completion(written: str, due: datetime) -> None:
    props = {"props": [prop("planned-completion-date", written)]}
    claim = only(plan(requirement("ac-2", **props)))
    assert claim.planned_completion_time.ToDatetime(UTC) == due


def test_a_date_that_is_none_is_an_issue() -> None:
    found = read(plan(requirement("ac-2", props=[prop("planned-completion-date", "soon")])))
    assert not found.claims[0].HasField("planned_completion_time")
    assert [issue.problem for issue in found.ssp.issues] == ["'soon' is no date"]


@pytest.mark.parametrize(
    ("control", "component", "reason"),
    [
        ("ac-2.10", IAM, "AC-2(10) was withdrawn from SP 800-53 rev 5"),
        ("zz-9", IAM, "zz-9 is no control of SP 800-53 rev 5"),
        ("ac-2.11", IAM, "AC-2(11) is not in FedRAMP rev 5 Moderate"),
        ("ac-2", uuid(77), f"component {uuid(77)} is not in the plan"),
    ],
)
def test_claims_that_cannot_be_judged_say_why(control: str, component: str, reason: str) -> None:
    document = plan(requirement(control, **{"by-components": [part(1, component)]}))
    found = read(document)
    assert found.claims[0].invalid_reason == reason
    assert reason in [issue.problem for issue in found.ssp.issues]


def test_an_unknown_profile_leaves_the_publication_itself() -> None:
    document = plan(requirement("ac-2.11"))
    document["system-security-plan"]["import-profile"]["href"] = "own.json"
    found = read(document)
    assert found.ssp.baseline == ssp_pb2.BASELINE_UNSPECIFIED
    assert found.claims[0].invalid_reason == ""
    assert found.ssp.issues[0].pointer == "/system-security-plan/import-profile/href"
    chosen = read(document, baseline=ssp_pb2.BASELINE_NIST_LOW)
    assert chosen.claims[0].invalid_reason == "AC-2(11) is not in NIST SP 800-53B Low"


@pytest.mark.parametrize("place", ["rlinks", "title"])
def test_a_profile_in_the_back_matter(place: str) -> None:
    document = plan(requirement("ac-2"))
    body = document["system-security-plan"]
    body["import-profile"]["href"] = f"#{uuid(5).upper()}"
    resource: dict[str, Any] = {"uuid": uuid(5), "title": "FedRAMP Rev 5 High"}
    if place == "rlinks":
        resource["rlinks"] = [{"href": "./NIST_SP-800-53_rev5_HIGH-baseline_profile.json"}]
    body["back-matter"] = {"resources": [{"uuid": uuid(6)}, resource]}
    wanted = {"rlinks": ssp_pb2.BASELINE_NIST_HIGH, "title": ssp_pb2.BASELINE_FEDRAMP_HIGH}
    assert read(document).ssp.baseline == wanted[place]


def test_claim_names_are_unique_and_stable() -> None:
    again = {"by-components": [part(1), part(1), {**part(2), "uuid": "not-one"}]}
    first, second = (read(plan(requirement("ac-2", **again))) for _ in range(2))
    names = [claim.name for claim in first.claims]
    assert len(set(names)) == 3
    assert names == [claim.name for claim in second.claims]
    assert [issue.problem for issue in first.ssp.issues] == [
        "the uuid stands there twice",
        "the uuid is missing or no UUID",
    ]


def test_long_words_are_cut_and_odd_characters_replaced() -> None:
    document = plan(requirement("ac-2", **{"by-components": [part(1, description="\0é" * 5000)]}))
    claim = only(document)
    assert len(claim.description) == 4096
    assert claim.description.startswith("\N{REPLACEMENT CHARACTER}é")


def test_issues_are_bounded() -> None:
    parts = [{**part(n), "component-uuid": uuid(n + 500)} for n in range(1200)]
    issues = read(plan(requirement("ac-2", **{"by-components": parts}))).ssp.issues
    assert len(issues) == 1000
    assert issues[-1].problem == "201 more parts are odd"


def _without(*keys: str) -> dict[str, Any]:
    document = plan(requirement("ac-2", **{"by-components": [part(1)]}))
    inner: Any = document["system-security-plan"]
    for key in keys[:-1]:
        inner = inner[int(key) if key.isdigit() else key]
    del inner[keys[-1]]
    return document


@pytest.mark.parametrize(
    "keys",
    [
        ("metadata",),
        ("metadata", "title"),
        ("metadata", "oscal-version"),
        ("import-profile",),
        ("import-profile", "href"),
        ("system-implementation",),
        ("system-implementation", "components"),
        ("system-implementation", "components", "0", "uuid"),
        ("control-implementation",),
        ("control-implementation", "implemented-requirements"),
        ("control-implementation", "implemented-requirements", "0", "control-id"),
    ],
)
def test_missing_parts_are_named(keys: tuple[str, ...]) -> None:
    error = refused(_without(*keys))
    assert error.pointer == "/system-security-plan/" + "/".join(keys)
    assert error.problem == "is required and missing"


@pytest.mark.parametrize("wrong", [None, 3, "text", [], {}, True, [3], [None]])
@pytest.mark.parametrize("key", ["metadata", "import-profile", "control-implementation"])
def test_parts_of_a_wrong_type_are_refused(key: str, wrong: Any) -> None:
    document = plan(requirement("ac-2"))
    document["system-security-plan"][key] = wrong
    assert refused(document).pointer.startswith(f"/system-security-plan/{key}")


@pytest.mark.parametrize(
    ("content", "pointer", "problem"),
    [
        (b"", "", "not JSON at line 1"),
        (b"{} trailing", "", "not JSON at line 1, column 4"),
        (b'{"system-security-plan": NaN}', "", "not JSON"),
        (b'{"a": "\xff"}', "", "not JSON"),
        (b'{"a": "\\ud800"}', "", "not JSON"),
        ("{}".encode("utf-16"), "", "UTF-16"),
        (b"<system-security-plan/>", "", "XML"),
        (b"PK\x03\x04...", "", "ZIP"),
        (b"%PDF-1.7", "", "PDF"),
        (b"[]", "", "must be an object, not an array"),
        (b"{}", "", "it is empty"),
        (b'{"hello": 1}', "", "first key is 'hello'"),
        (b'{"profile": {}}', "/profile", "OSCAL model is profile"),
        (
            b'{"plan-of-action-and-milestones": {}}',
            "/plan-of-action-and-milestones",
            "OSCAL model is plan-of-action-and-milestones",
        ),
        (b"[" * 100_000 + b"]" * 100_000, "", "not JSON"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "", "first key is 'a'"),
        (b'{"a": ' + b"9" * 5000 + b"}", "", "not JSON"),
        (b'{"system-security-plan": {"x~/y": {"a": 1, "a": 2}}}', None, "twice"),
        (b" " * (32 * 1024 * 1024 + 1), "", "33,554,432"),
    ],
)
def test_documents_that_are_no_plan(content: bytes, pointer: str | None, problem: str) -> None:
    error = refused(content)
    assert problem in error.problem
    expected = "/system-security-plan/x~0~1y/a" if pointer is None else pointer
    assert error.pointer == expected


def test_a_byte_order_mark_is_no_fault() -> None:
    content = b"\xef\xbb\xbf" + json.dumps(plan(requirement("ac-2"))).encode()
    assert len(read(content).claims) == 1


@pytest.mark.parametrize("version", ["1.0.0", "1.0.4", "1.1.2", "1.2.1", "1.0.0-rc2"])
def test_versions_that_are_read(version: str) -> None:
    document = plan(requirement("ac-2"))
    document["system-security-plan"]["metadata"]["oscal-version"] = version
    assert read(document).ssp.oscal_version == version


@pytest.mark.parametrize("version", ["2.0.0", "1.3.0", "0.9", "1", "1.10.0"])
def test_versions_that_are_not(version: str) -> None:
    document = plan(requirement("ac-2"))
    document["system-security-plan"]["metadata"]["oscal-version"] = version
    assert refused(document).pointer == "/system-security-plan/metadata/oscal-version"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


_FULL = plan(
    requirement(
        "ac-2",
        **{
            "props": [prop("implementation-status", "planned")],
            "set-parameters": [{"param-id": "ac-2_prm_1", "values": ["x"]}],
            "statements": [
                {"statement-id": "ac-2_smt.a", "uuid": uuid(4), "by-components": [part(1)]}
            ],
        },
    )
)


@settings(max_examples=300)
@given(st.data(), _JSON)
def test_any_damage_is_read_or_refused_with_a_pointer(data: st.DataObject, value: Any) -> None:
    document = copy.deepcopy(_FULL)
    path = data.draw(st.sampled_from(_places_of_full()))
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        found = read(document)
    except SspInvalid as error:
        assert_pointer(error.pointer)
    else:
        assert found.ssp.claims == len(found.claims)


def assert_pointer(pointer: str) -> None:
    assert pointer == "" or pointer.startswith("/")


def _places_of_full() -> list[tuple[Any, ...]]:
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), _FULL)]
    found: list[tuple[Any, ...]] = []
    while waiting:
        path, value = waiting.pop()
        if path:
            found.append(path)
        if isinstance(value, dict):
            waiting += [((*path, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, index), inner) for index, inner in enumerate(value)]
    return found
