"""What is made of the answers of Access Analyzer, Inspector and Macie."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.inspector2_pb2 import InspectorAccount
from secmesh.inventory.v1.macie_pb2 import MacieSession
from services.inventory.collect import access_analyzer, inspector2, macie_jobs, macie_sessions
from services.inventory.collect.draft import Draft
from services.inventory.collect.inspector2_findings import finding_draft

T = datetime(2026, 1, 1, tzinfo=UTC)
DENIED = Unread.of(inspector2.STATUS, Outcome.DENIED, "AccessDeniedException")
ANALYZER = {"arn": "arn:a", "name": "a", "type": "ACCOUNT", "status": "ACTIVE"}


def test_public_resources_are_counted_whole_and_named_in_part() -> None:
    draft = access_analyzer.analyzer_draft(ANALYZER)
    access_analyzer.fill_public(draft, [f"arn:{number:03}" for number in range(150)] * 2)
    assert draft.body.public_resource_count == 150
    assert list(draft.body.public_resources) == [f"arn:{number:03}" for number in range(100)]
    access_analyzer.fill_public(draft, DENIED)
    assert draft.unread.keys() == set(access_analyzer.PUBLIC_FIELDS)
    assert not draft.body.public_resources


@pytest.mark.parametrize(
    ("answer", "off"),
    [
        ({"accounts": [{"state": {"status": "ENABLED"}}]}, False),
        ({"accounts": [{"state": {"status": "ENABLING"}}]}, False),
        ({"accounts": [{"state": {"status": "DISABLED"}}]}, True),
        ({}, True),
        (DENIED, False),
    ],
)
def test_whether_inspector_is_off(answer: Any, off: bool) -> None:
    assert inspector2.is_off(answer) is off


def test_no_findings_are_told_as_nothing() -> None:
    draft = Draft(native_id="a", body=InspectorAccount())
    inspector2.fill_findings(draft, [])
    assert draft.body.HasField("critical_findings")
    assert draft.body.critical_findings == 0


FINDING = {
    "findingArn": "arn:f",
    "type": "PACKAGE_VULNERABILITY",
    "severity": "HIGH",
    "firstObservedAt": T,
}


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ({"name": "curl", "version": "8.0"}, "curl 8.0"),
        ({"name": "curl"}, "curl"),
        ({"name": "curl", "version": "8.0", "fixedInVersion": "NotAvailable"}, "curl 8.0"),
        ({"name": "curl", "version": "8.0", "fixedInVersion": "8.1"}, "curl 8.0 -> 8.1"),
    ],
)
def test_weak_packages(package: dict[str, str], text: str) -> None:
    details = {"vulnerabilityId": "CVE-2026-1", "vulnerablePackages": [package]}
    body = finding_draft(FINDING | {"packageVulnerabilityDetails": details}).body
    assert body.packages == [text]


def test_a_finding_of_which_little_is_told() -> None:
    body = finding_draft(FINDING).body
    assert body.first_observed.ToDatetime(UTC) == T
    for name in ("vulnerability_id", "resource_id", "inspector_score", "fix_available"):
        assert not body.HasField(name)


JOB = {"jobId": "1", "jobType": "ONE_TIME", "jobStatus": "COMPLETE"}


def test_a_job_that_runs_once_has_no_schedule() -> None:
    body = macie_jobs.job_draft(JOB, {}, "arn:j").body
    assert not body.HasField("schedule")
    assert (body.sampling_percentage, body.identifiers) == (100, "ALL")
    assert not body.last_run_failed
    assert macie_jobs.job_draft(JOB, DENIED, "arn:j").unread.keys() == set(macie_jobs.DETAIL_FIELDS)


@pytest.mark.parametrize(
    ("job_type", "status", "count"),
    [
        ("SCHEDULED", "IDLE", 1),
        ("SCHEDULED", "RUNNING", 1),
        ("SCHEDULED", "USER_PAUSED", 0),
        ("SCHEDULED", "CANCELLED", 0),
        ("ONE_TIME", "RUNNING", 0),
    ],
)
def test_jobs_that_will_run_again(job_type: str, status: str, count: int) -> None:
    draft = Draft(native_id="a", body=MacieSession())
    macie_sessions.fill_jobs(draft, [{"jobType": job_type, "jobStatus": status}])
    assert draft.body.scheduled_jobs == count
