"""Reports imported into a served database, over the wire."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from typer.testing import CliRunner

from cli.app import app
from mesh.identity.keys import sign_token
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.security.v1 import (
    app_security_issue_pb2,
    finding_service_pb2,
    finding_service_pb2_grpc,
    import_service_pb2_grpc,
    sast_issue_pb2,
    vocabulary_pb2,
)
from secmesh.security.v1.import_service_pb2 import ImportReportRequest, ImportReportResponse
from secmesh_client import CallRefused, connect
from tests.databases import security_database
from tests.service.security_world import TENANT, World, served
from tests.unit.test_importing_cloud import ASFF, CYCLONE_VULNERABILITY, OCSF
from tests.unit.test_importing_formats import ALERT, zap
from tests.unit.test_importing_mapping import stix
from tests.unit.test_importing_samples import SAMPLES
from tests.unit.test_importing_sarif import RULE, report, result

IMPORTED = ImportReportResponse.OUTCOME_IMPORTED
UNCHANGED = ImportReportResponse.OUTCOME_UNCHANGED
PART = 65_536


@dataclass
class Imports:
    """The ImportService of a served database."""

    world: World

    def stub(self, tenant: str = "acme", **token: Any) -> Any:
        claims = token or {"roles": ["operator"]}
        bearer = sign_token(self.world.keys, subject="ann", tenant=tenant, **claims)
        channel = connect(self.world.address, token=bearer)
        self.world.channels.append(channel)
        return import_service_pb2_grpc.ImportServiceStub(channel)

    def send(
        self, content: object, project: str, *, tenant: str = "acme", **said: Any
    ) -> ImportReportResponse:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        first = ImportReportRequest(parent=f"tenants/{tenant}", project=project, **said)
        first.file.data = data[:PART]
        rest = [
            ImportReportRequest(file=HttpBody(data=data[start : start + PART]))
            for start in range(PART, len(data), PART)
        ]
        answer: ImportReportResponse = self.stub(tenant).ImportReport(iter([first, *rest]))
        return answer

    def records(self, collection: str, filter_: str = "", tenant: str = "acme") -> list[Any]:
        stub = self.world.stub if tenant == "acme" else self.world.strange
        request = ListRecordsRequest(
            parent=f"tenants/{tenant}/{collection}", filter=filter_, page_size=1000
        )
        return list(stub.ListRecords(request).records)


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imports]:
    with (
        security_database() as access,
        served(access, tmp_path_factory.mktemp("home")) as world,
    ):
        yield Imports(world)


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """A project that no other test knows."""
    return f"web {request.node.name}"


def counts(answer: ImportReportResponse, collection: str) -> dict[str, int]:
    for each in answer.counts:
        if each.collection == collection:
            return {f.name: v for f, v in each.ListFields() if f.name != "collection"}
    return {}


def issue(rule: str = "js/xss", path: str = "a.js", **members: object) -> dict[str, object]:
    place = {"physicalLocation": {"artifactLocation": {"uri": path}, "region": {"startLine": 3}}}
    return result(ruleId=rule, locations=[place], **members)


def sarif(*results: object, **run: object) -> dict[str, Any]:
    return report(*results, **run)


def issues_of(imports: Imports, answer: ImportReportResponse) -> list[Any]:
    """The issues of the project that a scan belongs to."""
    scans = {each.name: each.sast_scan for each in imports.records("sast_scans")}
    owner = scans[answer.scans[0]].project_id
    return [
        each.sast_issue
        for each in imports.records("sast_issues")
        if each.sast_issue.project_id == owner
    ]


def test_a_report_becomes_a_scan_rules_and_issues(imports: Imports, project: str) -> None:
    answer = imports.send(sarif(issue(), issue("other", path="b.js")), project, branch="dev")
    assert (answer.outcome, answer.format, answer.rejected) == (IMPORTED, "SARIF", 0)
    assert counts(answer, "sast_issues") == {"created": 2}
    scan = next(
        each.sast_scan for each in imports.records("sast_scans") if each.name in answer.scans
    )
    assert (scan.tool_name, scan.branch, scan.new_issues) == ("Scanner", "dev", 2)
    assert scan.report_sha256 == answer.report_sha256
    assert scan.status == vocabulary_pb2.SCAN_STATUS_COMPLETED
    found = issues_of(imports, answer)
    assert {(each.file_path, each.branch) for each in found} == {("a.js", "dev"), ("b.js", "dev")}
    assert {each.scan_id for each in found} == set(answer.scans)
    rules = {each.name: each.sast_rule for each in imports.records("sast_rules")}
    assert {rules[each.rule_id].key for each in found} == {"Scanner:js/xss", "Scanner:other"}
    described = next(each for each in rules.values() if each.key == "Scanner:js/xss")
    assert described.help_uri == RULE["helpUri"]


def test_the_same_report_changes_nothing(imports: Imports, project: str) -> None:
    content = sarif(issue(), issue(path="b.js"))
    first = imports.send(content, project)
    before = imports.records("sast_issues")
    again = imports.send(content, project)
    assert (again.outcome, again.scans, list(again.counts)) == (UNCHANGED, first.scans, [])
    assert imports.records("sast_issues") == before


def test_absent_is_closed_and_what_returns_is_reopened(imports: Imports, project: str) -> None:
    imports.send(sarif(issue(), issue(path="b.js")), project)
    second = imports.send(sarif(issue(), properties={"n": 2}), project)
    assert second.absent_closed
    assert counts(second, "sast_issues") == {"unchanged": 1, "closed": 1}
    states = {each.file_path: each for each in issues_of(imports, second)}
    assert states["b.js"].status == sast_issue_pb2.SAST_ISSUE_STATUS_CLOSED
    assert states["b.js"].resolution == sast_issue_pb2.SAST_RESOLUTION_FIXED
    assert states["b.js"].HasField("close_time")
    assert states["a.js"].status == sast_issue_pb2.SAST_ISSUE_STATUS_OPEN
    third = imports.send(sarif(issue(), issue(path="b.js"), properties={"n": 3}), project)
    assert counts(third, "sast_issues") == {"unchanged": 1, "reopened": 1}
    back = {each.file_path: each for each in issues_of(imports, third)}["b.js"]
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
    tools = {
        each.sast_scan.tool_name
        for each in imports.records("sast_scans")
        if each.name in answer.scans
    }
    assert tools == {"Scanner", "Second"}
    assert {each.scan_id for each in issues_of(imports, answer)} == set(answer.scans)


def test_what_people_decided_stays(imports: Imports, project: str) -> None:
    first = imports.send(sarif(issue()), project)
    (record,) = [
        each for each in imports.records("sast_issues") if each.sast_issue.scan_id == first.scans[0]
    ]
    findings = finding_service_pb2_grpc.FindingServiceStub(imports.world.channels[-1])
    findings.TransitionFinding(
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
    (left,) = issues_of(imports, last)
    assert left.status == sast_issue_pb2.SAST_ISSUE_STATUS_RESOLVED
    assert left.resolution == sast_issue_pb2.SAST_RESOLUTION_FALSE_POSITIVE


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
    (left,) = issues_of(imports, answer)
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
    scan = next(
        each.sast_scan for each in imports.records("sast_scans") if each.name in answer.scans
    )
    assert scan.status == vocabulary_pb2.SCAN_STATUS_FAILED
    assert scan.error_message == answer.problem


def test_zap_closes_and_reopens(imports: Imports, project: str) -> None:
    other = ALERT | {"pluginid": "10020", "alertRef": "10020-1", "alert": "X-Frame missing"}
    first = imports.send(zap(ALERT, other), project)
    assert (first.format, counts(first, "dast_vulnerabilities")) == ("ZAP_JSON", {"created": 2})
    scan = next(
        each.dast_scan for each in imports.records("dast_scans") if each.name in first.scans
    )
    assert (scan.target_url, scan.new_count, scan.medium_count) == ("https://x.test", 2, 2)
    second = imports.send(zap(ALERT), project)
    assert counts(second, "dast_vulnerabilities") == {"unchanged": 1, "closed": 1}
    third = imports.send(zap(other, ALERT), project)
    assert counts(third, "dast_vulnerabilities") == {"unchanged": 1, "reopened": 1}


def test_a_new_severity_is_an_update(imports: Imports, project: str) -> None:
    imports.send(zap(ALERT), project)
    worse = imports.send(zap(ALERT | {"riskcode": "3"}), project)
    assert counts(worse, "dast_vulnerabilities") == {"updated": 1}


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
    left = {
        each.app_security_issue.component_name: each.app_security_issue
        for each in imports.records("app_security_issues")
        if each.app_security_issue.scan_id in (*first.scans, *second.scans)
    }
    assert left["one"].vex_state == app_security_issue_pb2.VEX_STATE_EXPLOITABLE
    assert left["two"].status == vocabulary_pb2.FINDING_STATUS_RESOLVED
    assert left["two"].HasField("resolve_time")


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
    scan = next(
        each.app_security_scan
        for each in imports.records("app_security_scans")
        if each.name in answer.scans
    )
    assert (scan.tool_name, scan.target, scan.high_count) == ("Trivy", "image", 1)


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


def test_the_same_report_at_once_is_imported_once(imports: Imports, project: str) -> None:
    content = sarif(*(issue(f"crowd/{number}") for number in range(40)))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: imports.send(content, project), range(4)))
    outcomes = sorted(each.outcome for each in answers)
    assert outcomes == [IMPORTED, UNCHANGED, UNCHANGED, UNCHANGED]
    assert len({each.scans[0] for each in answers}) == 1
    assert len(issues_of(imports, answers[0])) == 40


def test_projects_at_once_share_their_rules(imports: Imports, project: str) -> None:
    def send(number: int) -> ImportReportResponse:
        rules = [f"shared/{each}" for each in range(30)]
        ordered = rules if number % 2 else rules[::-1]
        return imports.send(sarif(*map(issue, ordered)), f"{project} {number}")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))
    assert [counts(each, "sast_issues") for each in answers] == [{"created": 30}] * 4
    keys = [each.sast_rule.key for each in imports.records("sast_rules")]
    assert len(keys) == len(set(keys))


def test_tenants_see_their_own(imports: Imports, project: str) -> None:
    content = sarif(issue("js/own"))
    imports.send(content, project)
    assert imports.records("sast_issues", tenant="beta") == []
    answer = imports.send(content, project, tenant="beta")
    assert (answer.outcome, counts(answer, "sast_issues")) == (IMPORTED, {"created": 1})
    assert all(
        each.name.startswith("tenants/beta/")
        for each in imports.records("sast_issues", tenant="beta")
    )


def test_a_project_can_be_named_by_its_record(imports: Imports, project: str) -> None:
    imports.send(sarif(issue()), project)
    (record,) = imports.records("sast_projects", f'key == "{project}"')
    answer = imports.send(sarif(issue(path="d.js")), record.name)
    assert counts(answer, "sast_issues") == {"created": 1, "closed": 1}
    named = imports.send(zap(ALERT), record.name)
    (made,) = imports.records("dast_projects", f'name == "{project}"')
    assert counts(named, "dast_projects") == {"created": 1}
    assert made.dast_project.target_url == "https://x.test"


@pytest.mark.parametrize(
    ("content", "project", "said", "reason"),
    [
        (b"hello", "p", {}, "REPORT_FORMAT_UNKNOWN"),
        (b"", "p", {}, "REPORT_FORMAT_UNKNOWN"),
        (b"{}", "p", {"format": vocabulary_pb2.IMPORT_FORMAT_MANUAL}, "REPORT_FORMAT_UNKNOWN"),
        ({"assessment-results": {}}, "p", {}, "REPORT_FORMAT_UNSUPPORTED"),
        (sarif(issue()), "", {}, "FIELD_INVALID"),
        (sarif(issue()), f"{TENANT}/users/x", {}, "FIELD_INVALID"),
        (sarif(issue()), "tenants/beta/projects/x", {}, "FIELD_INVALID"),
        (sarif(issue()), f"{TENANT}/projects/none", {}, "RESOURCE_NOT_FOUND"),
    ],
)
def test_what_cannot_be_imported_is_refused(
    imports: Imports, content: object, project: str, said: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CallRefused) as refused:
        imports.send(content, project, **said)
    assert refused.value.reason == reason


def test_importing_is_a_permission_of_its_own(imports: Imports) -> None:
    request = ImportReportRequest(parent=TENANT, project="p", file=HttpBody(data=b"{}"))
    with pytest.raises(CallRefused) as refused:
        imports.stub(roles=["viewer"]).ImportReport(iter([request]))
    assert refused.value.code == grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(CallRefused) as foreign:
        imports.stub("beta").ImportReport(iter([request]))
    # As if there were no such tenant.
    assert foreign.value.code == grpc.StatusCode.NOT_FOUND


def test_a_report_under_a_wrong_format_stores_nothing(imports: Imports, project: str) -> None:
    said: dict[str, Any] = {"format": vocabulary_pb2.IMPORT_FORMAT_ZAP_XML}
    answer = imports.send(sarif(issue()), project, **said)
    assert answer.problem
    assert list(answer.counts) == []
    assert not answer.absent_closed


def test_the_command_imports_a_file(imports: Imports, project: str, tmp_path: Path) -> None:
    file = tmp_path / "report.sarif"
    file.write_text(json.dumps(sarif(issue(), issue(level="awful"))))
    token = sign_token(imports.world.keys, subject="ann", tenant="acme", roles=["operator"])
    base = ["--endpoint", imports.world.address, "--token", token, "-o", "json"]
    command = [*base, "security", "import", str(file), "--project", project]
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    real = CliRunner().invoke(app, command)
    assert "/runs/0/results/1/level" in real.stderr
    told = [json.loads(each.stdout) for each in (dry, real)]
    assert told[0]["counts"] == told[1]["counts"]
    assert told[1]["outcome"] == "OUTCOME_IMPORTED"
    again = CliRunner().invoke(app, [*command, "--format", "sarif"])
    assert "imported before" in again.stderr
    wrong = CliRunner().invoke(app, [*command, "--format", "word"])
    assert wrong.exit_code == 2


GOLDEN = {
    "sarif_codeql.sarif": ("sast_issues", 72),
    "sarif_bandit.sarif": ("sast_issues", 132),
    "sarif_trivy.sarif": ("sast_issues", 124),
    "bandit_many_vulns.json": ("sast_issues", 214),
    "semgrep_many_vulns.json": ("sast_issues", 48),
    "gitlab_sast_v15.json": ("sast_issues", 467),
    "zap_report.json": ("dast_vulnerabilities", 61),
    "zap_first_scan.xml": ("dast_vulnerabilities", 130),
    "nuclei.json": ("dast_vulnerabilities", None),
    "cyclonedx_grype.xml": ("app_security_issues", 312),
    "trivy_issue_9170.json": ("app_security_issues", 37),
    "prowler_aws.ocsf.json": ("misconfigurations", 5),
    "stix_apt1.json": ("threat_intelligence", None),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_real_reports_are_stored_whole(imports: Imports, name: str) -> None:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip("the sample is not here")
    collection, number = GOLDEN[name]
    answer = imports.send(path.read_bytes(), f"sample {name}")
    assert counts(answer, collection).get("rejected", 0) == 0
    if number is not None:
        assert counts(answer, collection)["created"] == number
    again = imports.send(path.read_bytes(), f"sample {name}")
    changed = {"created", "updated", "closed", "reopened"}
    assert not changed & counts(again, collection).keys()
