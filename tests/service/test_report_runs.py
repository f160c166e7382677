"""Scheduled reports: each due time one run, made with the scheduler's rights, and sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mesh.embedded.postgres import Access
from mesh.errors import FilterInvalid, PermissionMissing, ResourceNotFound
from mesh.records.moments import now
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_report_run_pb2 import (
    AnalyticsReportRun,
    AnalyticsReportSchedule,
)
from secmesh.security.v1.vocabulary_pb2 import ReportStatus
from services.security.analytics.mail import DELIVERED, Letter, Mail, MailServer, Outcome
from services.security.analytics.report_run_store import BUSY, ReportRunStore
from services.security.analytics.report_runs import LETTERS, TRIES, ReportRuns
from services.security.analytics.report_schedules import ReportSchedules
from services.security.analytics.reports import Reports
from services.security.analytics.widgets import Widgets
from services.security.errors import ReportDocumentMissing, ScheduleRefused
from services.security.findings.due import moment_of
from tests.service.own_tenant import OwnTenant, whole_store
from tests.service.security_world import CATALOGUE

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAYS = 30
START = 1_906_711_260_000_000
"""What the clocks begin at, 2030-06-03T10:01Z: when a test runs must not decide what is due."""
READY = ReportStatus.REPORT_STATUS_READY
FAILED = ReportStatus.REPORT_STATUS_FAILED
State = AnalyticsReportRun.Delivery


class Postman:
    """Takes letters, and gives what a test says became of them."""

    def __init__(self) -> None:
        self.sent: list[Letter] = []
        self.batches: list[int] = []
        self.outcomes: list[Outcome] = []
        """Of the next letters; those after them are delivered."""

    def obstacle(self, recipient: str) -> str:
        return "is nobody" if recipient == "nobody" else ""

    async def send(self, letters: Sequence[Letter]) -> Sequence[Outcome]:
        self.batches.append(len(letters))
        self.sent += letters
        return [self.outcomes.pop(0) if self.outcomes else DELIVERED for _ in letters]


class Press(OwnTenant):
    """A tenant with reports."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.later = START - now()
        self.postman = Postman()
        self.runs = ReportRunStore(store, self.clock)
        self.reports = Reports(store, CATALOGUE, Widgets(store, CATALOGUE), self.clock)
        self.schedules = ReportSchedules(self.runs, self.reports, self.editor)

    async def report(self, **values: Any) -> str:
        """Write a report of users that is due each hour."""
        query = {"record_type": "teams", "columns": ["name"]}
        return await self.create(
            "analytics_reports",
            **{
                "name": "Teams\nof us",
                "query": query,
                "format": "DOCUMENT_FORMAT_JSON",
                "schedule": "CRON_TZ=Europe/Berlin 0 * * * *",
                "status": "REPORT_STATUS_PENDING",
                **values,
            },
        )

    async def schedule(
        self, report: str, *permissions: str, **fields: Any
    ) -> AnalyticsReportSchedule:
        subject = fields.pop("subject", "ann")
        request = pb.ScheduleReportRequest(name=report, **fields)
        with acting_for(self.tenant):
            return await self.schedules.schedule(request, self.caller(subject, *permissions))

    async def shown(self, report: str) -> AnalyticsReportSchedule:
        with acting_for(self.tenant):
            return await self.schedules.show(report)

    async def look(self, times: int = 1, reports: Any = None, post: Any = None) -> None:
        """Look in so many processes at once."""
        made = reports or self.reports
        sender = post or self.postman
        processes = [ReportRuns(self.runs, made, self.editor, sender, DAYS) for _ in range(times)]
        await asyncio.gather(*(each.look() for each in processes))

    async def listed(self, report: str, condition: str = "") -> list[AnalyticsReportRun]:
        request = pb.ListReportRunsRequest(parent=report, filter=condition)
        with acting_for(self.tenant):
            return list((await self.schedules.runs(request)).runs)

    async def document(self, run: str, *permissions: str) -> pb.GetReportDocumentResponse:
        with acting_for(self.tenant):
            return await self.schedules.document(run, self.caller("eve", *permissions))


@pytest.fixture
async def press(audited_database: Access) -> AsyncIterator[Press]:
    async with whole_store(audited_database) as store:
        made = Press(store)
        yield made
        for name in await made.found("analytics_reports"):
            with acting_for(made.tenant):
                await made.schedules.unschedule(name)


async def test_each_due_time_has_one_run_and_missed_ones_are_told_in_the_last(
    press: Press,
) -> None:
    await press.create("teams", name="blue")
    report = await press.report()
    schedule = await press.schedule(report)
    assert await press.listed(report) == []
    press.later += HOUR
    await press.look(times=3)
    [first] = await press.listed(report)
    assert (first.status, first.missed_count, first.row_count) == (READY, 0, 1)
    assert first.due_time == schedule.next_time
    document = await press.document(first.name)
    assert json.loads(document.document)["tables"][0]["rows"] == [["blue"]]
    assert (document.media_type, document.sha256) == ("application/json", first.sha256)
    body = (await press.found("analytics_reports"))[report]
    assert (body.status, body.sha256, body.object_uri) == (READY, first.sha256, first.name)
    press.later += 5 * HOUR
    await press.look(times=3)
    last, again = await press.listed(report)
    assert again == first
    assert await press.listed(report, "missed_count == 0") == [first]
    with pytest.raises(FilterInvalid):
        await press.listed(report, 'true) || (report != "')
    assert (last.missed_count, last.status) == (4, READY)
    assert moment_of(last, "first_missed_time") == moment_of(first, "due_time") + HOUR
    assert moment_of(last, "due_time") == moment_of(first, "due_time") + 5 * HOUR
    with acting_for(press.tenant):
        assert not (await press.schedules.unschedule(report)).HasField("next_time")
    press.later += 5 * HOUR
    await press.look()
    assert len(await press.listed(report)) == 2


async def test_a_document_is_given_to_who_may_list_what_is_in_it(press: Press) -> None:
    report = await press.report()
    await press.schedule(report)
    press.later += HOUR
    await press.look()
    [run] = await press.listed(report)
    assert list(run.collections) == ["teams"]
    with pytest.raises(PermissionMissing) as error:
        await press.document(run.name, "security.analytics_reports.generate")
    assert error.value.metadata["permission"] == "security.teams.list"
    press.later += DAYS * 24 * HOUR
    await press.look()
    expired = next(each for each in await press.listed(report) if each.name == run.name)
    assert expired.status == ReportStatus.REPORT_STATUS_EXPIRED
    with pytest.raises(ReportDocumentMissing):
        await press.document(run.name)
    with acting_for(press.tenant), pytest.raises(ResourceNotFound):
        await press.runs.document(run.name)


async def test_a_run_fails_for_who_may_no_longer_have_it(press: Press) -> None:
    user, report = await press.admin(), await press.report()
    await press.schedule(report, subject=user.rpartition("/")[2])
    await press.set(user, status="USER_STATUS_SUSPENDED")
    press.later += HOUR
    await press.look()
    [run] = await press.listed(report)
    assert (run.status, "is SUSPENDED" in run.error_message) == (FAILED, True)
    body = (await press.found("analytics_reports"))[report]
    assert (body.status, body.error_message) == (FAILED, run.error_message)
    await press.set(user, status="USER_STATUS_ACTIVE")
    press.later += HOUR
    await press.look()
    assert (await press.listed(report))[0].status == READY


async def test_a_run_reads_what_the_scheduler_may_list(press: Press) -> None:
    widget = {"key": "w", "record_type": "teams", "type": "number"}
    board = await press.create("analytics_dashboards", name="b", slug="b", widgets=[widget])
    report = await press.report(dashboard_id=board, query={})
    await press.schedule(report, "security.analytics_reports.*", "security.teams.list")
    await press.set(board, widgets=[{**widget, "record_type": "users"}])
    press.later += HOUR
    await press.look()
    [run] = await press.listed(report)
    assert (run.status, "security.users.list" in run.error_message) == (FAILED, True)


async def test_a_report_that_was_changed_is_made_no_more(press: Press) -> None:
    report = await press.report()
    await press.schedule(report)
    await press.set(report, recipients=["eve@elsewhere.example"])
    press.later += HOUR
    await press.look()
    [run] = await press.listed(report)
    assert (run.status, "was changed since" in run.error_message) == (FAILED, True)
    assert not (await press.shown(report)).HasField("next_time")
    assert press.postman.sent == []


async def test_what_a_dead_process_began_another_one_does(press: Press) -> None:
    class Dying(Reports):
        async def make(self, name: str) -> Any:
            raise ConnectionError(name)

    report = await press.report(recipients=["a@b.example"])
    await press.schedule(report)
    press.later += HOUR
    dying = Dying(press.store, CATALOGUE, Widgets(press.store, CATALOGUE), press.clock)
    await press.look(reports=dying)
    await press.look()
    [run] = await press.listed(report)
    assert run.status == ReportStatus.REPORT_STATUS_PENDING
    press.later += int(BUSY.total_seconds()) * 1_000_000
    await press.look(times=2)
    await press.look(times=2)
    [run] = await press.listed(report)
    assert (run.status, len(press.postman.sent)) == (READY, 1)


async def test_letters_go_to_each_recipient_once_and_again_where_that_may_help(
    press: Press,
) -> None:
    away = [f"r{number}@b.example" for number in range(LETTERS + 1)]
    report = await press.report(recipients=["nobody", *away, away[0]], schedule="0 0 1 1 *")
    await press.schedule(report)
    press.later += 366 * 24 * HOUR
    press.postman.outcomes = [Outcome("is full", again=True), Outcome("550 unknown")]
    await press.look()
    await press.look()
    [run] = await press.listed(report)
    states = {each.recipient: (each.state, each.reason) for each in run.deliveries}
    assert states["nobody"] == (State.STATE_NOT_DELIVERED, "is nobody")
    assert states[away[0]] == (State.STATE_PENDING, "is full")
    assert states[away[1]] == (State.STATE_NOT_DELIVERED, "550 unknown")
    assert states[away[2]] == (State.STATE_DELIVERED, "")
    press.later += MINUTE
    await press.look()
    assert [each.recipient for each in press.postman.sent] == [*away[:LETTERS], away[0], away[-1]]
    [run] = await press.listed(report)
    unsent = [each.recipient for each in run.deliveries if each.state != State.STATE_DELIVERED]
    assert unsent == ["nobody", away[1]]
    letter = press.postman.sent[0]
    assert json.loads(letter.document)["tables"][0]["title"] == letter.title


async def test_a_letter_that_nobody_takes_is_given_up(press: Press) -> None:
    report = await press.report(recipients=["a@b.example"], schedule="0 0 1 1 *")
    await press.schedule(report)
    press.later += 366 * 24 * HOUR
    press.postman.outcomes = [Outcome("is down", again=True)] * TRIES
    await press.look()
    for _ in range(TRIES + 2):
        await press.look()
        press.later += HOUR
    [run] = await press.listed(report)
    [delivery] = run.deliveries
    assert (delivery.state, delivery.reason) == (State.STATE_NOT_DELIVERED, "is down")
    assert press.postman.batches == [1] * TRIES


async def test_without_a_mail_server_the_run_says_that_nothing_was_sent(press: Press) -> None:
    report = await press.report(recipients=["a@b.example"])
    await press.schedule(report)
    press.later += HOUR
    await press.look(post=Mail(MailServer()))
    [run] = await press.listed(report)
    [delivery] = run.deliveries
    assert (run.status, delivery.state) == (READY, State.STATE_NOT_DELIVERED)
    assert delivery.reason == "no mail server is configured"


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (None, "the report has no schedule"),
        ("every day", "'every day' is no schedule of five fields"),
        ("CRON_TZ=Moon/Tycho 0 6 * * *", "'Moon/Tycho' is not known"),
        ("0 0 31 2 *", "is never due"),
    ],
)
async def test_what_cannot_be_scheduled_is_refused(
    press: Press, schedule: str | None, problem: str
) -> None:
    report = await press.report(schedule=schedule)
    with pytest.raises(ScheduleRefused) as error:
        await press.schedule(report)
    assert problem in error.value.message
    assert not (await press.shown(report)).HasField("schedule_time")
