"""CycloneDX 1.0 to 1.6: components, vulnerabilities and what was analysed of them (VEX), in JSON.

`cyclonedx_xml` brings XML into the same shape and shares what is here.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

from msgspec import structs

from services.security.importing import words
from services.security.importing.json_cursor import Unreadable
from services.security.importing.model import (
    Component,
    Finding,
    Item,
    Rejected,
    Severity,
    State,
    Subject,
    Tool,
)
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# CycloneDX, severity.
SEVERITIES = {
    "": Severity.INFO,
    "unknown": Severity.INFO,
    "none": Severity.INFO,
    "info": Severity.INFO,
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}
# CycloneDX, impactAnalysisState.
STATES = {
    "": State.OPEN,
    "exploitable": State.OPEN,
    "in_triage": State.OPEN,
    "false_positive": State.FALSE_POSITIVE,
    "not_affected": State.SUPPRESSED,
    "resolved": State.RESOLVED,
    "resolved_with_pedigree": State.RESOLVED,
}
# CycloneDX, impactAnalysisJustification.
JUSTIFICATIONS = frozenset({
    "",
    "code_not_present",
    "code_not_reachable",
    "requires_configuration",
    "requires_dependency",
    "requires_environment",
    "protected_by_compiler",
    "protected_at_runtime",
    "protected_at_perimeter",
    "protected_by_mitigating_control",
})  # fmt: skip


@dataclass(slots=True)
class Bill:
    """The components that vulnerabilities may refer to; more than `limit` are not remembered."""

    limit: int
    known: dict[str, Component] = field(default_factory=dict)

    def remember(self, component: Component) -> None:
        if component.reference and len(self.known) < self.limit:
            # What only an SBOM needs is not kept for as long as the report is read.
            self.known[component.reference] = replace(component, licenses=(), hashes=())


def read(spool: Spool) -> Iterator[Item]:
    """The tool and components, then the vulnerabilities, wherever those stand."""
    bill = Bill(spool.limits.rules)
    broken = yield from _components(Reading(spool), bill)
    reading = Reading(spool)

    def parse(node: Node, count: Count) -> Iterator[Item]:
        return vulnerability(node, count, bill)

    for key in reading.cursor.members():
        if key == "vulnerabilities":
            yield from reading.each("/vulnerabilities", parse)
    reading.cursor.finish()
    if broken:
        raise broken


def _components(reading: Reading, bill: Bill) -> Generator[Item, None, Unreadable | None]:
    """Returns where the report breaks off: its vulnerabilities up to there are still read."""
    broken: Unreadable | None = None
    tool = Tool("CycloneDX")

    def parse(node: Node, _: Count) -> Iterator[Item]:
        return components(node, bill)

    try:
        for key in reading.cursor.members():
            if key == "serialNumber":
                tool = replace(tool, serial_number=str(reading.small_value("/serialNumber")))
            elif key == "metadata":
                metadata = reading.small("/metadata")
                tool = described(metadata, tool)
                if metadata.has("component"):
                    bill.remember(component(metadata.node("component")))
            elif key == "components":
                for item in reading.each("/components", parse):
                    yield replace(item, index=-1) if isinstance(item, Rejected) else item
    except Unreadable as error:
        broken = error
    yield tool
    return broken


def described(metadata: Node, tool: Tool) -> Tool:
    """The tool that wrote it, and what it is about; `tools` is an object since 1.5."""
    listed = metadata.members.get("tools")
    holder = metadata.node("tools") if isinstance(listed, dict) else metadata
    first = next(holder.nodes("components" if isinstance(listed, dict) else "tools"), Node({}, ""))
    about = metadata.node("component")
    target = ":".join(each for each in (about.text("name"), about.scalar("version")) if each)
    return replace(
        tool,
        name=first.text("name") or tool.name,
        version=first.scalar("version"),
        target=about.text("purl") or target,
        end_time=metadata.text("timestamp"),
    )


def components(node: Node, bill: Bill) -> Iterator[Item]:
    """A component and those within it."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        found = component(here)
        bill.remember(found)
        yield found
        waiting.extend(reversed(list(here.nodes("components"))))


def component(node: Node) -> Component:
    licenses = (
        each.text("expression")
        or each.node("license").text("id")
        or each.node("license").text("name")
        for each in node.nodes("licenses")
    )
    return Component(
        name=node.needed("name"),
        version=node.scalar("version"),
        purl=node.text("purl"),
        kind=node.text("type"),
        reference=node.text("bom-ref"),
        group=node.text("group"),
        licenses=tuple(each for each in licenses if each),
        hashes=tuple((each.text("alg"), each.text("content")) for each in node.nodes("hashes")),
    )


def vulnerability(node: Node, count: Count, bill: Bill) -> Iterator[Item]:
    """One finding for every component that it affects; one without a component if it names none."""
    references = [each.needed("ref") for each in node.nodes("affects")]
    finding = _finding(node)
    for reference in references or [""]:
        affected = bill.known.get(reference) if reference else None
        about = affected or (Component(reference, reference=reference) if reference else None)
        yield structs.replace(finding, index=count.next(), component=about)


def _finding(node: Node) -> Finding:
    identifier = node.needed("id")
    severity, said, score, vector = _rating(node)
    analysis = node.node("analysis")
    state, justification = analysis.text("state"), analysis.text("justification")
    if state not in STATES:
        raise BadResult(analysis.at("state"), f"is no state of an analysis: {state[:40]!r}")
    if justification not in JUSTIFICATIONS:
        raise BadResult(
            analysis.at("justification"), f"is no justification: {justification[:40]!r}"
        )
    links = [
        node.node("source").text("url"),
        *(each.text("url") for each in node.nodes("advisories")),
    ]
    aliases = [each.text("id") for each in node.nodes("references")]
    return Finding(
        index=0,
        pointer=node.pointer,
        subject=Subject.DEPENDENCY,
        rule_key=identifier,
        title=identifier,
        severity=severity,
        severity_said=said,
        message=node.text("description") or node.text("detail"),
        score=score,
        cvss_vector=vector,
        cve_id=words.cve_id((identifier, *aliases)),
        cwe_ids=tuple(f"CWE-{each}" for each in node.array("cwes") if isinstance(each, int)),
        references=tuple(dict.fromkeys(each for each in links if each)),
        remediation=node.text("recommendation"),
        evidence=analysis.text("detail"),
        state=STATES[state],
        vex_state=state.upper(),
        vex_justification=justification.upper(),
        seen_time=node.text("updated") or node.text("published"),
    )


def _rating(node: Node) -> tuple[Severity, str, float | None, str]:
    """The worst of the ratings; a score decides only where no severity is said."""
    best: tuple[Severity, str, float | None, str] = (Severity.INFO, "", None, "")
    order = list(Severity)
    for rating in node.nodes("ratings"):
        said, score = rating.text("severity"), rating.number("score")
        step = words.severity(SEVERITIES, said, rating.at("severity"))
        if not said and score is not None:
            step = words.by_score(score)
        if (not best[1] and best[2] is None) or order.index(step) > order.index(best[0]):
            best = (step, said, score, rating.text("vector"))
    return best
