"""Steps that imports make findings take: in the findings' own history, and in their due times."""

from typing import Any

import pytest

from secmesh.security.v1 import (
    finding_service_pb2,
    project_pb2,
    sast_issue_pb2,
    vocabulary_pb2,
)
from secmesh.security.v1.finding_event_pb2 import FindingEvent
from secmesh.security.v1.import_service_pb2 import ImportReportResponse
from secmesh.security.v1.project_pb2 import Project
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from secmesh.security.v1.sast_settings_pb2 import SastProjectSettings
from tests.service.import_world import Imports, counts, issue, sarif
from tests.service.security_world import TENANT

DAY = 86_400
FIRST, STEP = FindingEvent.CHANGE_DISCOVERY, FindingEvent.CHANGE_TRANSITION
OPEN, CLOSED = "SAST_ISSUE_STATUS_OPEN", "SAST_ISSUE_STATUS_CLOSED"
REOPENED, CONFIRMED = "SAST_ISSUE_STATUS_REOPENED", "SAST_ISSUE_STATUS_CONFIRMED"


def by_path(imports: Imports, answer: ImportReportResponse) -> dict[str, Any]:
    return {each.sast_issue.file_path: each for each in imports.issue_records(answer)}


def steps(imports: Imports, record: Any) -> list[tuple[int, str, str, str]]:
    events = imports.history(record.name)
    assert [each.sequence for each in events] == list(range(1, len(events) + 1))
    return [(each.change, each.from_status, each.to_status, each.actor) for each in events]


def test_the_history_of_a_finding_begins_with_the_report(imports: Imports, project: str) -> None:
    answer = imports.send(sarif(issue()), project)
    (record,) = imports.issue_records(answer)
    (event,) = imports.history(record.name)
    assert (event.change, event.actor, event.sequence) == (FIRST, "import", 1)
    assert (event.from_status, event.to_status) == ("", OPEN)
    assert answer.report_sha256 in event.justification
    assert answer.scans[0] in event.justification


def test_closing_and_reopening_are_steps_with_their_reason(imports: Imports, project: str) -> None:
    imports.send(sarif(issue(), issue(path="b.js")), project)
    second = imports.send(sarif(issue(), properties={"n": 2}), project)
    third = imports.send(sarif(issue(), issue(path="b.js"), properties={"n": 3}), project)
    found = by_path(imports, third)
    assert steps(imports, found["a.js"]) == [(FIRST, "", OPEN, "import")]
    assert steps(imports, found["b.js"]) == [
        (FIRST, "", OPEN, "import"),
        (STEP, OPEN, CLOSED, "import"),
        (STEP, CLOSED, REOPENED, "import"),
    ]
    _, closed, reopened = imports.history(found["b.js"].name)
    assert second.report_sha256 in closed.justification
    assert second.scans[0] in closed.justification
    assert third.report_sha256 in reopened.justification
    assert {"status", "resolution", "close_time"} <= {each.field for each in closed.fields}
    assert {"status", "due_time"} <= {each.field for each in reopened.fields}


def test_steps_of_people_and_of_reports_are_one_history(imports: Imports, project: str) -> None:
    first = imports.send(sarif(issue()), project)
    (record,) = imports.issue_records(first)
    imports.findings.TransitionFinding(
        finding_service_pb2.TransitionFindingRequest(name=record.name, status=CONFIRMED)
    )
    imports.send(sarif(), project)
    assert steps(imports, record) == [
        (FIRST, "", OPEN, "import"),
        (STEP, OPEN, CONFIRMED, "ann"),
        (STEP, CONFIRMED, CLOSED, "import"),
    ]


def test_what_is_silenced_later_says_so(imports: Imports, project: str) -> None:
    imports.send(sarif(issue()), project)
    silent = issue(suppressions=[{"kind": "inSource", "justification": "a test"}])
    answer = imports.send(sarif(silent), project)
    assert counts(answer, "sast_issues") == {"updated": 1}
    (record,) = imports.issue_records(answer)
    assert steps(imports, record)[1:] == [(STEP, OPEN, "SAST_ISSUE_STATUS_RESOLVED", "import")]
    assert record.sast_issue.HasField("resolution")


def test_many_are_closed_at_once_each_with_its_step(imports: Imports, project: str) -> None:
    many = [issue(f"many/{number}") for number in range(520)]
    imports.send(sarif(*many), project)
    answer = imports.send(sarif(), project)
    assert counts(answer, "sast_issues") == {"closed": 520}
    found = imports.issue_records(answer)
    assert {each.sast_issue.status for each in found} == {sast_issue_pb2.SAST_ISSUE_STATUS_CLOSED}
    # From each of the batches in which they are closed.
    for record in (found[0], found[250], found[-1]):
        assert steps(imports, record) == [
            (FIRST, "", OPEN, "import"),
            (STEP, OPEN, CLOSED, "import"),
        ]


def test_a_dry_run_leaves_no_step(imports: Imports, project: str) -> None:
    first = imports.send(sarif(issue()), project)
    (record,) = imports.issue_records(first)
    dry = imports.send(sarif(), project, validate_only=True)
    assert counts(dry, "sast_issues") == {"closed": 1}
    assert len(imports.history(record.name)) == 1


def seconds(issue_: Any, start: str = "first_seen_time") -> int:
    return int(issue_.due_time.seconds - getattr(issue_, start).seconds)


def test_due_times_follow_from_the_severity(imports: Imports, project: str) -> None:
    imports.send(sarif(issue(level="error"), issue(path="b.js", level="note")), project)
    gone = imports.send(sarif(), project)
    closed = by_path(imports, gone)
    assert seconds(closed["a.js"].sast_issue) == 30 * DAY
    assert seconds(closed["b.js"].sast_issue) == 120 * DAY
    back = imports.send(sarif(issue(level="error"), properties={"n": 3}), project)
    reopened = by_path(imports, back)["a.js"].sast_issue
    # Anew from the moment of reopening.
    assert seconds(reopened, "last_seen_time") in range(30 * DAY - 5, 30 * DAY + 60)


def create(imports: Imports, collection: str, record: Record) -> Any:
    request = CreateRecordRequest(parent=f"{TENANT}/{collection}", record=record)
    return imports.record_stub().CreateRecord(request)


def test_settings_of_a_project_decide_its_due_times(imports: Imports, project: str) -> None:
    dry = imports.send(sarif(), project)
    settings = SastProjectSettings(
        project_id=imports.scans(dry)[0].project_id,
        sla_days=SastProjectSettings.SlaDays(critical=3),
    )
    create(imports, "sast_project_settings", Record(sast_project_settings=settings))
    results = [issue(level="error"), issue(path="b.js", level="note")]
    answer = imports.send(sarif(*results), project)
    found = {path: each.sast_issue for path, each in by_path(imports, answer).items()}
    assert seconds(found["a.js"]) == 3 * DAY
    # It has no days for such: they are never due.
    assert not found["b.js"].HasField("due_time")
    imports.send(sarif(), project)
    back = imports.send(sarif(*results, properties={"n": 2}), project)
    reopened = by_path(imports, back)["a.js"].sast_issue
    assert seconds(reopened, "last_seen_time") in range(3 * DAY - 5, 3 * DAY + 60)


@pytest.mark.parametrize("days", [None, 2])
def test_a_project_with_days_of_its_own(imports: Imports, project: str, days: int | None) -> None:
    body = Project(
        name=project,
        key=project,
        status=project_pb2.PROJECT_STATUS_ACTIVE,
        criticality=vocabulary_pb2.CRITICALITY_HIGH,
    )
    if days is not None:
        body.sla_days.high = days
    create(imports, "projects", Record(project=body))
    found = {"VulnerabilityID": "CVE-2020-2", "PkgName": "p", "InstalledVersion": "1"}
    content = {
        "SchemaVersion": 2,
        "ArtifactName": "image",
        "Results": [
            {"Target": "t", "Class": "os-pkgs", "Vulnerabilities": [found | {"Severity": "HIGH"}]}
        ],
    }
    answer = imports.send(content, project)
    (made,) = imports.records("app_security_issues", f'scan_id == "{answer.scans[0]}"')
    assert seconds(made.app_security_issue) == (days or 30) * DAY


def test_people_reopen_by_the_days_of_the_project(imports: Imports, project: str) -> None:
    empty = imports.send(sarif(), project)
    settings = SastProjectSettings(
        project_id=imports.scans(empty)[0].project_id,
        sla_days=SastProjectSettings.SlaDays(critical=5),
    )
    create(imports, "sast_project_settings", Record(sast_project_settings=settings))
    imports.send(sarif(issue(level="error")), project)
    gone = imports.send(sarif(properties={"n": 2}), project)
    (record,) = imports.issue_records(gone)
    reopened = imports.findings.ReopenFinding(
        finding_service_pb2.ReopenFindingRequest(name=record.name, justification="not mended")
    )
    due = reopened.sast_issue.due_time.seconds - reopened.update_time.seconds
    assert due in range(5 * DAY - 5, 5 * DAY + 5)
    assert not reopened.sast_issue.HasField("close_time")
