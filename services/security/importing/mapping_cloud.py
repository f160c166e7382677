"""Cloud findings: `cloud_accounts`, `cloud_assets` and `misconfigurations`."""

from collections.abc import Iterator

from services.security.importing.fingerprint import Fingerprint
from services.security.importing.model import Asset, Finding, State
from services.security.importing.rows import STATUSES, Context, Row, ours, present, seen

# Prowler's cloud.provider.
_PROVIDERS = {
    "aws": "AWS",
    "azure": "AZURE",
    "gcp": "GCP",
    "oci": "OCI",
    "oraclecloud": "OCI",
    "alibabacloud": "ALIBABA",
    "ibm": "IBM",
    "kubernetes": "KUBERNETES",
    "m365": "M365",
    "microsoft365": "M365",
    "github": "GITHUB",
}
_CHECKS = {
    State.OPEN: "FAIL",
    State.SUPPRESSED: "FAIL",
    State.FALSE_POSITIVE: "FAIL",
    State.PASSED: "PASS",
    State.RESOLVED: "PASS",
    State.MANUAL: "MANUAL",
}
# A resource whose account the report does not name still belongs to one.
_UNKNOWN = "unknown"


def misconfiguration(
    finding: Finding, fingerprints: tuple[Fingerprint, ...], context: Context
) -> Iterator[Row]:
    """The account and every resource first, then what was found of the first resource.

    A check that passed is a record too: it is what mends the one that failed before.
    """
    for asset in finding.assets:
        yield _account(asset)
        yield _asset(asset, context)
    first = finding.assets[0] if finding.assets else Asset("")
    refers = {"account_id": ("cloud_accounts", account_key(first))}
    if first.uid:
        refers["asset_id"] = ("cloud_assets", asset_key(first))
    values = {
        "check_id": finding.rule_key,
        "fingerprint": ours(fingerprints),
        "title": finding.title,
        "description": finding.message,
        "severity": finding.severity.value,
        "check_status": _CHECKS[finding.state],
        "status": STATUSES[finding.state],
        "is_muted": finding.state is State.SUPPRESSED,
        "category": next(iter(finding.categories), None),
        "compliance_requirements": [
            {"framework": name, "requirement_ids": list(ids)} for name, ids in finding.requirements
        ],
        "risk_details": finding.risk,
        "remediation": finding.remediation,
        "remediation_url": finding.remediation_url,
        "evidence": {"detail": finding.evidence} if finding.evidence else None,
        **seen(context),
    }
    yield Row("misconfigurations", ours(fingerprints), present(values), refers)


def account_key(asset: Asset) -> str:
    """`PROVIDER/account`: the natural key of the account."""
    provider = _PROVIDERS.get(asset.provider.lower(), "OTHER")
    return f"{provider}/{asset.account_uid or _UNKNOWN}"


def asset_key(asset: Asset) -> str:
    """`PROVIDER/account/resource`: the natural key of the resource."""
    return f"{account_key(asset)}/{asset.uid}"


def _account(asset: Asset) -> Row:
    key = account_key(asset)
    provider, _, uid = key.partition("/")
    values = {
        "provider": provider,
        "account_uid": uid,
        "name": asset.account_name or uid,
        "organization_uid": asset.organization_uid,
        "status": "CONNECTED",
    }
    return Row("cloud_accounts", key, present(values))


def _asset(asset: Asset, context: Context) -> Row:
    pairs = (label.partition(":") for label in asset.labels)
    values = {
        "resource_uid": asset.uid,
        "name": asset.name,
        "resource_type": asset.kind or _UNKNOWN,
        "service": asset.service or _UNKNOWN,
        "region": asset.region,
        "status": "ACTIVE",
        "tags": {name: value for name, _, value in pairs if name},
        **seen(context),
    }
    refers = {"account_id": ("cloud_accounts", account_key(asset))}
    return Row("cloud_assets", asset_key(asset), present(values), refers)
