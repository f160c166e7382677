"""The other formats, each with what its tool really writes."""

import pytest

from services.security.importing.formats import FORMATS, FormatUnknown, detect
from services.security.importing.limits import Limits, ReportTooLarge
from services.security.importing.model import (
    Component,
    ControlFinding,
    Finding,
    Rejected,
    Rule,
    Severity,
    State,
    Subject,
    ThreatObject,
    Tool,
)
from services.security.importing.spool import Spool
from tests.reports import one, only, read

ALERT = {
    "pluginid": "10038",
    "alertRef": "10038-1",
    "alert": "CSP missing",
    "riskcode": "2",
    "confidence": "3",
    "desc": "<p>One &amp; two</p><p>three</p>",
    "cweid": "693",
    "wascid": "-1",
    "reference": "<p>https://a.test</p><p>https://b.test</p>",
    "instances": [{"uri": "https://x.test/a", "method": "GET", "param": "q"}],
}


def zap(*alerts: object) -> dict[str, object]:
    return {"@version": "2.14.0", "site": [{"@name": "https://x.test", "alerts": list(alerts)}]}


def test_zap_writes_numbers_as_strings_and_texts_as_html() -> None:
    finding = one(zap(ALERT))
    assert (finding.severity, finding.confidence) == (Severity.MEDIUM, "HIGH")
    assert (finding.rule_key, finding.cwe_ids) == ("10038-1", ("CWE-693",))
    assert finding.message == "One & two\nthree"
    assert finding.references == ("https://a.test", "https://b.test")
    assert finding.web
    assert (finding.web.url, finding.web.parameter, finding.web.wasc_id) == (
        "https://x.test/a",
        "q",
        None,
    )


@pytest.mark.parametrize(
    ("wrong", "member", "reason"),
    [
        ({"riskcode": "high"}, "riskcode", "is no integer: 'high'"),
        ({"riskcode": "4"}, "riskcode", "is not among 0 to 3: 4"),
        ({"riskcode": None}, "riskcode", "is missing"),
        ({"confidence": "5"}, "confidence", "is not among 0 to 4: 5"),
        ({"riskcode": "\uff12"}, "riskcode", "is no integer: '\uff12'"),
        ({"cweid": "CWE-1"}, "cweid", "is no integer: 'CWE-1'"),
    ],
)
def test_zap_codes_are_read_strictly(wrong: dict[str, object], member: str, reason: str) -> None:
    items = read(zap(ALERT | wrong, ALERT))
    assert only(Rejected, items) == [Rejected(0, f"/site/0/alerts/0/{member}", reason)]
    assert [each.index for each in only(Finding, items)] == [1]


def test_one_bad_zap_instance_costs_itself_alone() -> None:
    instances = [{"uri": "https://x.test/a"}, {"method": "GET"}, 7, {"uri": "https://x.test/b"}]
    items = read(zap(ALERT | {"instances": instances}))
    assert [each.index for each in only(Finding, items)] == [0, 3]
    place = "/site/0/alerts/0/instances"
    assert only(Rejected, items) == [
        Rejected(1, f"{place}/1/uri", "is missing"),
        Rejected(2, f"{place}/2", "is no object"),
    ]


def test_zap_requests_come_without_credentials() -> None:
    header = "GET / HTTP/1.1\nHost: x\nAuthorization: Bearer abc\ncookie: id=1\nX-Api-Key: k"
    instance = {"uri": "https://x.test", "request-header": header}
    web = one(zap(ALERT | {"instances": [instance]})).web
    assert web
    assert "Host: x" in web.request_header
    for secret in ("Bearer", "id=1", ": k"):
        assert secret not in web.request_header


def test_zap_says_the_same_in_xml() -> None:
    text = """<OWASPZAPReport version="2.10.0"><site name="s"><alerts><alertitem>
    <pluginid>10038</pluginid><alertRef>10038-1</alertRef><alert>CSP missing</alert>
    <riskcode>2</riskcode><confidence>3</confidence>
    <desc>&lt;p&gt;One &amp;amp; two&lt;/p&gt;&lt;p&gt;three&lt;/p&gt;</desc><cweid>693</cweid>
    <instances><instance><uri>https://x.test/a</uri><method>GET</method><param>q</param></instance>
    </instances></alertitem></alerts></site></OWASPZAPReport>"""
    xml, json = one(text), one(zap(ALERT))
    assert (xml.web, xml.message, xml.severity) == (json.web, json.message, json.severity)
    assert only(Tool, read(text)) == [Tool("ZAP", "2.10.0")]


VULNERABILITY = {
    "VulnerabilityID": "CVE-2021-33503",
    "PkgName": "urllib3",
    "InstalledVersion": "1.26.3",
    "FixedVersion": "1.26.5",
    "Severity": "HIGH",
    "SeveritySource": "redhat",
    "CVSS": {
        "nvd": {"V3Score": 7.5},
        "aaa": {"V3Score": 1},
        "redhat": {"V2Score": 5, "V2Vector": "v"},
    },
    "CweIDs": ["CWE-400"],
    "PkgIdentifier": {"PURL": "pkg:pypi/urllib3@1.26.3"},
}


def test_trivy_names_its_target_last_when_its_keys_are_sorted() -> None:
    secret = {"RuleID": "pat", "Severity": "CRITICAL", "Match": "X=***", "Code": {"Lines": ["raw"]}}
    items = read({"ArtifactName": "img", "Results": [{"Secrets": [secret], "Target": "a/.env"}]})
    (finding,) = only(Finding, items)
    assert (finding.subject, finding.severity) == (Subject.SECRET, Severity.CRITICAL)
    assert finding.locations[0].path == "a/.env"
    assert "raw" not in repr(finding)


def test_trivy_vulnerabilities_have_their_component_and_best_score() -> None:
    results = [{"Target": "t", "Vulnerabilities": None}, {"Vulnerabilities": [VULNERABILITY]}]
    finding = one({"SchemaVersion": 2, "ArtifactName": "a", "Results": results})
    assert finding.component == Component(
        "urllib3", "1.26.3", "pkg:pypi/urllib3@1.26.3", fixed_version="1.26.5"
    )
    assert (finding.cve_id, finding.cwe_ids) == ("CVE-2021-33503", ("CWE-400",))
    assert (finding.score, finding.cvss_vector) == (7.5, "")


def test_trivy_clusters_name_the_resource_and_passed_checks() -> None:
    check = {"ID": "KSV001", "Severity": "LOW", "Status": "PASS", "Title": "t"}
    resource = {
        "Namespace": "default",
        "Kind": "Pod",
        "Name": "web",
        "Results": [{"Target": "Pod/web", "Misconfigurations": [check, check | {"Status": "?"}]}],
    }
    items = read({"ClusterName": "c", "Resources": [resource]})
    (finding,) = only(Finding, items)
    assert (finding.state, finding.locations[0].logical_name) == (State.PASSED, "default/Pod/web")
    (rejected,) = only(Rejected, items)
    assert rejected.pointer == "/Resources/0/Results/0/Misconfigurations/1/Status"


def test_bandit_snippets_have_no_line_numbers() -> None:
    result = {
        "test_id": "B602",
        "test_name": "popen",
        "filename": ".\\src\\a.py",
        "issue_severity": "HIGH",
        "issue_confidence": "LOW",
        "issue_cwe": {"id": 78},
        "code": "41 def f():\n42     call(x)\n",
        "line_number": 42,
        "line_range": [42, 43],
    }
    finding = one({"errors": [], "generated_at": "t", "metrics": {}, "results": [result]})
    place = finding.locations[0]
    assert (place.path, place.start_line, place.end_line) == ("src/a.py", 42, 43)
    assert place.snippet == "def f():\n    call(x)"
    assert finding.cwe_ids == ("CWE-78",)


def test_semgrep_templates_survive_a_renamed_variable() -> None:
    def result(name: str) -> dict[str, object]:
        extra = {
            "severity": "ERROR",
            "message": f"{name} is tainted",
            "lines": "requires login",
            "fingerprint": "requires login",
            "metavars": {"$X": {"abstract_content": name}},
            "metadata": {"cwe": "CWE-89: SQL Injection", "owasp": ["A03:2021"]},
        }
        place = {"line": 1, "col": 2}
        return {
            "check_id": "a.b.sqli",
            "path": "a.py",
            "start": place,
            "end": place,
            "extra": extra,
        }

    first, second = (one({"errors": [], "results": [result(name)]}) for name in ("old", "new"))
    assert first.message_template == second.message_template == "$X is tainted"
    assert (first.fingerprints, first.locations[0].snippet) == ((), "")
    assert first.cwe_ids == ("CWE-89",)


def test_gitlab_findings_are_known_by_their_first_identifier() -> None:
    vulnerability = {
        "name": "SQLi",
        "severity": "Unknown",
        "location": {"file": "a.rb", "start_line": 3},
        "identifiers": [
            {"type": "semgrep_id", "value": "ruby.sqli"},
            {"type": "cwe", "value": "89"},
        ],
        "tracking": {
            "items": [{"signatures": [{"algorithm": "scope_offset", "value": "a.rb:f:1"}]}]
        },
    }
    report = {"version": "15.0.0", "vulnerabilities": [vulnerability, {"name": "x"}]}
    items = read(report)
    (finding,) = only(Finding, items)
    assert (finding.rule_key, finding.severity) == ("semgrep_id:ruby.sqli", Severity.INFO)
    assert finding.cwe_ids == ("CWE-89",)
    assert finding.fingerprints == (("gitlab/scope_offset", "a.rb:f:1"),)
    assert only(Rejected, items) == [Rejected(1, "/vulnerabilities/1/identifiers", "is missing")]


def test_stix_objects_need_an_identifier_of_their_type() -> None:
    tail = "--da1065ce-972c-4605-8755-9cd1074e3b5a"
    objects = [
        {"type": "malware", "id": f"malware{tail}", "name": "m"},
        {"type": "malware", "id": f"tool{tail}"},
        {"type": "relationship", "id": f"relationship{tail}", "source_ref": "a", "target_ref": "b"},
        {"type": "domain-name", "id": f"domain-name{tail}", "value": "evil.test"},
    ]
    items = read({"type": "bundle", "id": f"bundle{tail}", "objects": objects})
    assert [(each.index, each.name) for each in only(ThreatObject, items)] == [
        (0, "m"),
        (3, "evil.test"),
    ]
    assert [each.pointer for each in only(Rejected, items)] == [
        "/objects/1/id",
        "/objects/2/relationship_type",
    ]


NUCLEI = {
    "template-id": "CVE-2021-44228",
    "info": {
        "name": "Log4Shell",
        "severity": "critical",
        "tags": "cve,rce",
        "classification": {"cve-id": None, "cwe-id": ["cwe-502"], "cvss-score": 10.0},
    },
    "matched-at": "https://x.test/login",
    "matcher-name": "dns",
    "request": "POST /login HTTP/1.1\r\nCookie: a=b\r\n\r\npassword=hunter2",
}


@pytest.mark.parametrize("report", [[NUCLEI], NUCLEI])
def test_nuclei(report: object) -> None:
    finding = one(report)
    assert (finding.cve_id, finding.cwe_ids) == ("CVE-2021-44228", ("CWE-502",))
    assert finding.tags == ("cve", "rce")
    assert finding.web
    assert finding.web.method == "POST"
    assert "hunter2" not in repr(finding)
    assert "a=b" not in repr(finding)


def test_npm_6_has_advisories() -> None:
    advisory = {
        "id": 1179,
        "module_name": "@a/b",
        "severity": "moderate",
        "title": "Prototype pollution",
        "findings": [{"version": "0.0.8", "paths": ["x>b"]}, {"version": "1.2.0", "paths": []}],
        "patched_versions": "<0.0.0",
        "cwe": "CWE-471",
    }
    items = read({"actions": [], "advisories": {"1179": advisory, "2": {"id": 2}}, "muted": []})
    first, second = only(Finding, items)
    assert (first.rule_key, first.severity) == ("npm:1179", Severity.MEDIUM)
    assert first.component == Component("@a/b", "0.0.8", "pkg:npm/%40a/b@0.0.8", "npm")
    assert second.component
    assert (second.index, second.component.version) == (1, "1.2.0")
    assert only(Rejected, items) == [Rejected(2, "/advisories/2/module_name", "is missing")]


def test_npm_7_tells_a_transitive_vulnerability_once() -> None:
    via = {
        "source": 1,
        "name": "minimist",
        "title": "Prototype pollution",
        "url": "https://github.com/advisories/GHSA-xvch-5gv4-984h",
        "severity": "critical",
        "cvss": {"score": 0, "vectorString": None},
        "range": "<1.2.6",
    }
    report = {
        "auditReportVersion": 2,
        "vulnerabilities": {
            "mkdirp": {"name": "mkdirp", "severity": "critical", "via": ["minimist"]},
            "minimist": {
                "name": "minimist",
                "severity": "critical",
                "via": [via],
                "nodes": ["n/m"],
            },
        },
    }
    finding = one(report)
    assert (finding.rule_key, finding.score) == ("GHSA-xvch-5gv4-984h", None)
    assert finding.component == Component("minimist", "<1.2.6", "pkg:npm/minimist", "npm")


def test_oscal_findings_say_whether_their_target_is_satisfied() -> None:
    def finding(state: str) -> dict[str, object]:
        target = {"type": "objective-id", "target-id": "ac-6.1_obj", "status": {"state": state}}
        return {"uuid": "u", "title": "t", "description": "d", "target": target}

    results = [
        {"start": "2026-01-01T00:00:00Z", "findings": [finding("not-satisfied"), finding("?")]}
    ]
    items = read({"assessment-results": {"metadata": {"title": "June"}, "results": results}})
    (found,) = only(ControlFinding, items)
    assert (found.target, found.satisfied) == ("ac-6.1_obj", False)
    assert found.collected_time == "2026-01-01T00:00:00Z"
    (rejected,) = only(Rejected, items)
    assert rejected.pointer == "/assessment-results/results/0/findings/1/target/status/state"


@pytest.mark.parametrize(
    "report", [b"", b"   ", b"hello", b"{}", b"[]", b"[1]", b"<html/>", b"<", b"\x00\xff"]
)
def test_what_is_no_report_is_refused(report: bytes) -> None:
    with Spool.of([report]) as spool, pytest.raises(FormatUnknown):
        detect(spool)


def test_a_format_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(FormatUnknown, match="WORD_DOCUMENT"):
        read({}, "WORD_DOCUMENT")


@pytest.mark.parametrize("name", sorted({each.name for each in FORMATS}))
@pytest.mark.parametrize("report", [b"", b"{", b"[", b"null", b"<a>", b'{"a": 1}', b"[1, 2]"])
def test_a_wrong_format_is_a_problem_or_a_rejection_and_never_an_exception(
    name: str, report: bytes
) -> None:
    assert only(Finding, read(report, name)) == []


def test_the_upload_is_bounded_and_hashed() -> None:
    with Spool(Limits(report_bytes=10, memory_bytes=4)) as spool:
        spool.write(b"12345")
        spool.write(b"67890")
        assert spool.sha256 == "c775e7b757ede630cd0aa1113bd102661ab38829ca52a6422ab782862f268646"
        with pytest.raises(ReportTooLarge):
            spool.write(b"1")
        assert spool.raw().read() == b"1234567890"


def test_rules_that_only_results_name_come_before_the_first_of_them() -> None:
    items = read([NUCLEI, NUCLEI])
    assert [type(item) for item in items] == [Tool, Rule, Finding, Finding]
