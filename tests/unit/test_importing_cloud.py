"""Findings in clouds, and software bills of materials, as their tools really write them."""

import orjson
import pytest

from services.security.importing.model import (
    Component,
    Finding,
    Problem,
    Rejected,
    Severity,
    State,
    Tool,
)
from tests.reports import one, only, read

OCSF = {
    "metadata": {"event_code": "s3_public", "product": {"name": "Prowler", "version": "5"}},
    "severity_id": 4,
    "status_code": "FAIL",
    "finding_info": {"uid": "prowler-1", "title": "Public bucket"},
    "resources": [{"uid": "arn:aws:s3:::b", "type": "AwsS3Bucket", "group": {"name": "s3"}}],
    "cloud": {"provider": "aws", "account": {"uid": "123456789012"}, "region": "eu-west-1"},
    "unmapped": {"compliance": {"CIS-2.0": ["2.1.1"]}, "categories": "internet-exposed"},
}


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({}, State.OPEN),
        ({"status_code": "PASS"}, State.PASSED),
        ({"status_code": "MANUAL"}, State.MANUAL),
        ({"status": "Suppressed"}, State.SUPPRESSED),
    ],
)
def test_ocsf(members: dict[str, object], state: State) -> None:
    finding = one([OCSF | members])
    assert (finding.state, finding.severity) == (state, Severity.HIGH)
    assert finding.requirements == (("CIS-2.0", ("2.1.1",)),)
    assert finding.categories == ("internet-exposed",)
    (asset,) = finding.assets
    assert (asset.uid, asset.account_uid, asset.region) == (
        "arn:aws:s3:::b",
        "123456789012",
        "eu-west-1",
    )


def test_ocsf_and_nuclei_may_come_one_a_line_and_a_bad_line_costs_itself() -> None:
    line = orjson.dumps(OCSF)
    items = read(
        b"\n".join([line, b'{"metadata": ', b"", orjson.dumps(OCSF | {"severity_id": 9}), line])
    )
    assert [each.index for each in only(Finding, items)] == [0, 3]
    first, second = only(Rejected, items)
    assert (first.index, first.pointer) == (1, "/1")
    assert (second.index, second.pointer) == (2, "/2/severity_id")
    (problem,) = only(Problem, read(line + b"\n" + line[:40]))
    assert "cut" in problem.reason


ASFF = {
    "Id": "arn:1",
    "ProductArn": "arn:aws:securityhub:eu-west-1::product/prowler/prowler",
    "GeneratorId": "prowler-iam",
    "AwsAccountId": "123456789012",
    "Title": "Root has keys",
    "Resources": [{"Type": "AwsIamUser", "Id": "arn:aws:iam::123456789012:user/a"}],
    "Severity": {"Label": "CRITICAL"},
    "Compliance": {"Status": "FAILED", "RelatedRequirements": ["CIS 1.4 1.12"]},
}


@pytest.mark.parametrize("wrapped", [[ASFF], {"Findings": [ASFF]}])
def test_asff_as_a_list_and_as_the_service_answers(wrapped: object) -> None:
    finding = one(wrapped)
    assert (finding.severity, finding.state) == (Severity.CRITICAL, State.OPEN)
    assert finding.requirements == (("CIS 1.4", ("1.12",)),)
    assert (finding.assets[0].service, finding.assets[0].name) == ("iamuser", "a")


@pytest.mark.parametrize(
    ("members", "severity", "state"),
    [
        ({"Severity": {"Normalized": 70}}, Severity.HIGH, State.OPEN),
        ({"Severity": {"Normalized": 0}}, Severity.INFO, State.OPEN),
        ({"Workflow": {"Status": "SUPPRESSED"}}, Severity.CRITICAL, State.SUPPRESSED),
        ({"RecordState": "ARCHIVED"}, Severity.CRITICAL, State.RESOLVED),
        ({"Compliance": {"Status": "PASSED"}}, Severity.CRITICAL, State.PASSED),
    ],
)
def test_asff_states(members: dict[str, object], severity: Severity, state: State) -> None:
    finding = one([ASFF | members])
    assert (finding.severity, finding.state) == (severity, state)


CYCLONE_VULNERABILITY = {
    "id": "CVE-2020-1",
    "ratings": [
        {"severity": "low"},
        {"score": 9.1, "vector": "v"},
        {"severity": "none", "score": 0},
    ],
    "cwes": [79],
    "analysis": {"state": "not_affected", "justification": "code_not_reachable"},
    "affects": [{"ref": "inner"}, {"ref": "elsewhere"}],
}


def test_cyclonedx_takes_the_worst_rating_and_finds_nested_components() -> None:
    inner = {"name": "inner", "version": "2", "bom-ref": "inner", "purl": "pkg:a/inner@2"}
    report = {
        "vulnerabilities": [CYCLONE_VULNERABILITY],
        "components": [{"name": "outer", "components": [inner]}, {"version": "1"}],
        "bomFormat": "CycloneDX",
        "metadata": {"tools": {"components": [{"name": "syft", "version": "1"}]}},
    }
    items = read(report)
    assert [each.name for each in only(Component, items)] == ["outer", "inner"]
    assert only(Rejected, items) == [Rejected(-1, "/components/1/name", "is missing")]
    first, second = only(Finding, items)
    assert (first.severity, first.score, first.cvss_vector) == (Severity.CRITICAL, 9.1, "v")
    assert (first.vex_state, first.vex_justification) == ("NOT_AFFECTED", "CODE_NOT_REACHABLE")
    assert first.component
    assert first.component.purl == "pkg:a/inner@2"
    assert second.component == Component("elsewhere", reference="elsewhere")
    assert [tool.name for tool in only(Tool, items)] == ["syft"]


def test_cyclonedx_refuses_a_state_that_it_does_not_know() -> None:
    wrong = CYCLONE_VULNERABILITY | {"analysis": {"state": "fine"}}
    report = {"bomFormat": "CycloneDX", "vulnerabilities": [wrong, CYCLONE_VULNERABILITY]}
    items = read(report)
    (rejected,) = only(Rejected, items)
    assert rejected.pointer == "/vulnerabilities/0/analysis/state"
    assert [each.index for each in only(Finding, items)] == [1, 2]


def test_cyclonedx_xml_with_its_old_extension() -> None:
    text = """<bom xmlns="http://cyclonedx.org/schema/bom/1.2" xmlns:v="urn:v"><components>
    <component type="library"><name>Django</name><version>2.2</version><v:vulnerabilities>
    <v:vulnerability><v:id>CVE-2021-1</v:id><v:ratings><v:rating><v:score><v:base>0</v:base></v:score>
    <v:severity>High</v:severity></v:rating></v:ratings><v:cwes><v:cwe>22</v:cwe></v:cwes>
    </v:vulnerability></v:vulnerabilities></component></components></bom>"""
    finding = one(text)
    assert (finding.severity, finding.score, finding.cwe_ids) == (Severity.HIGH, None, ("CWE-22",))
    assert finding.component
    assert (finding.component.name, finding.component.version) == ("Django", "2.2")
