"""AnalyticsService: dashboards, metrics and reports from records as they are."""

from mesh.server.call import current_call
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_report_run_pb2 import AnalyticsReportSchedule
from secmesh.security.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from services.security.analytics.dashboards import Dashboards
from services.security.analytics.metrics import Metrics
from services.security.analytics.report_schedules import ReportSchedules
from services.security.analytics.reports import Reports


class AnalyticsServicer(AnalyticsServiceServicer):
    """Computes for the caller: what may not be listed is not counted either."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self, dashboards: Dashboards, reports: Reports, metrics: Metrics, schedules: ReportSchedules
    ) -> None:
        self._dashboards = dashboards
        self._reports = reports
        self._metrics = metrics
        self._schedules = schedules

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
        record, made = await self._reports.generate(request.name, keep=not request.validate_only)
        answer = pb.GenerateReportResponse(document=made.document, media_type=made.media_type)
        answer.report.MergeFrom(record)  # type: ignore[arg-type]  # the records of this contract
        return answer

    async def ScheduleReport(
        self, request: pb.ScheduleReportRequest, _context: object
    ) -> AnalyticsReportSchedule:
        """Give the schedule; see ``ReportSchedules.schedule`` for what is refused."""
        return await self._schedules.schedule(request, current_call().caller)

    async def UnscheduleReport(
        self, request: pb.UnscheduleReportRequest, _context: object
    ) -> AnalyticsReportSchedule:
        """Give the schedule; ResourceNotFound."""
        return await self._schedules.unschedule(request.name)

    async def GetReportSchedule(
        self, request: pb.GetReportScheduleRequest, _context: object
    ) -> AnalyticsReportSchedule:
        """Give the schedule; ResourceNotFound."""
        return await self._schedules.show(request.name)

    async def ListReportRuns(
        self, request: pb.ListReportRunsRequest, _context: object
    ) -> pb.ListReportRunsResponse:
        """Give one page of runs; ResourceNotFound, PageTokenInvalid."""
        return await self._schedules.runs(request)

    async def GetReportDocument(
        self, request: pb.GetReportDocumentRequest, _context: object
    ) -> pb.GetReportDocumentResponse:
        """Give a document; ReportDocumentMissing, PermissionMissing for what is in it."""
        return await self._schedules.document(request.name, current_call().caller)
