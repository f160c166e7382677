"""What OSCAL assessment results become: a framework, an assessment, a judgement of each control."""

from typing import Any

import pytest

from mesh.contract.catalogue import load_catalogue
from services.security.importing.mapping import Mapper
from services.security.importing.mapping_compliance import MOST_FINDINGS
from services.security.importing.model import Rejected
from services.security.importing.rows import Context, Row
from tests.reports import read
from tests.unit.test_importing_mapping import of, wrong

KINDS = load_catalogue("secmesh.security.v1").kinds
RESULT = "1b1b2f3c-1111-4222-8333-944445555666"


def finding(target: str, state: str = "satisfied", **more: Any) -> dict[str, Any]:
    return {
        "uuid": f"f-{target}",
        "title": f"about {target}",
        "description": f"seen of {target}",
        "target": {"type": "objective-id", "target-id": target, "status": {"state": state}},
    } | more


def observation(uuid: str, *methods: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "description": f"what {uuid} shows",
        "methods": list(methods or ["TEST"]),
        "subjects": [{"subject-uuid": "s1", "type": "component"}],
        "collected": "2026-01-01T00:00:00Z",
    }


def result(*findings: object, **more: Any) -> dict[str, Any]:
    """Observations stand behind the findings that refer to them, as they may."""
    return {
        "uuid": RESULT,
        "title": "January",
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-01-02T00:00:00Z",
        "reviewed-controls": {
            "control-selections": [{"include-controls": [{"control-id": "ac-6.1"}]}]
        },
        "findings": list(findings),
        "observations": [observation("o1")],
    } | more


def document(*results: object) -> dict[str, Any]:
    return {
        "assessment-results": {
            "uuid": "d-1",
            "metadata": {"title": "Monitoring", "oscal-version": "1.1.2"},
            "import-ap": {"href": "./plan.json"},
            "results": list(results),
        }
    }


def rows(content: object) -> list[Any]:
    mapper = Mapper("OSCAL_JSON", Context("OSCAL", "2026-01-01T00:00:00Z"), "ab" * 32)
    return [row for item in read(content) for row in mapper.rows(item)]


def one(content: object, collection: str) -> Row:
    (row,) = of(collection, rows(content))
    return row


def test_a_result_is_an_assessment_by_its_own_uuid() -> None:
    found = rows(document(result(finding("ac-6.1_obj", "not-satisfied"), finding("ac-2_smt.a"))))
    assert [row.collection for row in found] == [
        "compliance_frameworks",
        "compliance_assessments",
        "security_compliance",
        "security_compliance",
    ]
    assessment = found[1]
    values = assessment.values
    assert assessment.record_id == RESULT
    assert (values["title"], values["status"]) == ("January", "COMPLETED")
    assert (values["controls_total"], values["controls_satisfied"]) == (2, 1)
    assert (values["controls_not_satisfied"], values["score"]) == (1, 50)
    assert values["scope"] == {"control_ids": ["ac-6.1"]}
    assert values["findings"][0]["state"] == "NOT_SATISFIED"
    assert values["observations"][0]["methods"] == ["TEST"]
    for row in found:
        assert wrong(KINDS[row.collection].descriptor, row.values) == []
        assert set(row.refers) <= set(KINDS[row.collection].descriptor.fields_by_name)


def test_a_control_is_judged_by_all_of_its_parts() -> None:
    content = document(
        result(
            finding("ac-2_smt.a"),
            finding(
                "ac-2_smt.b",
                "not-satisfied",
                **{"related-observations": [{"observation-uuid": "o1"}]},
            ),
            finding("ac-3"),
        )
    )
    judged = {
        row.values["requirement_id"]: row.values for row in of("security_compliance", rows(content))
    }
    assert (judged["ac-2"]["status"], judged["ac-2"]["gap"]) == ("PARTIAL", "seen of ac-2_smt.b")
    assert judged["ac-2"]["evidence"] == [
        {
            "observation_uuid": "o1",
            "method": "TEST",
            "description": "what o1 shows",
            "collect_time": "2026-01-01T00:00:00Z",
        }
    ]
    assert judged["ac-3"]["status"] == "COMPLIANT"
    assert "gap" not in judged["ac-3"]
    assert judged["ac-2"]["assess_time"] == "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("targets", "code", "version"),
    [
        (["ac-6.1_obj", "sr-12"], "NIST-800-53", "5"),
        (["ac-6.1", "A.5.1"], "./plan.json", "unknown"),
        (["zz-1"], "./plan.json", "unknown"),
    ],
)
def test_the_framework_is_told_by_the_ids_of_controls(
    targets: list[str], code: str, version: str
) -> None:
    framework = one(document(result(*map(finding, targets))), "compliance_frameworks")
    assert (framework.values["code"], framework.values["version"]) == (code, version)


@pytest.mark.parametrize(
    ("methods", "kind"), [(["TEST"], "AUTOMATED"), (["TEST", "INTERVIEW"], "SELF")]
)
def test_what_programs_tried_out_is_automated(methods: list[str], kind: str) -> None:
    content = document(result(finding("ac-2"), observations=[observation("o1", *methods)]))
    assert one(content, "compliance_assessments").values["assessment_type"] == kind


def test_a_result_without_an_end_goes_on() -> None:
    made = result(finding("ac-2"))
    del made["end"]
    values = one(document(made), "compliance_assessments").values
    assert values["status"] == "IN_PROGRESS"
    assert "end_time" not in values


def test_each_result_has_its_own_findings() -> None:
    other = result(finding("ac-3"), uuid="second")
    found = of("compliance_assessments", rows(document(result(finding("ac-2")), other)))
    assert [row.record_id for row in found] == [RESULT, "second"]
    assert [
        len(row.values["findings"]) for row in found if isinstance(row.values["findings"], list)
    ] == [1, 1]


def test_a_bad_finding_is_rejected_and_the_rest_is_judged() -> None:
    found = rows(document(result(finding("ac-2"), finding("ac-3", "?"))))
    (rejected,) = (each for each in found if isinstance(each, Rejected))
    assert rejected.pointer == "/assessment-results/results/0/findings/1/target/status/state"
    assert len(of("security_compliance", found)) == 1


def test_no_more_is_remembered_than_one_record_holds() -> None:
    content = document(result(*(finding(f"ac-{n % 25}_obj.{n}") for n in range(MOST_FINDINGS + 5))))
    kept = one(content, "compliance_assessments").values["findings"]
    assert isinstance(kept, list)
    assert len(kept) == MOST_FINDINGS
