"""Reports over one real server: documents of planted records, exact, and what is refused."""

import hashlib
import json
from typing import Any

import pytest

from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from secmesh.security.v1.vocabulary_pb2 import ReportStatus
from services.security.analytics.reports import Reports
from services.security.analytics.widgets import Widgets
from services.security.errors import DocumentFormatUnsupported, ReportTooLarge
from tests.service.analytics_site import TENANT, Site, only
from tests.service.security_world import CATALOGUE, World, refused


@pytest.fixture(scope="module")
def site(analysis: World) -> Site:
    return Site(analysis, TENANT)


def test_a_report_lists_records_and_is_kept_by_its_digest(site: Site) -> None:
    project = site.issues("LOW", "CRITICAL", title='=cmd|"<b>"')
    query = {
        "record_type": "project_issues",
        "filter": only(
            project, 'status == FINDING_STATUS_OPEN && title != "${no}" && title != who'
        ),
        "columns": ["severity", "risk_score", "title", "resolve_time", "record.labels"],
        "order_by": "risk_score desc",
    }
    name = site.report(name="Risks of {who}", query=query, parameters={"who": "us"})
    made = site.make(name)
    assert made.media_type == "application/json"
    assert json.loads(made.document) == {
        "title": "Risks of us",
        "tables": [
            {
                "title": "Risks of us",
                "columns": query["columns"],
                "rows": [
                    ["SEVERITY_CRITICAL", 2.0, '=cmd|"<b>"', None, None],
                    ["SEVERITY_LOW", 1.0, '=cmd|"<b>"', None, None],
                ],
            }
        ],
    }
    body = made.report.analytics_report
    assert body.sha256 == hashlib.sha256(made.document).hexdigest()
    assert (body.row_count, body.status) == (2, ReportStatus.REPORT_STATUS_READY)
    assert body.HasField("generate_time")
    assert site.read(name) == made.report
    assert site.make(name).document == made.document
    before = site.read(name)
    limited = {**query, "limit": 1}
    other = site.report(query=limited, parameters={"who": "us"})
    only_one = site.make(other, validate_only=True)
    assert len(json.loads(only_one.document)["tables"][0]["rows"]) == 1
    assert not site.read(other).analytics_report.HasField("sha256")
    assert site.read(name) == before


@pytest.mark.parametrize(
    ("format_", "media_type", "part"),
    [
        ("CSV", "text/csv; charset=utf-8", '"SEVERITY_LOW","1","1.0"\r\n'),
        ("MARKDOWN", "text/markdown; charset=utf-8", "| SEVERITY\\_LOW | 1 | 1.0 |\n"),
        ("HTML", "text/html; charset=utf-8", "<tr><td>SEVERITY_LOW</td><td>1</td><td>1.0</td>"),
    ],
)
def test_a_report_counts_groups_in_each_format(
    site: Site, format_: str, media_type: str, part: str
) -> None:
    project = site.issues("LOW", "CRITICAL")
    query = {"record_type": "project_issues", "filter": only(project), "group_by": ["severity"]}
    query["metrics"] = ["count", "max(risk_score)"]
    made = site.make(site.report(format_, query=query))
    assert made.media_type == media_type
    assert part in made.document.decode()


def test_a_report_prints_a_dashboard_of_its_time(site: Site) -> None:
    project = site.issues("LOW", "CRITICAL")
    base = {"record_type": "project_issues", "filter": only(project), "title": "Issues"}
    dashboard = site.dashboard({**base, "group_by": ["severity"]}, base)
    now_ = {"period_start_time": "2026-01-01T00:00:00Z", "period_end_time": "2099-01-01T00:00:00Z"}
    made = site.make(site.report(dashboard_id=dashboard, query={}, **now_))
    first, second = json.loads(made.document)["tables"]
    assert first["rows"] == [["SEVERITY_LOW", 1], ["SEVERITY_CRITICAL", 1]]
    assert (second["title"], second["columns"], second["rows"]) == ("Issues", ["count"], [[2]])
    assert made.report.analytics_report.row_count == 3
    long_ago = {"period_end_time": "2020-01-01T00:00:00Z"}
    made = site.make(site.report(dashboard_id=dashboard, query={}, **long_ago))
    assert json.loads(made.document)["tables"][1]["rows"] == [[0]]
    broken = site.dashboard(base, {**base, "metric": "avg(beauty)"})
    report = site.report(dashboard_id=broken, query={})
    error = refused(site.stub.GenerateReport, pb.GenerateReportRequest(name=report))
    assert error.reason == "FIELD_INVALID"
    assert not site.read(report).analytics_report.HasField("sha256")


@pytest.mark.parametrize(
    ("format_", "media_type", "start"),
    [
        ("PDF", "application/pdf", b"%PDF-"),
        ("XML", "application/xml", b"<?xml "),
        (
            "XLSX",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            b"PK\x03\x04",
        ),
        ("SARIF", "application/sarif+json", b'{\n  "$schema"'),
    ],
)
def test_a_list_is_made_for_other_programs(
    site: Site, format_: str, media_type: str, start: bytes
) -> None:
    project = site.issues("LOW", title="Odd")
    query = {"record_type": "project_issues", "filter": only(project), "columns": ["title"]}
    made = site.make(site.report(format_, query=query))
    assert (made.media_type, made.document[: len(start)]) == (media_type, start)
    assert made.report.analytics_report.row_count == 1


async def test_a_format_that_cannot_be_made_is_named(
    site: Site, analysis_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = site.report("PDF", query={"record_type": "teams", "columns": ["name"]})
    monkeypatch.setattr("services.security.analytics.reports.FORMATS", {})
    reports = Reports(analysis_store, CATALOGUE, Widgets(analysis_store, CATALOGUE))
    with acting_for(TENANT), pytest.raises(DocumentFormatUnsupported) as error:
        await reports.make(name)
    assert error.value.metadata == {"format": "PDF"}


@pytest.mark.parametrize(
    ("query", "parameters", "reason"),
    [
        ({}, {}, "FIELD_INVALID"),
        ({"record_type": "dreams", "columns": ["name"]}, {}, "KIND_UNKNOWN"),
        ({"record_type": "teams"}, {}, "FIELD_INVALID"),
        ({"record_type": "teams", "columns": ["beauty"]}, {}, "FIELD_INVALID"),
        ({"record_type": "mfa_devices", "columns": ["secret"]}, {}, "FIELD_INVALID"),
        ({"record_type": "teams", "columns": ["name"], "order_by": "x"}, {}, "ORDER_INVALID"),
        ({"record_type": "teams", "columns": ["name"], "filter": "x"}, {}, "FILTER_INVALID"),
        ({"record_type": "teams", "columns": ["name"], "metrics": ["count"]}, {}, "FIELD_INVALID"),
        (
            {"record_type": "teams", "columns": ["name"], "filter": "true"},
            {"name": "x"},
            "FIELD_INVALID",
        ),
        (
            {"record_type": "teams", "columns": ["name"], "filter": "true"},
            {"a b": "x"},
            "FIELD_INVALID",
        ),
    ],
)
def test_what_cannot_be_reported_is_refused(
    site: Site, query: dict[str, Any], parameters: dict[str, str], reason: str
) -> None:
    name = site.report(query=query, parameters=parameters)
    error = refused(site.stub.GenerateReport, pb.GenerateReportRequest(name=name))
    assert error.reason == reason, error.message


def test_a_report_is_whole_or_refused(site: Site) -> None:
    project = site.issues("LOW", "LOW", "LOW", description="x" * 8192)
    columns = ["description"] * 100
    query = {"record_type": "project_issues", "filter": only(project), "columns": columns}
    name = site.report(query=query)
    assert site.make(name).report.analytics_report.row_count == 3
    site.plant("project_issues", project_id=project, description="x" * 8192)
    error = refused(site.stub.GenerateReport, pb.GenerateReportRequest(name=name))
    assert (error.reason, error.metadata["limit"]) == ("REPORT_TOO_LARGE", "3145728 bytes")


async def test_a_list_without_a_limit_is_whole_or_refused(
    site: Site, analysis_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.security.analytics.listing.MAX_ROWS", 2)
    project = site.issues("LOW", "LOW", "LOW")
    query = {"record_type": "project_issues", "filter": only(project), "columns": ["severity"]}
    reports = Reports(analysis_store, CATALOGUE, Widgets(analysis_store, CATALOGUE))
    with acting_for(TENANT):
        made = await reports.make(site.report(query={**query, "limit": 2}))
        assert len(json.loads(made.document)["tables"][0]["rows"]) == 2
        for more in ({}, {"limit": 3}):
            with pytest.raises(ReportTooLarge, match="more than 2 rows"):
                await reports.generate(site.report(query={**query, **more}), keep=False)


def test_values_of_a_title_that_name_others_stand_as_they_are(site: Site) -> None:
    query = {"record_type": "project_issues", "group_by": ["severity"]}
    names = [f"p{number}" for number in range(8)]
    parameters = {
        name: f"{{{after}}}" * 200 for name, after in zip(names, [*names[1:], "who"], strict=True)
    }
    name = site.report(name="{p0} of {none}", query=query, parameters=parameters)
    assert json.loads(site.make(name).document)["title"] == "{p1}" * 200 + " of {none}"


def test_a_report_is_scheduled_by_an_admin_and_shown_to_others(site: Site) -> None:
    query = {"record_type": "teams", "columns": ["name"]}
    name = site.report(query=query, schedule="CRON_TZ=Europe/Berlin 0 6 * * 1")
    request = pb.ScheduleReportRequest(name=name)
    assert refused(site.stub.ScheduleReport, request).reason == "PERMISSION_MISSING"
    boss, shown = site.stub_of(AnalyticsServiceStub, TENANT, "admin"), {"name": name}
    assert boss.ScheduleReport(pb.ScheduleReportRequest(**shown, validate_only=True)).next_time
    ask = pb.GetReportScheduleRequest(**shown)
    assert not site.stub.GetReportSchedule(ask).HasField("next_time")
    schedule = boss.ScheduleReport(request)
    assert site.stub.GetReportSchedule(ask) == schedule
    assert (schedule.report, schedule.next_time.seconds % 3600) == (name, 0)
    assert not site.stub.ListReportRuns(pb.ListReportRunsRequest(parent=name)).runs
    stopped = boss.UnscheduleReport(pb.UnscheduleReportRequest(**shown))
    assert not stopped.HasField("next_time")
    without = pb.ScheduleReportRequest(name=site.report(query=query))
    assert refused(boss.ScheduleReport, without).reason == "SCHEDULE_INVALID"
    for call, missing in (
        (boss.ScheduleReport, pb.ScheduleReportRequest(name=f"{name}x")),
        (boss.UnscheduleReport, pb.UnscheduleReportRequest(name=f"{name}x")),
        (site.stub.GetReportSchedule, pb.GetReportScheduleRequest(name=f"{name}x")),
        (site.stub.ListReportRuns, pb.ListReportRunsRequest(parent=f"{name}x")),
        (
            site.stub.GetReportDocument,
            pb.GetReportDocumentRequest(name=f"tenants/{TENANT}/analytics_report_runs/none"),
        ),
    ):
        assert refused(call, missing).reason == "RESOURCE_NOT_FOUND"
