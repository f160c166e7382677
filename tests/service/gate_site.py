"""Projects with code in them, and gates to judge them by."""

from typing import Any

from mesh.identifiers import new_uuid
from secmesh.security.v1 import quality_gate_service_pb2 as pb
from secmesh.security.v1.quality_gate_service_pb2_grpc import QualityGateServiceStub
from tests.service.planted import Plants

TENANT = "gated"


class Site(Plants):
    """A served database, and projects with code in it."""

    def gate(self, *conditions: tuple[str, str, float], **values: Any) -> str:
        listed = [{"metric": m, "op": f"OPERATOR_{op}", "error": e} for m, op, e in conditions]
        chosen = {
            "scope": "GATE_SCOPE_OVERALL_CODE",
            "enforcement": "ENFORCEMENT_MODE_BLOCK",
            **values,
        }
        return self.plant("sast_quality_gates", conditions=listed, **chosen)

    def project(self, *conditions: tuple[str, str, float], **values: Any) -> str:
        gate = self.gate(*conditions) if conditions else ""
        own = {"quality_gate_id": gate} if gate else {}
        return self.plant("sast_projects", main_branch="trunk", **own, **values)

    def scan(self, project: str, **values: Any) -> str:
        chosen = {
            "branch": "trunk",
            "tool_name": "Scanner",
            "status": "SCAN_STATUS_COMPLETED",
            "report_sha256": new_uuid(),
            **values,
        }
        return self.plant("sast_scans", project_id=project, **chosen)

    def issue(self, project: str, scan: str, type_: str, severity: str, **values: Any) -> str:
        if not hasattr(self, "rule"):
            self.rule = self.plant("sast_rules")
        chosen = {
            "rule_id": self.rule,
            "scan_id": scan,
            "first_scan_id": scan,
            "branch": "trunk",
            "status": "SAST_ISSUE_STATUS_OPEN",
            "issue_type": f"SAST_ISSUE_TYPE_{type_}",
            "severity": f"SONAR_SEVERITY_{severity}",
            **values,
        }
        return self.add("sast_issues", project_id=project, **chosen)

    def measure(self, project: str, scan: str, metric: str, value: float, **values: Any) -> None:
        names = {"project_id": project, "scan_id": scan}
        self.add("sast_project_metrics", **names, metric_key=metric, value=value, **values)

    def judge(self, project: str, **fields: Any) -> pb.EvaluateGateResponse:
        request = pb.EvaluateGateRequest(project=project, **fields)
        answer: pb.EvaluateGateResponse = self.stub.EvaluateGate(request)
        return answer

    def status_of(self, name: str) -> int:
        record = self.read(name)
        return int(getattr(record, record.WhichOneof("body")).quality_gate_status)

    @property
    def stub(self) -> Any:
        if not hasattr(self, "_stub"):
            self._stub = self.stub_of(QualityGateServiceStub, TENANT, "operator")
        return self._stub
