"""Real reports, stored whole: golden counts."""

import pytest

from tests.service.import_world import Imports, counts
from tests.unit.test_importing_samples import SAMPLES

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
    "oscal_assessment_results.json": ("compliance_assessments", None),
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
