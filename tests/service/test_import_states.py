"""What imports open, close and reopen, and what stays as people decided."""

import json
from typing import Any

import pytest

from secmesh.security.v1 import (
    app_security_issue_pb2,
    finding_service_pb2,
    sast_issue_pb2,
    vocabulary_pb2,
)
from tests.service.import_world import Imports, counts, issue, sarif
from tests.unit.test_importing_cloud import CYCLONE_VULNERABILITY, OCSF
from tests.unit.test_importing_formats import ALERT, zap


def test_absent_is_closed_and_what_returns_is_reopened(imports: Imports, project: str) -> None:
    imports.send(sarif(issue(), issue(path="b.js")), project)
    second = imports.send(sarif(issue(), properties={"n": 2}), project)
    assert second.absent_closed
    assert counts(second, "sast_issues") == {"unchanged": 1, "closed": 1}
    states = {each.file_path: each for each in imports.issues(second)}
    assert states["b.js"].status == sast_issue_pb2.SAST_ISSUE_STATUS_CLOSED
    assert states["b.js"].resolution == sast_issue_pb2.SAST_RESOLUTION_FIXED
    assert states["b.js"].HasField("close_time")
    assert states["a.js"].status == sast_issue_pb2.SAST_ISSUE_STATUS_OPEN
    third = imports.send(sarif(issue(), issue(path="b.js"), properties={"n": 3}), project)
    assert counts(third, "sast_issues") == {"unchanged": 1, "reopened": 1}
    back = {each.file_path: each for each in imports.issues(third)}["b.js"]
    assert back.status == sast_issue_pb2.SAST_ISSUE_STATUS_REOPENED
    assert not back.HasField("close_time")
    assert not back.HasField("resolution")
    assert back.first_scan_id != back.scan_id == third.scans[0]


@pytest.mark.parametrize("difference", ["branch", "tool", "category", "asked"])
def test_other_scopes_are_left_open(imports: Imports, project: str, difference: str) -> None:
    imports.send(sarif(issue(path="b.js")), f"{project}")
    said: dict[str, Any] = {}
    run: dict[str, Any] = {"properties": {"n": 2}}
    if difference == "branch":
        said["branch"] = "dev"
    elif difference == "tool":
        run["driver"] = {"name": "Other scanner"}
    elif difference == "category":
        run["automationDetails"] = {"id": "nightly/1"}
    else:
        said["close_absent"] = False
    answer = imports.send(sarif(issue(), **run), project, **said)
    assert "closed" not in counts(answer, "sast_issues")
    assert answer.absent_closed == (difference != "asked")


def test_runs_of_one_category_are_one_scope(imports: Imports, project: str) -> None:
    imports.send(sarif(issue(path="b.js"), automationDetails={"id": "nightly/1"}), project)
    answer = imports.send(sarif(issue(), automationDetails={"id": "nightly/2"}), project)
    assert counts(answer, "sast_issues") == {"created": 1, "closed": 1}


def test_runs_of_several_tools_are_scans_of_their_own(imports: Imports, project: str) -> None:
    one, two = sarif(issue()), sarif(issue("x"), driver={"name": "Second"})
    answer = imports.send({"runs": [*one["runs"], *two["runs"]]}, project)
    assert len(answer.scans) == 2
    tools = {each.tool_name for each in imports.scans(answer)}
    assert tools == {"Scanner", "Second"}
    assert {each.scan_id for each in imports.issues(answer)} == set(answer.scans)


def told(path: str, line: str = "abc:1", rule: str = "js/xss", **more: str) -> dict[str, object]:
    """An issue with a fingerprint of its tool, which does not know the file."""
    return issue(rule, path, partialFingerprints={"primaryLocationLineHash": line, **more})


def test_a_moved_finding_stays_the_same(imports: Imports, project: str) -> None:
    first = imports.send(sarif(told("old.js"), told("stays.js", "def:1")), project)
    before = {each.sast_issue.file_path: each for each in imports.issue_records(first)}
    answer = imports.send(sarif(told("new.js"), told("stays.js", "def:1")), project)
    assert counts(answer, "sast_issues") == {"moved": 1, "unchanged": 1}
    after = {each.sast_issue.file_path: each for each in imports.issue_records(answer)}
    assert after.keys() == {"new.js", "stays.js"}
    assert after["new.js"].name == before["old.js"].name
    assert after["new.js"].sast_issue.fingerprint != before["old.js"].sast_issue.fingerprint
    again = imports.send(sarif(told("new.js"), told("stays.js", "def:1"), n=3), project)
    assert counts(again, "sast_issues") == {"unchanged": 2}


def test_what_people_decided_moves_along(imports: Imports, project: str) -> None:
    first = imports.send(sarif(told("old.js")), project)
    (record,) = imports.issue_records(first)
    imports.findings.TransitionFinding(
        finding_service_pb2.TransitionFindingRequest(
            name=record.name,
            status="SAST_ISSUE_STATUS_RESOLVED",
            resolution="SAST_RESOLUTION_ACCEPTED",
            justification="a test",
        )
    )
    answer = imports.send(sarif(told("new.js")), project)
    (left,) = imports.issues(answer)
    assert (left.file_path, left.status) == ("new.js", sast_issue_pb2.SAST_ISSUE_STATUS_RESOLVED)


def test_an_algorithm_more_or_less_is_no_new_finding(imports: Imports, project: str) -> None:
    imports.send(sarif(told("a.js")), project)
    more = imports.send(sarif(told("a.js", a_new_one="xyz")), project)
    assert counts(more, "sast_issues") == {"moved": 1}
    less = imports.send(
        sarif(issue(path="a.js", partialFingerprints={"a_new_one": "xyz"})), project
    )
    assert counts(less, "sast_issues") == {"updated": 1}


@pytest.mark.parametrize("why", ["shown", "several", "rule", "partly", "fixed", "cut"])
def test_what_may_be_another_finding_is_not_followed(
    imports: Imports, project: str, why: str
) -> None:
    known = [told("old.js"), told("other.js")] if why == "several" else [told("old.js")]
    imports.send(sarif(*known), project)
    results = [told("new.js", rule="other" if why == "rule" else "js/xss")]
    if why == "partly":
        # A column is equal in many; the line says that it is another.
        imports.send(sarif(told("old.js", column="4")), project)
        results = [told("new.js", line="xyz:1", column="4")]
    if why == "shown":
        results.append(told("old.js"))
    if why == "fixed":
        imports.send(sarif(), project)
    content = json.dumps(sarif(*results, n=2)).encode()
    answer = imports.send(content[:-3] if why == "cut" else content, project)
    assert counts(answer, "sast_issues")["created"] == 1
    assert "moved" not in counts(answer, "sast_issues")


def test_what_people_decided_stays(imports: Imports, project: str) -> None:
    first = imports.send(sarif(issue()), project)
    (record,) = imports.issue_records(first)
    imports.findings.TransitionFinding(
        finding_service_pb2.TransitionFindingRequest(
            name=record.name,
            status="SAST_ISSUE_STATUS_RESOLVED",
            resolution="SAST_RESOLUTION_FALSE_POSITIVE",
            justification="the rule takes a test for code",
        )
    )
    for number, results in enumerate([[issue()], []]):
        last = imports.send(sarif(*results, properties={"n": number}), project)
        assert not {"closed", "reopened"} & counts(last, "sast_issues").keys()
    (left,) = imports.issues(last)
    assert left.status == sast_issue_pb2.SAST_ISSUE_STATUS_RESOLVED
    assert left.resolution == sast_issue_pb2.SAST_RESOLUTION_FALSE_POSITIVE


def test_zap_closes_and_reopens(imports: Imports, project: str) -> None:
    other = ALERT | {"pluginid": "10020", "alertRef": "10020-1", "alert": "X-Frame missing"}
    first = imports.send(zap(ALERT, other), project)
    assert (first.format, counts(first, "dast_vulnerabilities")) == ("ZAP_JSON", {"created": 2})
    scan = imports.scans(first)[0]
    assert (scan.target_url, scan.new_count, scan.medium_count) == ("https://x.test", 2, 2)
    second = imports.send(zap(ALERT), project)
    assert counts(second, "dast_vulnerabilities") == {"unchanged": 1, "closed": 1}
    third = imports.send(zap(other, ALERT), project)
    assert counts(third, "dast_vulnerabilities") == {"unchanged": 1, "reopened": 1}


def cyclone(*affected: str) -> dict[str, Any]:
    components = [
        {"name": each, "version": "2", "bom-ref": each, "purl": f"pkg:a/{each}@2"}
        for each in affected
    ]
    vulnerability = {
        **CYCLONE_VULNERABILITY,
        "analysis": {"state": "exploitable"},
        "affects": [{"ref": each} for each in affected],
    }
    return {"bomFormat": "CycloneDX", "vulnerabilities": [vulnerability], "components": components}


def test_cyclonedx(imports: Imports, project: str) -> None:
    first = imports.send(cyclone("one", "two"), project)
    assert counts(first, "app_security_issues") == {"created": 2}
    second = imports.send(cyclone("one"), project)
    assert counts(second, "app_security_issues") == {"unchanged": 1, "closed": 1}
    scan = ", ".join(f'"{each}"' for each in (*first.scans, *second.scans))
    left = {
        each.app_security_issue.component_name: each.app_security_issue
        for each in imports.records("app_security_issues", f"scan_id in [{scan}]")
    }
    assert left["one"].vex_state == app_security_issue_pb2.VEX_STATE_EXPLOITABLE
    assert left["two"].status == vocabulary_pb2.FINDING_STATUS_RESOLVED
    assert left["two"].HasField("resolve_time")


def test_ocsf_needs_no_project_and_a_passed_check_mends(imports: Imports) -> None:
    timed = OCSF | {"time": 1_767_225_600}
    first = imports.send([timed], "")
    assert counts(first, "misconfigurations") == {"created": 1}
    assert counts(first, "cloud_assets") == {"created": 1}
    mended = imports.send([timed | {"status_code": "PASS"}], "")
    assert counts(mended, "misconfigurations") == {"closed": 1}
    (record,) = imports.records("misconfigurations", 'check_id == "s3_public"')
    assert record.misconfiguration.status == vocabulary_pb2.FINDING_STATUS_RESOLVED
    assert record.misconfiguration.HasField("resolve_time")
    broken = imports.send([timed], "")
    assert counts(broken, "misconfigurations") == {"reopened": 1}
    again = imports.send([timed], "")
    assert counts(again, "misconfigurations") == {"unchanged": 1}
