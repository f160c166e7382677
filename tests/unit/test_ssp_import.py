"""Claims drawn from a System Security Plan, and documents that are refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from secmesh.inventory.v1 import ssp_pb2
from tests.unit.ssp_documents import AWS, IAM, only, part, plan, prop, read, requirement, uuid


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
