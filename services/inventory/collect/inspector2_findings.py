"""Open findings of Amazon Inspector; what is mended is listed no more, and its record closed."""

from collections.abc import Iterator
from typing import Any

from mesh.aws.reader import Reader, Unread
from secmesh.inventory.v1.inspector2_pb2 import InspectorFinding
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp
from services.inventory.collect.inspector2 import STATUS, account_status, equals, is_off

LIST = "inspector2:ListFindings"
LISTINGS = (LIST,)
OPERATIONS = frozenset((STATUS, LIST))
PAGE = 100
FIELDS = frozenset(InspectorFinding.DESCRIPTOR.fields_by_name)
_UNKNOWN = frozenset({"", "NotAvailable"})


def collect(reader: Reader) -> Collected:
    """Read the open findings of one region."""
    reader.ledger.is_listing(LIST)
    if is_off(account_status(reader)):
        # It refuses to list, and without it nothing is found.
        return Collected([])
    account = reader.account.cloud_account_id
    wanted = {"findingStatus": equals("ACTIVE"), "awsAccountId": equals(account)}
    found = reader.picked(LIST, "findings", finding_draft, page_size=PAGE, filterCriteria=wanted)
    return Collected([], found) if isinstance(found, Unread) else Collected(found)


def finding_draft(finding: Any) -> Draft[InspectorFinding]:
    """Map one finding; times that move with every scan are left out."""
    resource: Any = next(iter(finding.get("resources", ())), {})
    vulnerability = finding.get("packageVulnerabilityDetails", {})
    body = InspectorFinding(
        title=finding.get("title", ""),
        finding_type=finding["type"],
        severity=finding["severity"],
        vulnerability_id=vulnerability.get("vulnerabilityId"),
        resource_id=resource.get("id"),
        resource_type=resource.get("type"),
        fix_available=finding.get("fixAvailable"),
        exploit_available=finding.get("exploitAvailable"),
        inspector_score=finding.get("inspectorScore"),
        packages=sorted(_packages(vulnerability)),
    )
    body.first_observed.CopyFrom(timestamp(finding["firstObservedAt"]))
    arn = str(finding["findingArn"])
    return Draft(native_id=arn, arn=arn, body=body)


def _packages(vulnerability: Any) -> Iterator[str]:
    for package in vulnerability.get("vulnerablePackages", ()):
        text = f"{package['name']} {package.get('version', '')}".strip()
        mended = package.get("fixedInVersion", "")
        yield text if mended in _UNKNOWN else f"{text} -> {mended}"


COLLECTOR = Collector(
    "inspector2_findings",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
