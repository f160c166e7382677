"""What the security service does in the story: contradicted claims filed, a report imported."""

from importlib.resources import files
from pathlib import Path

import grpc
from google.api.httpbody_pb2 import HttpBody

from cli.embedded.folder import TENANT
from cli.output import talk
from secmesh.inventory.v1 import assessment_pb2, filing_pb2
from secmesh.inventory.v1.compliance_service_pb2_grpc import ComplianceServiceStub
from secmesh.security.v1.import_service_pb2 import ImportReportRequest, ImportReportResponse
from secmesh.security.v1.import_service_pb2_grpc import ImportServiceStub
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from secmesh.security.v1.sast_quality_gate_pb2 import GATE_SCOPE_OVERALL_CODE, SastQualityGate
from secmesh.security.v1.vocabulary_detection_pb2 import ENFORCEMENT_MODE_BLOCK

PROJECT = "storefront"
GATE_ID = "default"
REPORT = "report.sarif"
"""In the mesh's folder: the sample report, for commands to try."""


def file_claims(channel: grpc.Channel, assessment: assessment_pb2.Assessment) -> None:
    """File what was filed already, and say what is there."""
    request = filing_pb2.FileAssessmentRequest(name=assessment.name)
    answer = ComplianceServiceStub(channel).FileAssessment(request)
    talk.print("\nIn the security service; filed once more, nothing changes:", style="bold")
    for each in answer.counts:
        told = [
            f"{value} {field.name}"
            for field, value in each.ListFields()
            if field.name != "collection"
        ]
        talk.print(f"  {each.collection}: {', '.join(told)}", markup=False, highlight=False)


def set_gate(channel: grpc.Channel) -> None:
    """Have a gate judge projects, the same one at every start."""
    limits = (
        SastQualityGate.Condition(metric=metric, op=SastQualityGate.OPERATOR_GT, error=0)
        for metric in ("critical_violations", "vulnerabilities")
    )
    gate = SastQualityGate(
        name="No vulnerabilities",
        conditions=limits,
        scope=GATE_SCOPE_OVERALL_CODE,
        enforcement=ENFORCEMENT_MODE_BLOCK,
        is_default=True,
    )
    name = f"tenants/{TENANT}/sast_quality_gates/{GATE_ID}"
    RecordServiceStub(channel).UpdateRecord(
        UpdateRecordRequest(record=Record(name=name, sast_quality_gate=gate), allow_missing=True)
    )


def import_report(channel: grpc.Channel, home: Path) -> None:
    """Import the sample report of a code scanner; a second time it changes nothing."""
    report = (files("cli.sample") / REPORT).read_bytes()
    (home / REPORT).write_bytes(report)
    first = ImportReportRequest(
        parent=f"tenants/{TENANT}", project=PROJECT, file=HttpBody(data=report)
    )
    answer = ImportServiceStub(channel).ImportReport(iter([first]))
    if answer.outcome == ImportReportResponse.OUTCOME_UNCHANGED:
        talk.print(f"The sample {answer.format} report of {PROJECT} is known already.")
        return
    issues = sum(each.created for each in answer.counts if each.collection == "sast_issues")
    talk.print(f"Imported a sample {answer.format} report of {PROJECT}: {issues} issues.")
