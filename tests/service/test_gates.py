"""Quality gates over one real server: planted records, exact values, and who may ask."""

from typing import Any

import pytest

from mesh.identifiers import new_uuid
from secmesh.security.v1 import quality_gate_service_pb2 as pb
from secmesh.security.v1.quality_gate_service_pb2_grpc import QualityGateServiceStub
from secmesh.security.v1.sast_quality_gate_pb2 import QualityGateStatus, Rating
from services.security.gates.metrics import METRICS
from tests.service.gate_site import TENANT, Site
from tests.service.security_world import World, refused

OK, ERROR, NOT_COMPUTED = "STATUS_OK", "STATUS_ERROR", "STATUS_NOT_COMPUTED"
PASSED = QualityGateStatus.QUALITY_GATE_STATUS_OK
FAILED = QualityGateStatus.QUALITY_GATE_STATUS_ERROR
NOTHING = QualityGateStatus.QUALITY_GATE_STATUS_NONE


def values(answer: pb.EvaluateGateResponse) -> dict[str, float | str]:
    """Give what was measured by metric, or why it was not."""
    return {
        each.metric_key: each.actual_value if each.HasField("actual_value") else each.reason
        for each in answer.conditions
    }


def statuses(answer: pb.EvaluateGateResponse) -> list[str]:
    return [pb.ConditionResult.Status.Name(each.status) for each in answer.conditions]


@pytest.fixture(scope="module")
def site(analysis: World) -> Site:
    return Site(analysis, TENANT)


def test_issues_are_counted_rated_and_told_apart(site: Site) -> None:
    project = site.project(
        *(
            ("violations", "GT", 100),
            ("bugs", "GT", 1),
            ("vulnerabilities", "GT", 2),
            ("code_smells", "GT", 0),
            ("major_violations", "GT", 1),
            ("blocker_violations", "GT", 0),
            ("reliability_rating", "GT", 1),
            ("security_rating", "GT", 4),
            ("sqale_rating", "GT", 1),
            ("sqale_debt_ratio", "GT", 50),
            ("sqale_index", "GT", 1000),
            ("security_hotspots_reviewed", "LT", 80),
            ("security_review_rating", "GT", 1),
            ("ncloc", "GT", 1_000_000),
        ),
    )
    scan = site.scan(project)
    site.measure(project, scan, "ncloc", 100)
    site.issue(project, scan, "BUG", "MAJOR")
    site.issue(project, scan, "BUG", "MINOR", status="SAST_ISSUE_STATUS_CONFIRMED")
    site.issue(project, scan, "VULNERABILITY", "CRITICAL", status="SAST_ISSUE_STATUS_REOPENED")
    site.issue(project, scan, "CODE_SMELL", "INFO", effort_minutes=200)
    site.issue(project, scan, "CODE_SMELL", "MAJOR", effort_minutes=190)
    decided = {
        "status": "SAST_ISSUE_STATUS_RESOLVED",
        "resolution": "SAST_RESOLUTION_FALSE_POSITIVE",
    }
    site.issue(project, scan, "VULNERABILITY", "BLOCKER", **decided)
    gone = {"status": "SAST_ISSUE_STATUS_CLOSED", "resolution": "SAST_RESOLUTION_FIXED"}
    site.issue(project, scan, "BUG", "BLOCKER", **gone)
    site.issue(project, scan, "BUG", "BLOCKER", branch="another")
    for status in ("TO_REVIEW", "REVIEWED", "REVIEWED", "REVIEWED"):
        site.add(
            "sast_security_hotspots",
            project_id=project,
            rule_id=site.rule,
            scan_id=scan,
            branch="trunk",
            status=f"HOTSPOT_STATUS_{status}",
        )
    site.write()
    answer = site.judge(project)
    assert values(answer) == {
        "violations": 5,
        "bugs": 2,
        "vulnerabilities": 1,
        "code_smells": 2,
        "major_violations": 2,
        "blocker_violations": 0,
        "reliability_rating": 3,
        "security_rating": 4,
        "sqale_rating": 3,
        "sqale_debt_ratio": 13,
        "sqale_index": 390,
        "security_hotspots_reviewed": 75,
        "security_review_rating": 2,
        "ncloc": 100,
    }
    failing = [each.metric_key for each in answer.conditions if each.status == each.STATUS_ERROR]
    assert failing == [
        *("bugs", "code_smells", "major_violations", "reliability_rating", "sqale_rating"),
        *("security_hotspots_reviewed", "security_review_rating"),
    ]
    assert (answer.status, answer.blocking, answer.branch) == (FAILED, True, "trunk")
    assert list(answer.scans) == [scan]
    assert site.status_of(project) == site.status_of(scan) == FAILED
    body = site.read(project).sast_project
    assert (body.lines_of_code, body.reliability_rating) == (100, Rating.RATING_C)
    assert (body.security_rating, body.maintainability_rating) == (Rating.RATING_D, Rating.RATING_C)


def test_what_is_absent_is_named_and_never_passes(site: Site) -> None:
    wanted = ("bugs", "coverage", "duplicated_lines_density", "dast_vulnerabilities", "beauty")
    project = site.project(*((metric, "GT", 1000) for metric in wanted))
    answer = site.judge(project)
    assert statuses(answer) == [NOT_COMPUTED] * 5
    assert (answer.status, answer.blocking, list(answer.scans)) == (NOTHING, True, [])
    assert values(answer)["bugs"] == "no scan of it is complete"
    site.scan(project, status="SCAN_STATUS_FAILED")
    assert values(site.judge(project))["bugs"] == "no scan of it is complete"
    scan = site.scan(project)
    answer = site.judge(project)
    assert values(answer) == {
        "bugs": 0,
        "coverage": "no coverage is recorded of the branch",
        "duplicated_lines_density": "no duplications are recorded of the branch",
        "dast_vulnerabilities": "no scan of it is complete",
        "beauty": "records do not tell it, and no scan brought it as a measure",
    }
    assert statuses(answer) == [OK, *[NOT_COMPUTED] * 4]
    assert (answer.status, answer.blocking) == (NOTHING, True)
    assert site.status_of(scan) == NOTHING


def test_coverage_and_duplication_are_of_the_last_scan_that_has_them(site: Site) -> None:
    project = site.project(
        *(
            ("coverage", "LT", 80),
            ("line_coverage", "LT", 80),
            ("branch_coverage", "LT", 80),
            ("duplicated_lines", "GT", 14),
            ("duplicated_lines_density", "GT", 3),
        ),
    )
    old, scan = site.scan(project), site.scan(project)
    for lines, day in ((100, 1), (200, 2)):
        time = f"2026-01-0{day}T00:00:00Z"
        site.add(
            "sast_maintainability_reports",
            project_id=project,
            scan_id=old,
            lines_of_code=lines,
            generate_time=time,
        )
    site.scan(project, tool_name="Other")

    def covered(scan: str, file: str, lines: int, hit: int, conditions: int, missed: int) -> None:
        site.add(
            "sast_code_coverage",
            project_id=project,
            scan_id=scan,
            file_path=file,
            lines_to_cover=lines,
            covered_lines=hit,
            uncovered_lines=lines - hit,
            conditions_to_cover=conditions,
            uncovered_conditions=missed,
        )

    covered(old, "a.py", 10, 0, 0, 0)
    covered(scan, "a.py", 60, 50, 10, 4)
    covered(scan, "b.py", 20, 20, 10, 0)
    for file, first, last in (("a.py", 1, 10), ("a.py", 6, 12), ("b.py", 3, 5)):
        site.add(
            "sast_duplications",
            project_id=project,
            scan_id=scan,
            file_path=file,
            start_line=first,
            end_line=last,
            duplicated_lines=last - first + 1,
        )
    site.write()
    answer = site.judge(project)
    assert values(answer) == {
        "coverage": 86,
        "line_coverage": 87.5,
        "branch_coverage": 80,
        "duplicated_lines": 15,
        "duplicated_lines_density": 7.5,
    }
    assert statuses(answer) == [OK, OK, OK, ERROR, ERROR]


def test_nothing_is_divided_by_zero(site: Site) -> None:
    wanted = ("coverage", "branch_coverage", "duplicated_lines_density", "sqale_debt_ratio")
    project = site.project(*((metric, "GT", 0) for metric in wanted))
    scan = site.scan(project)
    site.measure(project, scan, "ncloc", 0)
    nothing = {"lines_to_cover": 0, "covered_lines": 0, "uncovered_lines": 0}
    site.add("sast_code_coverage", project_id=project, scan_id=scan, **nothing)
    site.add("sast_duplications", project_id=project, scan_id=scan, start_line=1, end_line=3)
    site.write()
    answer = site.judge(project)
    assert statuses(answer) == [NOT_COMPUTED] * 4
    assert values(answer) == {
        "coverage": "there is nothing to cover",
        "branch_coverage": "there is nothing to cover",
        "duplicated_lines_density": "the project's lines of code are not recorded",
        "sqale_debt_ratio": "the project's lines of code are not recorded",
    }


def test_new_code_is_what_the_last_scans_first_saw(site: Site) -> None:
    project = site.project(("new_bugs", "GT", 0), ("bugs", "GT", 5), ("new_coverage", "LT", 80))
    first = site.scan(project)
    site.issue(project, first, "BUG", "MAJOR")
    site.write()
    answer = site.judge(project)
    assert statuses(answer)[:2] == [NOT_COMPUTED, OK]
    assert values(answer)["new_bugs"] == "no complete scan came before the last one"
    second = site.scan(project)
    site.issue(project, second, "BUG", "MAJOR")
    site.issue(project, second, "BUG", "MAJOR", first_scan_id=first)
    site.measure(project, second, "coverage", 79.5, on_new_code=True)
    site.write()
    answer = site.judge(project)
    assert values(answer) == {"new_bugs": 1, "bugs": 3, "new_coverage": 79.5}
    assert [each.on_new_code for each in answer.conditions] == [True, False, True]
    assert statuses(answer) == [ERROR, OK, ERROR]
    site.scan(project)
    assert values(site.judge(project))["new_bugs"] == 0


def test_the_scope_of_a_gate_and_the_period_of_a_project_are_kept(site: Site) -> None:
    project = site.project()
    gate = site.gate(("bugs", "GT", 0), scope="GATE_SCOPE_NEW_CODE")
    settings = {"new_code_period": "NEW_CODE_PERIOD_NUMBER_OF_DAYS", "new_code_value": "30"}
    site.plant("sast_project_settings", project_id=project, quality_gate_id=gate, **settings)
    scan = site.scan(project)
    site.issue(project, scan, "BUG", "MAJOR", first_seen_time="2020-01-01T00:00:00Z")
    site.issue(project, scan, "BUG", "MAJOR", first_seen_time="2026-11-20T00:00:00Z")
    site.write()
    answer = site.judge(project)
    assert answer.gate == gate
    assert answer.conditions[0].on_new_code
    assert answer.conditions[0].reason == ""
    recent = answer.conditions[0].actual_value
    assert recent in (0, 1), "the older one is not new"
    other = site.project()
    period = {"new_code_period": "NEW_CODE_PERIOD_REFERENCE_BRANCH", "new_code_value": "main"}
    site.plant("sast_project_settings", project_id=other, quality_gate_id=gate, **period)
    site.scan(other)
    told = site.judge(other).conditions[0]
    assert told.status == told.STATUS_NOT_COMPUTED
    assert "NEW_CODE_PERIOD_REFERENCE_BRANCH" in told.reason


def test_dependencies_and_running_applications_are_judged_too(site: Site) -> None:
    whole = site.plant("projects", key="shop")
    project = site.plant("sast_projects", key="code-of-shop", project_id=whole)
    running = site.plant("dast_projects", name="shop")
    gate = site.gate(
        ("app_security_issues", "GT", 1),
        ("critical_app_security_issues", "GT", 0),
        ("new_app_security_issues", "GT", 9),
        ("known_exploited_app_security_issues", "GT", 0),
        ("high_dast_vulnerabilities", "GT", 0),
        ("dast_vulnerabilities", "GT", 5),
    )
    site.plant("sast_project_settings", project_id=project, quality_gate_id=gate)
    done = {"status": "SCAN_STATUS_COMPLETED", "tool_name": "Trivy"}
    place = {"branch": "trunk", "target": "shop"}
    first = site.plant("app_security_scans", project_id=whole, **place, **done)

    def dependency(scan: str, severity: str, **values: Any) -> None:
        chosen = {"status": "FINDING_STATUS_OPEN", "severity": f"SEVERITY_{severity}", **values}
        site.plant("app_security_issues", project_id=whole, scan_id=scan, **chosen)

    dependency(first, "HIGH", known_exploited=True)
    second = site.plant(
        "app_security_scans", project_id=whole, report_sha256=new_uuid(), **place, **done
    )
    dependency(second, "CRITICAL")
    dependency(second, "CRITICAL", status="FINDING_STATUS_FALSE_POSITIVE")
    scan = site.plant("dast_scans", project_id=running, **done)
    alert = {"severity": "SEVERITY_HIGH", "status": "FINDING_STATUS_CONFIRMED"}
    site.plant("dast_vulnerabilities", project_id=running, scan_id=scan, **alert)
    measured = {
        "app_security_issues": 2,
        "critical_app_security_issues": 1,
        "new_app_security_issues": 1,
        "known_exploited_app_security_issues": 1,
        "high_dast_vulnerabilities": 1,
        "dast_vulnerabilities": 1,
    }
    for name in (whole, project, running):
        answer = site.judge(name, validate_only=True)
        assert (answer.project, answer.gate) == (name, gate)
        assert values(answer) == measured


def test_a_pipeline_judges_the_scan_that_it_imported(site: Site) -> None:
    project = site.project(("bugs", "GT", 0))
    old, scan = site.scan(project), site.scan(project, automation_id="ci/2")
    apart, last = site.scan(project, branch="topic"), site.scan(project, automation_id="ci/3")
    assert list(site.judge(project, scan=last).scans) == [last, old]
    assert site.status_of(last) == PASSED
    assert site.status_of(old) == 0
    error = refused(site.stub.EvaluateGate, pb.EvaluateGateRequest(project=project, scan=scan))
    assert (error.reason, error.metadata["scan"]) == ("SCAN_NOT_CURRENT", scan)
    site.judge(project, scan=apart, branch="topic")
    assert site.status_of(apart) == PASSED
    asked: list[tuple[dict[str, Any], str]] = [
        ({"scan": apart, "branch": "trunk"}, "branch"),
        ({"scan": site.scan(site.project())}, "scan"),
    ]
    for fields, field in asked:
        request = pb.EvaluateGateRequest(project=project, **fields)
        error = refused(site.stub.EvaluateGate, request)
        assert (error.reason, error.violations[0].field) == ("FIELD_INVALID", field)


def test_validate_only_and_other_branches_leave_the_project_as_it_was(site: Site) -> None:
    project = site.project(("bugs", "GT", 0))
    scan = site.scan(project)
    assert site.judge(project, validate_only=True).status == PASSED
    assert site.status_of(project) == site.status_of(scan) == 0
    site.judge(project, branch="topic")
    assert site.status_of(project) == 0
    before = site.read(project)
    site.judge(project)
    kept = site.read(project)
    assert (before.etag != kept.etag, site.status_of(scan)) == (True, PASSED)
    site.judge(project)
    assert site.read(project) == kept, "nothing is written"


@pytest.mark.parametrize(
    ("mode", "status", "blocking", "conditions"),
    [("OFF", NOTHING, False, 0), ("MONITOR", FAILED, False, 1), ("BLOCK", FAILED, True, 1)],
)
def test_a_gate_does_what_its_enforcement_says(
    site: Site, mode: str, status: int, blocking: bool, conditions: int
) -> None:
    gate = site.gate(("reliability_rating", "LT", 3), enforcement=f"ENFORCEMENT_MODE_{mode}")
    project = site.project(quality_gate_id=gate)
    site.scan(project)
    answer = site.judge(project)
    assert (answer.status, answer.blocking, len(answer.conditions)) == (
        *(status, blocking),
        conditions,
    )


def test_the_default_gate_of_the_tenant_is_the_last_resort(site: Site) -> None:
    project = site.project()
    asked = pb.EvaluateGateRequest(project=project)
    error = refused(site.stub.EvaluateGate, asked)
    assert (error.reason, error.metadata["defaults"]) == ("QUALITY_GATE_UNDECIDED", "0")
    gate = site.gate(("bugs", "GT", 0), is_default=True)
    assert site.judge(project).gate == gate
    site.gate(("bugs", "GT", 0), is_default=True)
    error = refused(site.stub.EvaluateGate, asked)
    assert (error.reason, error.metadata["defaults"]) == ("QUALITY_GATE_UNDECIDED", "2")


def test_others_and_strangers_learn_nothing(site: Site) -> None:
    project = site.project(("bugs", "GT", 0))
    request = pb.EvaluateGateRequest(project=project)
    strange = refused(site.stub_of(QualityGateServiceStub, "beta", "admin").EvaluateGate, request)
    absent = pb.EvaluateGateRequest(project=f"{site.parent}/sast_projects/none")
    missing = refused(site.stub.EvaluateGate, absent)
    assert strange.reason == missing.reason == "RESOURCE_NOT_FOUND"
    assert strange.message.replace(project, "") == missing.message.replace(absent.project, "")
    viewer = refused(site.stub_of(QualityGateServiceStub, TENANT, "viewer").EvaluateGate, request)
    assert viewer.metadata["permission"] == "security.sast_quality_gates.evaluate"
    wrong = refused(
        site.stub.EvaluateGate, pb.EvaluateGateRequest(project=f"{site.parent}/teams/1")
    )
    assert wrong.violations[0].field == "project"


def test_every_metric_can_be_asked_for_of_whole_and_new_code(site: Site) -> None:
    names = [f"{prefix}{name}" for name in METRICS for prefix in ("", "new_")]
    for start in range(0, len(names), 50):
        project = site.project(*((name, "GT", 1e9) for name in names[start : start + 50]))
        site.scan(project)
        answer = site.judge(project)
        assert len(answer.conditions) == len(names[start : start + 50])
        assert all(each.reason or each.HasField("actual_value") for each in answer.conditions)
