"""Dashboards, metrics and reports over one real server: planted records, exact figures."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from mesh.identifiers import new_uuid
from mesh.identity.keys import sign_token
from mesh.records.moments import now
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from mesh.sql.tenancy import acting_for
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from secmesh.security.v1.vocabulary_pb2 import ReportStatus, SourceModule, TrendPeriod
from secmesh_client import connect
from services.security.analytics.dashboards import Dashboards
from services.security.analytics.metric_schedule import LABEL, MetricSchedule
from services.security.analytics.metrics import Metrics
from services.security.analytics.reports import Reports
from services.security.analytics.widgets import Widgets
from services.security.errors import ReportTooLarge
from tests.service.planted import Plants
from tests.service.security_world import CATALOGUE, World, refused

TENANT = "charted"
TABLES = Tables(CATALOGUE, isolated=True)
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


def points(widget: pb.WidgetSeries) -> list[tuple[Any, ...]]:
    """Give keys, value and count of each point; None where absent."""
    assert widget.WhichOneof("result") == "series", widget.error.message
    return [
        (*(_value(key) for key in point.keys), _value(point.value), point.count)
        for point in widget.series.points
    ]


def _value(scalar: Any) -> Any:
    which = scalar.WhichOneof("value")
    value: Any = getattr(scalar, which) if which else None
    return value.ToJsonString() if which == "timestamp_value" else value


def problem(widget: pb.WidgetSeries) -> str:
    """Give the reason of a widget's error."""
    assert widget.WhichOneof("result") == "error"
    details: Mapping[str, Any] = MessageToDict(widget.error)["details"][0]
    return str(details["reason"])


@pytest.fixture(scope="module")
def site(analysis: World) -> Site:
    return Site(analysis, TENANT)


@pytest.fixture
async def store(analysis: World) -> AsyncIterator[Store]:
    """The served database, as a process that looks after it has it."""
    engine, owner = open_engine(analysis.access.application), open_engine(analysis.access.owner)
    yield Store(engine, TABLES, page_key=b"k" * 32, owner=owner)
    await engine.dispose()
    await owner.dispose()


def only(project: str, more: str = "") -> str:
    return f'project_id == "{project}"{more and f" && {more}"}'


def test_widgets_are_counts_figures_and_series(site: Site) -> None:
    project = site.issues("CRITICAL", "CRITICAL", "LOW")
    base = {"record_type": "project_issues", "filter": only(project)}
    name = site.dashboard(
        {**base, "type": "number", "metric": "count", "title": "All of them"},
        {**base, "type": "bar", "group_by": ["severity"]},
        {**base, "type": "number", "metric": "avg(risk_score)"},
        {**base, "type": "table", "group_by": ["severity", "status"], "metric": "max(risk_score)"},
        {**base, "filter": only(project, "risk_score > 100.0"), "metric": "sum(risk_score)"},
        {**base, "type": "line", "group_by": ["severity", "first_seen_time"]},
    )
    site.add(
        "project_issues",
        project_id=project,
        severity="SEVERITY_LOW",
        status="FINDING_STATUS_RESOLVED",
        first_seen_time="2026-03-04T23:59:59Z",
    )
    site.write()
    answer = site.show(name)
    total, bars, mean, table, nothing, line = answer.widgets
    assert (total.title, total.key, total.metric) == ("All of them", "w0", "count")
    assert points(total) == [(4, 4)]
    assert points(bars) == [("SEVERITY_LOW", 2, 2), ("SEVERITY_CRITICAL", 2, 2)]
    assert points(mean) == [(2.0, 4)]
    assert points(table) == [
        ("SEVERITY_LOW", OPEN, 3.0, 1),
        ("SEVERITY_LOW", "FINDING_STATUS_RESOLVED", None, 1),
        ("SEVERITY_CRITICAL", OPEN, 2.0, 2),
    ]
    assert points(nothing) == [(None, 0)]
    assert ("SEVERITY_LOW", "2026-03-04T00:00:00Z", 1, 1) in points(line)
    assert (answer.name, answer.HasField("evaluate_time")) == (name, True)


def test_errors_stay_with_their_widgets(site: Site) -> None:
    project = site.issues("LOW")
    base = {"record_type": "project_issues", "filter": only(project)}
    name = site.dashboard(
        {**base},
        {**base, "group_by": ["beauty"]},
        {**base, "metric": "avg(title)"},
        {**base, "metric": "median(risk_score)"},
        {**base, "metric": "avg(beauty)"},
        {**base, "filter": "beauty == 1"},
        {**base, "type": "hologram"},
        {**base, "record_type": "dreams"},
        {"record_type": "mfa_devices", "group_by": ["secret"]},
        {**base, "filter": only(project, "1.0 / (risk_score - risk_score) > 1.0")},
        {**base, "filter": only(project, "100 / 0 == 1")},
    )
    widgets = site.show(name).widgets
    assert points(widgets[0]) == [(1, 1)]
    assert [problem(each) for each in widgets[1:9]] == [
        *["FIELD_INVALID"] * 4,
        "FILTER_INVALID",
        "FIELD_INVALID",
        "KIND_UNKNOWN",
        "FIELD_INVALID",
    ]
    for divided in widgets[9:]:
        # In CEL a division by zero is no value, and what has none does not fit a condition.
        assert divided.WhichOneof("result") == "error" or points(divided)[0][-1] in (0, 1)


def test_filters_limit_every_widget_or_refuse_it(site: Site) -> None:
    project, other = site.issues("LOW", "HIGH", "CRITICAL"), site.issues("CRITICAL")
    code, rule = site.plant("sast_projects", project_id=project), site.plant("sast_rules")
    scan = site.plant("sast_scans", project_id=code)
    for severity in ("INFO", "BLOCKER"):
        names = {"project_id": code, "scan_id": scan, "rule_id": rule}
        values = {"severity": f"SONAR_SEVERITY_{severity}", "status": "SAST_ISSUE_STATUS_OPEN"}
        site.plant("sast_issues", **names, **values)
    name = site.dashboard(
        {"record_type": "project_issues"},
        {"record_type": "sast_issues"},
        {"record_type": "teams"},
        filters={"projects": [project], "days": 30, "least_severity": "SEVERITY_HIGH"},
    )
    issues, code_issues, teams = site.show(name).widgets
    assert points(issues) == [(2, 2)]
    assert points(code_issues) == [(1, 1)]
    assert problem(teams) == "FIELD_INVALID"
    assert "teams have no severity" in teams.error.message
    foreign = other.replace(site.parent, "tenants/acme")
    widgets = [{"record_type": "project_issues"}, {"record_type": "projects"}]
    whole = site.show(site.dashboard(*widgets, filters={"projects": [project, foreign]}))
    assert [points(each) for each in whole.widgets] == [[(3, 3)], [(1, 1)]]


def test_all_widgets_read_one_snapshot(site: Site) -> None:
    project = site.issues()
    base = {"record_type": "project_issues", "filter": only(project)}
    name = site.dashboard(*[base] * 8)
    values = {"severity": "SEVERITY_LOW", "status": OPEN}

    def write() -> None:
        for _ in range(5):
            for _ in range(5):
                site.add("project_issues", project_id=project, **values)
            site.write()

    with ThreadPoolExecutor(1) as pool:
        writing, seen = pool.submit(write), []
        while not writing.done():
            counts = {points(each)[0][0] for each in site.show(name).widgets}
            assert len(counts) == 1
            seen.append(counts.pop())
        writing.result()
    assert seen == sorted(seen)
    assert points(site.show(name).widgets[0]) == [(25, 25)]


def test_nothing_is_told_of_what_the_caller_may_not_list(site: Site) -> None:
    project = site.issues("LOW")
    base = {"record_type": "project_issues", "filter": only(project)}
    name = site.dashboard(base, {"record_type": "teams"})
    token = sign_token(
        site.world.keys,
        subject="bob",
        tenant=TENANT,
        permissions=["security.analytics_dashboards.get", "security.project_issues.list"],
    )
    channel = connect(site.world.address, token=token)
    site.world.channels.append(channel)
    allowed, denied = (
        AnalyticsServiceStub(channel)
        .EvaluateDashboard(pb.EvaluateDashboardRequest(name=name))
        .widgets
    )
    assert points(allowed) == [(1, 1)]
    assert problem(denied) == "PERMISSION_MISSING"
    assert "security.teams.list" in denied.error.message


def test_metrics_are_kept_once_for_each_span(site: Site) -> None:
    project = site.issues("HIGH", "HIGH", "LOW")
    base = {"record_type": "project_issues", "filter": only(project)}
    dashboard = site.dashboard(
        {**base},
        {**base, "group_by": ["severity"], "metric": "avg(risk_score)"},
        {**base, "metric": "min(first_seen_time)"},
        {**base, "metric": "sum(beauty)"},
        {**base, "filter": only(project, "risk_score > 100.0"), "metric": "max(risk_score)"},
    )
    slug = site.read(dashboard).analytics_dashboard.slug
    request = pb.RecordMetricsRequest(dashboard=dashboard, period=TrendPeriod.TREND_PERIOD_MONTH)
    answer = site.stub.RecordMetrics(request)
    assert (answer.created, answer.replaced) == (3, 0)
    assert [each.widget for each in answer.problems] == ["w2", "w3"]
    site.plant("project_issues", project_id=project, severity="SEVERITY_HIGH", risk_score=9)
    again = site.stub.RecordMetrics(request)
    assert (again.created, again.replaced) == (0, 3)
    assert again.period_start_time == answer.period_start_time
    assert answer.period_start_time.ToJsonString().endswith("-01T00:00:00Z")
    whole, high, low = site.metrics(slug)
    assert (whole.name, whole.value, dict(whole.dimensions)) == (f"{slug}/w0", 4, {})
    assert (high.value, dict(high.dimensions)) == (4, {"severity": "SEVERITY_HIGH"})
    assert (low.value, dict(low.dimensions)) == (3, {"severity": "SEVERITY_LOW"})
    assert whole.period == TrendPeriod.TREND_PERIOD_MONTH
    assert whole.source_module == SourceModule.SOURCE_MODULE_MANUAL
    day = site.stub.RecordMetrics(pb.RecordMetricsRequest(dashboard=dashboard))
    assert (day.created, day.replaced) == (3, 0)
    version = pb.RecordMetricsRequest(dashboard=dashboard, period=TrendPeriod.TREND_PERIOD_VERSION)
    assert refused(site.stub.RecordMetrics, version).violations[0].field == "period"


async def test_dashboards_with_a_label_are_measured_by_the_service(
    site: Site, store: Store
) -> None:
    project = site.issues("HIGH")
    base = {"record_type": "project_issues", "filter": only(project)}
    names = [site.dashboard(base), site.dashboard(base), site.dashboard(base)]
    slugs = [site.read(name).analytics_dashboard.slug for name in names]
    for name, word in zip(names, ("hour", "century"), strict=False):
        record = site.read(name)
        record.labels[LABEL] = word
        request = UpdateRecordRequest(record=record)
        request.update_mask.paths.append("labels")
        site.records.UpdateRecord(request)
    dashboards = Dashboards(store, Widgets(store, CATALOGUE))
    start = now()
    moments = iter([start, start, start + 3_600_000_000])
    metrics = Metrics(store, CATALOGUE, dashboards, lambda: next(moments))
    schedule = MetricSchedule(store, metrics)
    for _ in range(3):
        assert await schedule.look() == 1
    found = [len(site.metrics(slug)) for slug in slugs]
    assert found == [2, 0, 0], "an hour's value is replaced, the next hour's stands beside it"


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


@pytest.mark.parametrize("format_", ["PDF", "XML", "XLSX", "SARIF"])
def test_formats_that_cannot_be_made_are_named(site: Site, format_: str) -> None:
    name = site.report(format_, query={"record_type": "teams", "columns": ["name"]})
    error = refused(site.stub.GenerateReport, pb.GenerateReportRequest(name=name))
    assert (error.reason, error.metadata["format"]) == ("DOCUMENT_FORMAT_UNSUPPORTED", format_)


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
    site: Site, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.security.analytics.listing.MAX_ROWS", 2)
    project = site.issues("LOW", "LOW", "LOW")
    query = {"record_type": "project_issues", "filter": only(project), "columns": ["severity"]}
    reports = Reports(store, CATALOGUE, Widgets(store, CATALOGUE))
    with acting_for(TENANT):
        made = await reports.generate(site.report(query={**query, "limit": 2}), keep=False)
        assert len(json.loads(made.document)["tables"][0]["rows"]) == 2
        for more in ({}, {"limit": 3}):
            with pytest.raises(ReportTooLarge, match="more than 2 rows"):
                await reports.generate(site.report(query={**query, **more}), keep=False)


Ask = tuple[str, Callable[[str], Any], str]
ASKS: list[Ask] = [
    ("EvaluateDashboard", lambda name: pb.EvaluateDashboardRequest(name=name), "dashboards"),
    ("RecordMetrics", lambda name: pb.RecordMetricsRequest(dashboard=name), "dashboards"),
    ("GenerateReport", lambda name: pb.GenerateReportRequest(name=name), "reports"),
]


@pytest.mark.parametrize(("method", "request_of", "kind"), ASKS, ids=lambda each: str(each)[:20])
def test_another_tenant_learns_nothing(
    site: Site, method: str, request_of: Callable[[str], Any], kind: str
) -> None:
    name = site.dashboard({"record_type": "teams"})
    if kind == "reports":
        name = site.report(query={"record_type": "teams", "columns": ["name"]})
    absent = f"{site.parent}/analytics_{kind}/none"
    stranger = site.stub_of(AnalyticsServiceStub, "beta", "admin")
    strange = refused(getattr(stranger, method), request_of(name))
    missing = refused(getattr(site.stub, method), request_of(absent))
    assert strange.reason == missing.reason == "RESOURCE_NOT_FOUND"
    assert strange.message.replace(name, "") == missing.message.replace(absent, "")
    nobody = refused(getattr(site.stub_of(AnalyticsServiceStub, TENANT), method), request_of(name))
    assert nobody.reason == "PERMISSION_MISSING"
