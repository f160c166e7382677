"""Reports scheduled: when they are made by themselves, and whose rights they are made with."""

import hashlib
from typing import Any

from mesh.errors import PermissionMissing, ResourceNotFound
from mesh.identity.caller import Caller
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_report_run_pb2 import AnalyticsReportSchedule
from secmesh.security.v1.vocabulary_pb2 import ReportStatus
from services.security.analytics.report_run_store import ReportRunStore, schedule_of
from services.security.analytics.reports import REPORTS, Reports
from services.security.editing import RecordEditor, required_tenant
from services.security.errors import ReportDocumentMissing, ScheduleRefused
from services.security.findings.due import set_moment
from services.security.workflows.schedule import Schedule, ScheduleInvalid

_ZONE = "CRON_TZ="
_MADE = (
    "status",
    "row_count",
    "object_uri",
    "sha256",
    "generated_by_user_id",
    "generate_time",
    "error_message",
)
"""What a report tells of its last document."""


def due_times(text: str) -> Schedule:
    """Read ``[CRON_TZ=zone] five fields of cron``; ScheduleRefused."""
    zone, cron = "", text.strip()
    if cron.startswith(_ZONE):
        zone, _, cron = cron.removeprefix(_ZONE).partition(" ")
    try:
        return Schedule(cron, zone)
    except ScheduleInvalid as error:
        raise ScheduleRefused(str(error)) from None


def digest_of(report: Any) -> str:
    """Hash what a report says, without what it tells of its last document."""
    said = type(report)()
    said.CopyFrom(report)
    for name in _MADE:
        said.ClearField(name)
    return hashlib.sha256(said.SerializeToString(deterministic=True)).hexdigest()


class ReportSchedules:
    """Schedules reports, and shows what came of it; ResourceNotFound."""

    def __init__(self, runs: ReportRunStore, reports: Reports, editor: RecordEditor) -> None:
        self._runs = runs
        self._reports = reports
        self._editor = editor

    async def schedule(
        self, request: pb.ScheduleReportRequest, caller: Caller
    ) -> AnalyticsReportSchedule:
        """Let a report be made from now on; ScheduleRefused, and what ``Reports.make`` says."""
        if not caller.permits(needed := f"security.{REPORTS}.generate"):
            raise PermissionMissing(needed)
        # Once as a trial: what cannot be made now is told to who can mend it.
        await self._reports.make(request.name)
        async with self._runs.store.transaction() as connection:
            record = await self._editor.find(connection, request.name, request.etag)
            body, moment = record.analytics_report, self._editor.clock()
            if not body.schedule:
                raise ScheduleRefused("the report has no schedule")
            schedule = AnalyticsReportSchedule(
                name=schedule_of(request.name),
                report=request.name,
                cron=body.schedule,
                scheduled_by=caller.subject,
                permissions=sorted(caller.permissions),
                digest=digest_of(body),
            )
            set_moment(schedule, "schedule_time", moment)
            set_moment(schedule, "next_time", due_times(body.schedule).after(moment) or moment)
            tenant = required_tenant(request.name)
            user = await self._editor.users.of_subject(connection, tenant, caller.subject)
            if user is not None:
                schedule.activator, schedule.activator_role = user.name, user.user.role
            if not request.validate_only:
                await self._runs.put_schedule(connection, schedule)
        return schedule

    async def unschedule(self, report: str) -> AnalyticsReportSchedule:
        """Let a report be made no more."""
        async with self._runs.store.transaction() as connection:
            found = await self._runs.schedule(connection, schedule_of(report))
            if found is not None:
                found.ClearField("next_time")
                await self._runs.put_schedule(connection, found)
        return await self.show(report)

    async def show(self, report: str) -> AnalyticsReportSchedule:
        """Give the schedule of a report, one that was never scheduled too."""
        await self._require(report)
        try:
            found: AnalyticsReportSchedule = await self._runs.read_schedule(schedule_of(report))
        except ResourceNotFound:
            return AnalyticsReportSchedule(name=schedule_of(report), report=report)
        return found

    async def runs(self, request: pb.ListReportRunsRequest) -> pb.ListReportRunsResponse:
        """Give one page of the runs of a report."""
        page = await self._runs.page(request)
        if not page.items and not request.page_token:
            await self._require(request.parent)
        items: Any = page.items
        return pb.ListReportRunsResponse(runs=items, next_page_token=page.next_page_token)

    async def document(self, name: str, caller: Caller) -> pb.GetReportDocumentResponse:
        """Give a document to who may list what is in it; ReportDocumentMissing."""
        run = await self._runs.run(name)
        for collection in run.collections:
            if not caller.permits(needed := f"security.{collection}.list"):
                raise PermissionMissing(needed)
        if run.status != ReportStatus.REPORT_STATUS_READY:
            raise ReportDocumentMissing(name, ReportStatus.Name(run.status))
        content = await self._runs.document(name)
        return pb.GetReportDocumentResponse(
            document=content, media_type=run.media_type, sha256=run.sha256
        )

    async def _require(self, report: str) -> None:
        await self._runs.store.get(REPORTS, report, columns=["etag"])
