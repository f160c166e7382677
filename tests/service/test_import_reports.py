"""Reports imported into a served database, over the wire: what each format becomes."""

import json
from typing import Any

from secmesh.security.v1 import (
    vocabulary_pb2,
)
from tests.service.import_world import IMPORTED, UNCHANGED, Imports, counts, issue, sarif
from tests.unit.test_importing_cloud import ASFF
from tests.unit.test_importing_formats import ALERT, zap
from tests.unit.test_importing_mapping import stix
from tests.unit.test_importing_sarif import RULE


def test_a_report_becomes_a_scan_rules_and_issues(imports: Imports, project: str) -> None:
    answer = imports.send(sarif(issue(), issue("other", path="b.js")), project, branch="dev")
    assert (answer.outcome, answer.format, answer.rejected) == (IMPORTED, "SARIF", 0)
    assert counts(answer, "sast_issues") == {"created": 2}
    scan = imports.scans(answer)[0]
    assert (scan.tool_name, scan.branch, scan.new_issues) == ("Scanner", "dev", 2)
    assert scan.report_sha256 == answer.report_sha256
    assert scan.status == vocabulary_pb2.SCAN_STATUS_COMPLETED
    found = imports.issues(answer)
    assert {(each.file_path, each.branch) for each in found} == {("a.js", "dev"), ("b.js", "dev")}
    assert {each.scan_id for each in found} == set(answer.scans)
    rules = {each.name: each.sast_rule for each in imports.records("sast_rules")}
    assert {rules[each.rule_id].key for each in found} == {"Scanner:js/xss", "Scanner:other"}
    described = next(each for each in rules.values() if each.key == "Scanner:js/xss")
    assert described.help_uri == RULE["helpUri"]


def test_the_same_report_changes_nothing(imports: Imports, project: str) -> None:
    content = sarif(issue(), issue(path="b.js"))
    first = imports.send(content, project)
    before = imports.issue_records(first)
    again = imports.send(content, project)
    assert (again.outcome, again.scans, list(again.counts)) == (UNCHANGED, first.scans, [])
    assert imports.issue_records(first) == before


def test_a_dry_run_tells_and_stores_nothing(imports: Imports, project: str) -> None:
    names = ("sast_issues", "sast_scans", "sast_projects", "sast_rules")
    before = [imports.records(each) for each in names]
    content = sarif(issue(), issue("only/dry"))
    dry = imports.send(content, project, validate_only=True)
    assert counts(dry, "sast_issues") == {"created": 2}
    assert [imports.records(each) for each in names] == before
    real = imports.send(content, project)
    assert real.outcome == IMPORTED
    assert counts(real, "sast_issues") == counts(dry, "sast_issues")


def test_bad_results_are_named_and_the_rest_is_stored(imports: Imports, project: str) -> None:
    imports.send(sarif(issue(path="gone.js")), project)
    content = sarif(issue(), issue(level="awful"), {"message": 3}, issue(path="c.js"))
    answer = imports.send(content, project)
    assert counts(answer, "sast_issues") == {"created": 2}
    assert answer.rejected == 2
    assert [each.pointer.split("/")[4] for each in answer.rejections] == ["1", "2"]
    assert all(each.reason for each in answer.rejections)
    # One of those may be what seems to be gone.
    assert not answer.absent_closed


def test_what_the_contract_forbids_is_rejected_alone(imports: Imports, project: str) -> None:
    bad = issue(path="b.js")
    bad["locations"] = [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "b.js"},
                "region": {"startLine": 0},
            }
        }
    ]
    answer = imports.send(sarif(issue(), bad), project)
    assert counts(answer, "sast_issues") == {"created": 1, "rejected": 1}
    (rejection,) = answer.rejections
    assert rejection.index == 1
    assert "start_line" in rejection.reason


def test_long_texts_are_cut_and_nul_is_replaced(imports: Imports, project: str) -> None:
    long = issue(message={"text": "x\0" + "y" * 100_000})
    answer = imports.send(sarif(long), project)
    (left,) = imports.issues(answer)
    assert left.message.startswith("x\ufffdyy")
    assert len(left.message) == 8192


def test_a_cut_report_stores_what_was_whole_and_closes_nothing(
    imports: Imports, project: str
) -> None:
    imports.send(sarif(issue(path="gone.js")), project)
    content = json.dumps(sarif(issue(), issue(path="b.js"), issue(path="c.js"))).encode()
    answer = imports.send(content[:-60], project)
    assert answer.problem
    assert not answer.absent_closed
    assert counts(answer, "sast_issues") == {"created": 2}
    scan = imports.scans(answer)[0]
    assert scan.status == vocabulary_pb2.SCAN_STATUS_FAILED
    assert scan.error_message == answer.problem


def test_a_report_under_a_wrong_format_stores_nothing(imports: Imports, project: str) -> None:
    said: dict[str, Any] = {"format": vocabulary_pb2.IMPORT_FORMAT_ZAP_XML}
    answer = imports.send(sarif(issue()), project, **said)
    assert answer.problem
    assert list(answer.counts) == []
    assert not answer.absent_closed


def test_a_new_severity_is_an_update(imports: Imports, project: str) -> None:
    imports.send(zap(ALERT), project)
    worse = imports.send(zap(ALERT | {"riskcode": "3"}), project)
    assert counts(worse, "dast_vulnerabilities") == {"updated": 1}


def test_trivy(imports: Imports, project: str) -> None:
    found = {"VulnerabilityID": "CVE-2020-2", "PkgName": "p", "InstalledVersion": "1"}
    content = {
        "SchemaVersion": 2,
        "ArtifactName": "image",
        "Results": [
            {"Target": "t", "Class": "os-pkgs", "Vulnerabilities": [found | {"Severity": "HIGH"}]}
        ],
    }
    answer = imports.send(content, project)
    assert counts(answer, "app_security_issues") == {"created": 1}
    assert answer.rejected == 0
    scan = imports.scans(answer)[0]
    assert (scan.tool_name, scan.target, scan.high_count) == ("Trivy", "image", 1)


def test_asff(imports: Imports) -> None:
    answer = imports.send([ASFF], "")
    assert answer.rejected == 0
    assert counts(answer, "misconfigurations") == {"created": 1}


def test_stix(imports: Imports) -> None:
    answer = imports.send(stix(), "")
    assert (answer.format, answer.rejected) == ("STIX_JSON", 1)
    assert counts(answer, "threat_intelligence") == {"created": 2}
    (record,) = imports.records("threat_intelligence", "value != ''")
    intelligence = record.threat_intelligence
    assert (intelligence.value, intelligence.sighting_count) == ("it's.test", 4)
    assert intelligence.relationships[0].type == "indicates"
    again = imports.send(stix(), "")
    assert counts(again, "threat_intelligence") == {"unchanged": 2}
