"""Real reports, each with its numbers: findings, rules, components, others, rejected."""

import os
from pathlib import Path

import pytest

from services.security.importing import formats
from services.security.importing.fingerprint import values
from services.security.importing.model import (
    Component,
    ControlFinding,
    Finding,
    Problem,
    Rejected,
    Rule,
    ThreatObject,
)
from services.security.importing.spool import Spool
from tests.reports import only

SHARED = Path(__file__).parents[2].parent / "shared" / "samples" / "reports"
SAMPLES = Path(os.environ.get("SECMESH_SAMPLE_REPORTS", SHARED))

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample reports are not here")

# file: format, findings, rules, components, threat objects or control findings, rejected
GOLDEN = {
    "bandit_many_vulns.json": ("BANDIT_JSON", 214, 16, 0, 0, 0),
    "cyclonedx_dropwizard.json": ("CYCLONEDX_JSON", 0, 0, 167, 0, 0),
    "cyclonedx_grype.xml": ("CYCLONEDX_XML", 312, 0, 307, 0, 0),
    "cyclonedx_vex_case2.json": ("CYCLONEDX_JSON", 19, 0, 0, 0, 0),
    "gitlab_sast_v15.json": ("GITLAB_JSON", 467, 19, 0, 0, 0),
    "nuclei.json": ("NUCLEI_JSON", 26, 16, 0, 0, 1),
    "oscal_assessment_results.json": ("OSCAL_JSON", 0, 0, 0, 1, 0),
    "prowler_aws.ocsf.json": ("OCSF_JSON", 5, 0, 0, 0, 0),
    "prowler_many_vuln_4.5.ocsf.json": ("OCSF_JSON", 3, 0, 0, 0, 0),
    "sarif_bandit.sarif": ("SARIF", 132, 7, 0, 0, 0),
    "sarif_codeql.sarif": ("SARIF", 72, 149, 0, 0, 0),
    "sarif_semgrep_oss_issue_10191.sarif": ("SARIF", 77, 17, 0, 0, 0),
    "sarif_spec_appendix_k.sarif": ("SARIF", 1, 2, 0, 0, 0),
    "sarif_spotbugs.sarif": ("SARIF", 56, 9, 0, 0, 0),
    "sarif_suppressions.sarif": ("SARIF", 5, 5, 0, 0, 0),
    "sarif_taint_python.sarif": ("SARIF", 11, 4, 0, 0, 0),
    "sarif_trivy.sarif": ("SARIF", 124, 124, 0, 0, 0),
    "sarif_tutorial_baseline.sarif": ("SARIF", 4, 1, 0, 0, 0),
    "sarif_tutorial_codeflows.sarif": ("SARIF", 1, 1, 0, 0, 0),
    "sarif_tutorial_suppressions.sarif": ("SARIF", 9, 1, 0, 0, 0),
    "sarif_tutorial_taxonomies.sarif": ("SARIF", 2, 4, 0, 0, 0),
    "semgrep_many_vulns.json": ("SEMGREP_JSON", 48, 6, 0, 0, 0),
    "stix_apt1.json": ("STIX_JSON", 0, 0, 0, 76, 0),
    "stix_poisonivy.json": ("STIX_JSON", 0, 0, 0, 155, 0),
    "trivy_issue_9170.json": ("TRIVY_JSON", 37, 0, 0, 0, 0),
    "trivy_kubernetes.json": ("TRIVY_JSON", 20, 0, 0, 0, 0),
    "trivy_misconf_secrets.json": ("TRIVY_JSON", 5, 0, 0, 0, 0),
    "zap_first_scan.xml": ("ZAP_XML", 130, 0, 0, 0, 0),
    "zap_report.json": ("ZAP_JSON", 61, 0, 0, 0, 0),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_real_reports_are_read_whole(name: str) -> None:
    with Spool.of([(SAMPLES / name).read_bytes()]) as spool:
        format_name = formats.detect(spool).name
        items = list(formats.items(spool))
    findings = only(Finding, items)
    others: list[ThreatObject | ControlFinding] = [*only(ThreatObject, items)]
    others += only(ControlFinding, items)
    rejected = only(Rejected, items)
    counts = (len(findings), len(only(Rule, items)), len(only(Component, items)), len(others))
    assert (format_name, *counts, len(rejected)) == GOLDEN[name]
    assert only(Problem, items) == []
    assert len(set(values(findings))) == len(findings)
    indexes = sorted(each.index for each in (*findings, *others, *rejected))
    assert indexes == list(range(len(indexes)))


@pytest.mark.parametrize("name", GOLDEN)
def test_a_report_cut_anywhere_yields_what_was_whole(name: str) -> None:
    content = (SAMPLES / name).read_bytes().rstrip()
    if name == "nuclei.json":
        content = content[: content.rindex(b"\n") + 1] + b'{"template-id":'
    with Spool.of([content]) as spool:
        whole = list(formats.items(spool))
    for share in (3, 2):
        with Spool.of([content[: len(content) * (share - 1) // share]]) as spool:
            items = list(formats.items(spool, GOLDEN[name][0]))
        assert len(only(Problem, items)) == 1
        assert len(only(Finding, items)) <= len(only(Finding, whole))


def test_every_sample_has_a_line_here() -> None:
    found = {path.name for path in SAMPLES.iterdir() if path.suffix != ".csv"}
    assert found - {"schema_sarif_2.1.0.json"} == set(GOLDEN)
