"""Dashboards, metrics and reports over one real server: planted records, exact figures."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from mesh.identifiers import new_uuid
from mesh.records.moments import now
from mesh.sql.store import Store
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from secmesh.security.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest, UpdateRecordRequest
from secmesh.security.v1.vocabulary_pb2 import SourceModule, TrendPeriod
from services.security.analytics.dashboards import Dashboards
from services.security.analytics.metric_schedule import LABEL, MetricSchedule
from services.security.analytics.metrics import Metrics
from services.security.analytics.widgets import Widgets
from tests.service.analytics_site import OPEN, TENANT, Site, only
from tests.service.security_world import CATALOGUE, World, refused


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
    bob = site.stub_of(
        AnalyticsServiceStub,
        TENANT,
        permissions=("security.analytics_dashboards.get", "security.project_issues.list"),
        subject="bob",
    )
    allowed, denied = bob.EvaluateDashboard(pb.EvaluateDashboardRequest(name=name)).widgets
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
    site: Site, analysis_store: Store
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
    dashboards = Dashboards(analysis_store, Widgets(analysis_store, CATALOGUE))
    start = now()
    moments = iter([start, start, start + 3_600_000_000])
    metrics = Metrics(analysis_store, CATALOGUE, dashboards, lambda: next(moments))
    schedule = MetricSchedule(analysis_store, metrics)
    for _ in range(3):
        assert await schedule.look() == 1
    found = [len(site.metrics(slug)) for slug in slugs]
    assert found == [2, 0, 0], "an hour's value is replaced, the next hour's stands beside it"


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


def test_who_may_not_list_records_lets_nobody_measure_them(site: Site) -> None:
    """A dashboard that is measured by the service is no way to figures of others."""
    blind = site.stub_of(
        RecordServiceStub,
        TENANT,
        permissions=(
            "security.analytics_dashboards.update",
            "security.analytics_dashboards.create",
        ),
        subject="bob",
    )

    def write(record: Any, *paths: str) -> Any:
        record.etag = ""
        request = UpdateRecordRequest(record=record)
        request.update_mask.paths.extend(paths)
        return request

    record = site.read(site.dashboard({"record_type": "teams"}))
    record.labels[LABEL] = "day"
    error = refused(blind.UpdateRecord, write(record, "labels"))
    assert error.metadata["permission"] == "security.teams.list"
    fresh = CreateRecordRequest(parent=site.parent + "/analytics_dashboards", record=record)
    fresh.record.analytics_dashboard.slug = f"d-{new_uuid()}"
    assert refused(blind.CreateRecord, fresh).reason == "PERMISSION_MISSING"
    site.records.UpdateRecord(write(record, "labels"))
    record.analytics_dashboard.name = "Another name"
    blind.UpdateRecord(write(record, "analytics_dashboard.name"))
    record.analytics_dashboard.widgets[0].filter = "name == 'x'"
    error = refused(blind.UpdateRecord, write(record, "analytics_dashboard.widgets"))
    assert error.metadata["permission"] == "security.teams.list"
    record.labels[LABEL] = "century"
    blind.UpdateRecord(write(record, "labels", "analytics_dashboard.widgets"))
