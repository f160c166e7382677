"""OSCAL assessment results imported: assessments that are known by their uuid, and judgements."""

import json
from typing import Any

import pytest

from mesh.identifiers import new_uuid
from secmesh.security.v1 import (
    compliance_assessment_pb2,
    compliance_framework_pb2,
    security_compliance_pb2,
)
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from tests.service.import_world import Imports, counts
from tests.service.security_world import TENANT
from tests.unit.test_importing_oscal import document, finding, result
from tests.unit.test_importing_samples import SAMPLES

STATE = compliance_assessment_pb2.ComplianceAssessment
CHANGED = {"created", "updated"}


def judged(imports: Imports, project: str) -> dict[str, Any]:
    found = imports.records("security_compliance", f'scope_ref == "{project}"')
    return {each.security_compliance.requirement_id: each.security_compliance for each in found}


def test_a_result_is_stored_once(imports: Imports, project: str) -> None:
    uuid = new_uuid()
    content = document(result(finding("ac-2_smt.a"), finding("ac-3", "not-satisfied"), uuid=uuid))
    first = imports.send(content, project)
    assert (first.format, first.rejected) == ("OSCAL_JSON", 0)
    assert counts(first, "compliance_assessments") == {"created": 1}
    assert counts(first, "security_compliance") == {"created": 2}
    assessment = imports.record(f"{TENANT}/compliance_assessments/{uuid}").compliance_assessment
    assert (assessment.controls_total, assessment.controls_satisfied) == (2, 1)
    assert assessment.findings[1].state == STATE.TARGET_STATE_NOT_SATISFIED
    assert imports.record(assessment.project_id).project.key == project
    framework = imports.record(assessment.framework_id).compliance_framework
    assert (framework.code, framework.version) == ("NIST-800-53", "5")
    controls = judged(imports, project)
    assert controls["ac-3"].status == security_compliance_pb2.COMPLIANCE_STATUS_NON_COMPLIANT
    assert controls["ac-3"].assessment_id == f"{TENANT}/compliance_assessments/{uuid}"
    again = imports.send(content, project)
    for collection in ("compliance_assessments", "security_compliance"):
        assert not CHANGED & counts(again, collection).keys()


def test_the_latest_judgement_stays(imports: Imports, project: str) -> None:
    late = result(finding("ac-2"), uuid=new_uuid(), end="2026-03-01T00:00:00Z")
    early = result(finding("ac-2", "not-satisfied"), uuid=new_uuid(), end="2026-02-01T00:00:00Z")
    imports.send(document(late), project)
    answer = imports.send(document(early), project)
    assert counts(answer, "security_compliance") == {"unchanged": 1}
    met = security_compliance_pb2.COMPLIANCE_STATUS_COMPLIANT
    assert judged(imports, project)["ac-2"].status == met
    last = result(finding("ac-2", "not-satisfied"), uuid=new_uuid(), end="2026-04-01T00:00:00Z")
    answer = imports.send(document(last), project)
    assert counts(answer, "security_compliance") == {"updated": 1}
    assert judged(imports, project)["ac-2"].status != met


def test_a_framework_that_is_known_is_left_as_it_is(imports: Imports, project: str) -> None:
    body = compliance_framework_pb2.ComplianceFramework(
        code=f"./{project}.json"[:128],
        name="Ours",
        version="unknown",
        category=compliance_framework_pb2.FRAMEWORK_CATEGORY_INTERNAL,
        status=compliance_framework_pb2.FRAMEWORK_STATUS_DRAFT,
    )
    request = CreateRecordRequest(
        parent=f"{TENANT}/compliance_frameworks", record=Record(compliance_framework=body)
    )
    made = imports.record_stub().CreateRecord(request)
    content = document(result(finding("own-rule"), uuid=new_uuid()))
    content["assessment-results"]["import-ap"]["href"] = body.code
    answer = imports.send(content, "")
    assert counts(answer, "compliance_frameworks") == {}
    assert imports.record(made.name) == made
    found = imports.records("security_compliance", f'framework_id == "{made.name}"')
    assert [each.security_compliance.scope_ref for each in found] == [body.code]


def test_a_cut_report_stores_the_results_that_were_whole(imports: Imports, project: str) -> None:
    whole, cut = (result(finding("ac-2"), uuid=new_uuid()) for _ in range(2))
    content = json.dumps(document(whole, cut)).encode()
    answer = imports.send(content[:-120], project)
    assert answer.problem
    assert counts(answer, "compliance_assessments") == {"created": 1}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample reports are not here")
def test_the_example_of_nist(imports: Imports, project: str) -> None:
    uuid = new_uuid()
    example = (SAMPLES / "oscal_assessment_results.json").read_text()
    content = example.replace("a1d20136-37e0-42aa-9834-4e9d8c36d798", uuid).encode()
    answer = imports.send(content, project)
    assert answer.rejected == 0
    assert counts(answer, "compliance_assessments") == {"created": 1}
    assert counts(answer, "security_compliance") == {"created": 1}
    name = f"{TENANT}/compliance_assessments/{uuid}"
    assessment = imports.record(name).compliance_assessment
    assert [len(assessment.findings), len(assessment.observations)] == [1, 2]
    assert (assessment.controls_total, assessment.score) == (1, 0)
    assert judged(imports, project)["ac-6.1"].gap.startswith("The assessor's security automation")
