"""Issues of projects, and dashboards and reports over them."""

from typing import Any

from mesh.identifiers import new_uuid
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from tests.service.planted import Plants

TENANT = "charted"
OPEN = "FINDING_STATUS_OPEN"


class Site(Plants):
    """A served database with issues of a project, and dashboards over them."""

    @property
    def stub(self) -> Any:
        if not hasattr(self, "_stub"):
            self._stub = self.stub_of(AnalyticsServiceStub, TENANT, "operator")
        return self._stub

    def issues(self, *severities: str, **values: Any) -> str:
        """Plant a project with an issue of each severity; the risk score is its place."""
        project = self.plant("projects")
        for place, severity in enumerate(severities, start=1):
            self.add(
                "project_issues",
                project_id=project,
                severity=f"SEVERITY_{severity}",
                **{"status": OPEN, "risk_score": place, **values},
            )
        self.write()
        return project

    def dashboard(self, *widgets: dict[str, Any], **values: Any) -> str:
        listed = [{"key": f"w{place}", **each} for place, each in enumerate(widgets)]
        slug = f"d-{new_uuid()}"
        return self.plant("analytics_dashboards", slug=slug, widgets=listed, **values)

    def show(self, name: str) -> pb.EvaluateDashboardResponse:
        answer: pb.EvaluateDashboardResponse = self.stub.EvaluateDashboard(
            pb.EvaluateDashboardRequest(name=name)
        )
        return answer

    def report(self, format_: str = "JSON", **values: Any) -> str:
        return self.plant("analytics_reports", format=f"DOCUMENT_FORMAT_{format_}", **values)

    def make(self, name: str, **fields: Any) -> pb.GenerateReportResponse:
        answer: pb.GenerateReportResponse = self.stub.GenerateReport(
            pb.GenerateReportRequest(name=name, **fields)
        )
        return answer

    def metrics(self, slug: str) -> list[Any]:
        listed = self.records.ListRecords(
            ListRecordsRequest(
                parent=f"{self.parent}/analytics_metrics",
                filter=f'name.startsWith("{slug}/")',
                page_size=1000,
            )
        )
        found = [each.analytics_metric for each in listed.records]
        return sorted(found, key=lambda each: (each.name, sorted(each.dimensions.items())))


def only(project: str, more: str = "") -> str:
    """Write the condition that an issue is of a project, and another one."""
    return f'project_id == "{project}"{more and f" && {more}"}'
