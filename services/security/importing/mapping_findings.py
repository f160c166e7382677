"""Findings in running applications and in what they are made of: `dast_*` and `app_security_*`."""

from collections.abc import Iterator

from services.security.importing.fingerprint import Fingerprint
from services.security.importing.model import Component, Finding, Location, Subject
from services.security.importing.rows import GONE, STATUSES, Context, Row, ours, present, seen

_CONFIDENCES = frozenset({"FALSE_POSITIVE", "LOW", "MEDIUM", "HIGH", "CONFIRMED"})
# Where a scanner says nothing of its confidence (Nuclei), a match is a match.
_MATCHED = "MEDIUM"


def web(finding: Finding, fingerprints: tuple[Fingerprint, ...], context: Context) -> Iterator[Row]:
    """A weakness of a web application; nothing for a finding without a request."""
    if finding.web is None or finding.state in GONE:
        return
    request = finding.web
    confidence = finding.confidence.upper()
    values = {
        "fingerprint": ours(fingerprints),
        "plugin_id": request.plugin_id or finding.rule_key,
        "alert_ref": finding.rule_key,
        "name": finding.title,
        "description": finding.message,
        "severity": finding.severity.value,
        "confidence": confidence if confidence in _CONFIDENCES else _MATCHED,
        "status": STATUSES[finding.state],
        "url": request.url,
        "http_method": request.method,
        "parameter": request.parameter,
        "attack": request.attack,
        "evidence": request.evidence,
        "other_info": request.other,
        "solution": finding.remediation,
        "reference_urls": list(finding.references),
        "cwe_id": int(finding.cwe_ids[0].removeprefix("CWE-")) if finding.cwe_ids else None,
        "wasc_id": request.wasc_id,
        "request_header": request.request_header,
        "response_header": request.response_header,
        "instance_count": request.instance_count,
        **seen(context),
    }
    yield Row("dast_vulnerabilities", ours(fingerprints), present(values))


def application(
    finding: Finding, fingerprints: tuple[Fingerprint, ...], context: Context
) -> Iterator[Row]:
    """A dependency's vulnerability, a secret, a misconfiguration in code, or a host's weakness.

    What a VEX says is not affected stays, with that state: it is a decision, and no absence.
    """
    if finding.state in GONE and not finding.vex_state:
        return
    component = finding.component or Component("")
    place = finding.locations[0] if finding.locations else Location()
    values = {
        "fingerprint": ours(fingerprints),
        "rule_key": finding.rule_key,
        "title": finding.title,
        "description": finding.message,
        "severity": finding.severity.value,
        "status": STATUSES[finding.state],
        "cve_id": finding.cve_id,
        "cwe_ids": list(finding.cwe_ids),
        "cvss_score": finding.score,
        "cvss_vector": finding.cvss_vector,
        "epss_score": finding.epss,
        "purl": component.purl,
        "component_name": component.name,
        "component_version": component.version,
        "fixed_version": component.fixed_version,
        "file_path": place.path,
        "start_line": place.start_line,
        "url": _host(finding),
        "vex_state": finding.vex_state,
        "vex_justification": finding.vex_justification,
        "remediation": finding.remediation,
        "reference_urls": list(finding.references),
        **seen(context),
    }
    yield Row("app_security_issues", ours(fingerprints), present(values))


def _host(finding: Finding) -> str:
    return finding.assets[0].uid if finding.subject is Subject.HOST and finding.assets else ""
