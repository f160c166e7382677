"""AnalyticsService: dashboards, metrics and reports from records as they are."""

from mesh.contract.catalogue import Catalogue
from mesh.sql.store import Store
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.security.analytics.dashboards import Dashboards
from services.security.analytics.metrics import Metrics
from services.security.analytics.reports import Reports
from services.security.analytics.widgets import Widgets


class AnalyticsServicer(AnalyticsServiceServicer):
    """Computes for the caller: what may not be listed is not counted either."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, catalogue: Catalogue, store: Store, metrics: Metrics) -> None:
        widgets = Widgets(store, catalogue)
        self._dashboards = Dashboards(store, widgets)
        self._reports = Reports(store, catalogue, widgets)
        self._metrics = metrics

    async def EvaluateDashboard(
        self, request: pb.EvaluateDashboardRequest, _context: object
    ) -> pb.EvaluateDashboardResponse:
        """Give the points of each widget, or why it has none; ResourceNotFound."""
        return await self._dashboards.evaluate(request.name)

    async def RecordMetrics(
        self, request: pb.RecordMetricsRequest, _context: object
    ) -> pb.RecordMetricsResponse:
        """Keep the values of a dashboard; ResourceNotFound."""
        return await self._metrics.record(request.dashboard, request.period)

    async def GenerateReport(
        self, request: pb.GenerateReportRequest, _context: object
    ) -> pb.GenerateReportResponse:
        """Make a document; see ``Reports.generate`` for what is refused."""
        made = await self._reports.generate(request.name, keep=not request.validate_only)
        answer = pb.GenerateReportResponse(document=made.document, media_type=made.media_type)
        answer.report.MergeFrom(made.record)  # type: ignore[arg-type]  # the records of this contract
        return answer
