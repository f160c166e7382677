"""From a report to rows: every item of the neutral model by its kind, scans among them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from services.security.importing import (
    mapping_cloud,
    mapping_code,
    mapping_compliance,
    mapping_findings,
    mapping_threat,
)
from services.security.importing.fingerprint import Fingerprint, Fingerprints
from services.security.importing.model import (
    Assessment,
    ControlFinding,
    Finding,
    Item,
    Problem,
    Rejected,
    Rule,
    Subject,
    ThreatObject,
    Tool,
)
from services.security.importing.node import BadResult
from services.security.importing.rows import Context, Row, present, time

_Mapping = Callable[[Finding, tuple[Fingerprint, ...], Context], Iterator[Row]]
_FINDINGS: dict[Subject, _Mapping] = {
    Subject.CODE: mapping_code.issue,
    Subject.WEB: mapping_findings.web,
    Subject.DEPENDENCY: mapping_findings.application,
    Subject.SECRET: mapping_findings.application,
    Subject.CONFIGURATION: mapping_findings.application,
    Subject.HOST: mapping_findings.application,
    Subject.CLOUD: mapping_cloud.misconfiguration,
}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the scan of a format is filed (none for what is no scan), as what type, and whether
    the format reports weaknesses only."""

    scans: str = ""
    scan_type: str = "IMPORT"
    security_tool: bool = False


DESTINATIONS = {
    "SARIF": Destination("sast_scans"),
    "BANDIT_JSON": Destination("sast_scans", security_tool=True),
    "SEMGREP_JSON": Destination("sast_scans", security_tool=True),
    "GITLAB_JSON": Destination("sast_scans", security_tool=True),
    "ZAP_JSON": Destination("dast_scans"),
    "ZAP_XML": Destination("dast_scans"),
    "NUCLEI_JSON": Destination("dast_scans"),
    "TRIVY_JSON": Destination("app_security_scans", "SCA"),
    "CYCLONEDX_JSON": Destination("app_security_scans", "SCA"),
    "CYCLONEDX_XML": Destination("app_security_scans", "SCA"),
    "NPM_AUDIT_JSON": Destination("app_security_scans", "SCA"),
    "OPENVAS_XML": Destination("app_security_scans", "DAST"),
    "OCSF_JSON": Destination(),
    "ASFF_JSON": Destination(),
    "STIX_JSON": Destination(),
    "OSCAL_JSON": Destination(),
}


@dataclass(slots=True)
class Mapper:
    """Rows of one report, in the order of its items: what a row refers to comes before it,
    but for rules, which a report may name after their findings, and its scan, which comes where
    the tool is known. `graph` is needed for STIX alone: `Graph.of` a first reading."""

    format_name: str
    context: Context
    report_sha256: str = ""
    graph: mapping_threat.Graph = field(default_factory=mapping_threat.Graph)
    _fingerprints: Fingerprints = field(default_factory=Fingerprints)
    _judgements: mapping_compliance.Judgements = field(
        default_factory=mapping_compliance.Judgements
    )

    def rows(
        self, item: Item, known: tuple[Fingerprint, ...] = ()
    ) -> Iterator[Row | Rejected | Problem]:
        """What an item becomes; a component of an SBOM has no kind, and becomes nothing.

        `known` are the fingerprints of a finding, if another reading made those of all.
        """
        if isinstance(item, Finding):
            told = known or self._fingerprints.of(item)
            yield from _FINDINGS[item.subject](item, told, self.context)
        elif isinstance(item, Rule) and self._scans() == "sast_scans":
            yield from mapping_code.rule(item, self.context)
        elif isinstance(item, Tool) and self._scans():
            yield self._scan(item)
        elif isinstance(item, ThreatObject):
            yield from self._threat(item)
        elif isinstance(item, ControlFinding):
            self._judgements.add(item)
        elif isinstance(item, Assessment):
            yield from self._judgements.rows(item)
        elif isinstance(item, Rejected | Problem):
            yield item

    def _scans(self) -> str:
        return DESTINATIONS[self.format_name].scans

    def _threat(self, item: ThreatObject) -> Iterator[Row | Rejected]:
        try:
            yield from mapping_threat.threat(item, self.graph, self.context)
        except BadResult as error:
            yield Rejected(item.index, error.pointer, error.reason)

    def _scan(self, tool: Tool) -> Row:
        destination = DESTINATIONS[self.format_name]
        values = {
            "scan_type": destination.scan_type,
            "tool_name": tool.name or self.context.tool,
            "tool_version": tool.version,
            "status": "COMPLETED",
            "import_format": self.format_name,
            "report_sha256": self.report_sha256,
            "start_time": time(tool.start_time),
            "end_time": time(tool.end_time),
            **_OF_SCANS[destination.scans](tool),
        }
        return Row(destination.scans, f"{self.report_sha256}/{tool.run}", present(values))


_UNKNOWN_TARGET = "unknown"
_OF_SCANS: dict[str, Callable[[Tool], dict[str, object]]] = {
    "sast_scans": lambda tool: {
        "branch": tool.branch,
        "commit_sha": tool.revision,
        "automation_id": tool.automation_id,
    },
    "dast_scans": lambda tool: {"target_url": tool.target or _UNKNOWN_TARGET},
    "app_security_scans": lambda tool: {
        "target": tool.target or _UNKNOWN_TARGET,
        "sbom_serial_number": tool.serial_number,
        "trigger": "IMPORT",
    },
}
