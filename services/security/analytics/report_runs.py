"""Scheduled reports made and sent: each due time once, whichever process sees it first.

A run goes through steps: it is made, sent, and in the end its document is deleted. A process
claims each step for a while; of one that dies in the middle another does it after that, so that
a document is made once, and sent again at most to those of one batch.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mesh.errors import Refusal, ResourceExists
from mesh.sql.alone import alone
from mesh.sql.recurring import Recurring
from mesh.sql.tenancy import acting_for
from mesh.sql.transactions import act_as
from secmesh.security.v1.analytics_report_run_pb2 import AnalyticsReportRun
from secmesh.security.v1.vocabulary_pb2 import ReportStatus
from services.security.analytics.formats import FORMATS
from services.security.analytics.mail import Letter, Post
from services.security.analytics.report_run_store import ReportRunStore, schedule_of
from services.security.analytics.report_schedules import digest_of, due_times
from services.security.analytics.reports import REPORTS, Made, Reports
from services.security.editing import RecordEditor, required_tenant
from services.security.errors import ScheduleRefused
from services.security.findings.due import moment_of, set_moment
from services.security.workflows.mandate import Mandate
from services.security.workflows.schedule import Schedule
from services.security.writers import SYSTEM, writing_as

EVERY = timedelta(seconds=10)
LETTERS = 20
"""Letters that are sent before it is written down which were."""
TRIES = 6
"""Times that a step is tried."""
MISSED = 1000
"""Missed due times that are counted."""
_Delivery = AnalyticsReportRun.Delivery
_MINUTE = 60_000_000
_DAY = 24 * 60 * _MINUTE
_FAILED = "a scheduled report could not be worked on"
_LOG = logging.getLogger(__name__)


class ReportRuns(Recurring):
    """Looks again and again for what is to be done; processes may do so at once."""

    def __init__(
        self,
        runs: ReportRunStore,
        reports: Reports,
        editor: RecordEditor,
        post: Post,
        days: int,
        every: timedelta = EVERY,
    ) -> None:
        super().__init__(every, "scheduled reports were not looked after", "report steps: %d")
        self._runs = runs
        self._reports = reports
        self._editor = editor
        self._post = post
        self._kept = days * _DAY

    async def look(self) -> int:
        """Begin the runs that are due, take the steps that are to be taken; give how many."""
        done = 0
        for tenant, name in await self._runs.due_schedules():
            with acting_for(tenant), alone(_LOG, _FAILED, name):
                done += await self._begin(name)
        for tenant, name in await self._runs.due_runs():
            with acting_for(tenant), alone(_LOG, _FAILED, name):
                done += await self._step(name)
        return done

    async def _begin(self, name: str) -> int:
        """Add the run of the last due time that has come; those missed before are told in it."""
        async with self._runs.store.transaction() as connection:
            schedule, present = await self._runs.schedule(connection, name), self._editor.clock()
            if schedule is None or not schedule.HasField("next_time"):
                return 0
            first = moment_of(schedule, "next_time")
            if first > present:
                return 0
            times = due_times(schedule.cron)
            run = AnalyticsReportRun(
                report=schedule.report, status=ReportStatus.REPORT_STATUS_PENDING
            )
            last = max(times.last(present), first)
            set_moment(run, "due_time", last)
            set_moment(run, "work_time", present)
            if last > first:
                run.missed_count = _count(times, first, last)
                set_moment(run, "first_missed_time", first)
            try:
                async with connection.begin_nested():
                    await self._runs.add_run(connection, required_tenant(name), run)
            except ResourceExists:
                _LOG.warning("a due time had a run already: %s", name)
            if (later := times.after(present)) is None:
                schedule.ClearField("next_time")
            else:
                set_moment(schedule, "next_time", later)
            await self._runs.put_schedule(connection, schedule)
        return 1

    async def _step(self, name: str) -> int:
        claimed = await self._runs.claim(name)
        if claimed is None:
            return 0
        if claimed.status == ReportStatus.REPORT_STATUS_PENDING:
            await self._make(claimed)
        elif any(each.state == _Delivery.STATE_PENDING for each in claimed.deliveries):
            await self._send(claimed)
        else:
            await self._forget(claimed)
        return 1

    async def _make(self, claimed: Any) -> None:
        """Make the document with the rights of who scheduled it, and tell what came of it."""
        run, made = _copy(claimed), None
        try:
            made = await self._made(run.report)
        except Refusal as error:
            self._fail(run, error.message)
        except Exception:
            if claimed.attempts < TRIES:
                raise
            _LOG.exception("a report could not be made: %s", run.report)
            self._fail(run, "the report could not be made")
        else:
            self._ready(run, made)
        async with self._runs.store.transaction() as connection:
            await act_as(connection, SYSTEM)
            if not await self._runs.keep(connection, claimed, run):
                return
            if made is not None:
                await self._runs.add_document(connection, run.name, made.document)
            record = await self._editor.find(connection, run.report)
            body = record.analytics_report
            if made is not None:
                made.tell(body)
                body.object_uri = run.name
            else:
                body.status, body.error_message = run.status, run.error_message
            await self._editor.replace(connection, record)

    async def _made(self, report: str) -> Made:
        schedule = await self._runs.read_schedule(schedule_of(report))
        mandate = Mandate(self._editor.users, schedule, f"report:{report}")
        given = await mandate.authority()
        given.require(f"security.{REPORTS}.generate")
        with writing_as(given.writer):
            made = await self._reports.make(report)
        if digest_of(made.record.analytics_report) != schedule.digest:
            problem = "the report was changed since it was scheduled: schedule it anew"
            await self._end(schedule.name, problem)
            raise ScheduleRefused(problem)
        return made

    async def _end(self, name: str, problem: str) -> None:
        async with self._runs.store.transaction() as connection:
            schedule = await self._runs.schedule(connection, name)
            schedule.ClearField("next_time")
            schedule.problem = problem
            await self._runs.put_schedule(connection, schedule)

    def _fail(self, run: Any, problem: str) -> None:
        run.status, run.error_message = ReportStatus.REPORT_STATUS_FAILED, problem
        run.ClearField("work_time")

    def _ready(self, run: Any, made: Made) -> None:
        body, present = made.record.analytics_report, self._editor.clock()
        run.status, run.attempts = ReportStatus.REPORT_STATUS_READY, 0
        run.format, run.media_type = body.format, made.media_type
        run.row_count, run.sha256 = made.row_count, made.sha256
        run.size_bytes = len(made.document)
        run.collections.extend(sorted(made.collections))
        set_moment(run, "generate_time", made.moment)
        set_moment(run, "expire_time", present + self._kept)
        for recipient in dict.fromkeys(body.recipients):
            obstacle = self._post.obstacle(recipient)
            state = _Delivery.STATE_NOT_DELIVERED if obstacle else _Delivery.STATE_PENDING
            run.deliveries.add(recipient=recipient, state=state, reason=obstacle)
        self._go_on(run, present)

    async def _send(self, claimed: Any) -> None:
        """Send a batch of letters, and tell of each what became of it."""
        run = _copy(claimed)
        pending = [each for each in run.deliveries if each.state == _Delivery.STATE_PENDING]
        pending = pending[:LETTERS]
        outcomes = await self._post.send(await self._letters(run, pending))
        present, again = self._editor.clock(), False
        for delivery, outcome in zip(pending, outcomes, strict=True):
            delivery.reason = outcome.reason
            if not outcome.reason:
                delivery.state = _Delivery.STATE_DELIVERED
                set_moment(delivery, "deliver_time", present)
            elif outcome.again and claimed.attempts < TRIES:
                again = True
            else:
                delivery.state = _Delivery.STATE_NOT_DELIVERED
        # 1, 2, 4, 8 and 16 minutes.
        wait = _MINUTE << (claimed.attempts - 1) if again else 0
        run.attempts = claimed.attempts if again else 0
        self._go_on(run, present + wait)
        async with self._runs.store.transaction() as connection:
            await self._runs.keep(connection, claimed, run)

    async def _letters(self, run: Any, deliveries: Sequence[Any]) -> Sequence[Letter]:
        report: Any = await self._runs.store.get(REPORTS, run.report)
        document = await self._runs.document(run.name)
        made = datetime.fromtimestamp(moment_of(run, "generate_time") / 1_000_000, UTC)
        return [
            Letter(
                run.name,
                each.recipient,
                report.analytics_report.name,
                document,
                run.media_type,
                FORMATS[run.format].extension,
                made,
            )
            for each in deliveries
        ]

    async def _forget(self, claimed: Any) -> None:
        run = _copy(claimed)
        run.status = ReportStatus.REPORT_STATUS_EXPIRED
        run.ClearField("work_time")
        async with self._runs.store.transaction() as connection:
            if await self._runs.keep(connection, claimed, run):
                await self._runs.forget_document(connection, run.name)

    @staticmethod
    def _go_on(run: Any, moment: int) -> None:
        """Say when there is something to do again: letters, or nothing until it expires."""
        if any(each.state == _Delivery.STATE_PENDING for each in run.deliveries):
            set_moment(run, "work_time", moment)
        else:
            set_moment(run, "work_time", moment_of(run, "expire_time"))


def _count(times: Schedule, first: int, last: int) -> int:
    """Count the due times from one up to another that is not counted, as far as MISSED."""
    count, moment = 0, first
    while moment < last and count < MISSED:
        count, moment = count + 1, times.after(moment) or last
    return count


def _copy(run: Any) -> Any:
    copy = AnalyticsReportRun()
    copy.CopyFrom(run)
    return copy
