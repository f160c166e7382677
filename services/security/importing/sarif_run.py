"""What a SARIF run says of itself: its tool, rules, artifacts and roots (SARIF 2.1.0, 3.14-3.19).

All of it may stand after the results, so it is gathered before they are read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from services.security.importing import words
from services.security.importing.fingerprint import VERSION, normal_path
from services.security.importing.json_cursor import Unreadable
from services.security.importing.model import Item, Rejected, Rule, Severity, Tool
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Digest, Reading

# SARIF 2.1.0, 3.27.10: `level`; where a rule has a security severity, that decides instead.
LEVELS = {
    "error": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "note": Severity.LOW,
    "none": Severity.INFO,
}
DEFAULT_LEVEL = "warning"
# GitHub code scanning: `security-severity` is a CVSS score; Semgrep writes its word there.
SECURITY_WORDS = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "low": Severity.LOW,
    "info": Severity.INFO,
}
DRIVER = -1
READING = 1
"""What the digests of results begin with: raised when the same result becomes another record."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A rule, and what of it only the results of this run need."""

    rule: Rule
    guid: str
    level: str
    security: Severity | None
    messages: dict[str, str]


@dataclass(slots=True)
class Run:
    """Rules by tool component (the driver is -1, extensions count from 0) and position."""

    number: int
    tool: Tool
    rules: dict[tuple[int, int], Descriptor] = field(default_factory=dict)
    named: dict[str, Descriptor] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    artifacts: dict[int, str] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)

    def rule(self, identifier: str) -> Descriptor | None:
        """By id or guid, or by the part of a hierarchical id that names a rule (3.52.4)."""
        while identifier:
            if found := self.named.get(identifier):
                return found
            identifier = identifier.rpartition("/")[0]
        return None

    def described(
        self, said: str, position: int | None, guid: str = "", component: int | None = None
    ) -> Descriptor | None:
        """What a result names by id, guid or position in a component (3.27.5 to 3.27.7)."""
        found = self.rules.get(
            (DRIVER if component is None else component, position if position is not None else -1)
        )
        # A position that contradicts the id loses: tools count rules of other components too.
        if found and (not said or said == found.rule.key or said.startswith(f"{found.rule.key}/")):
            return found
        return self.rule(said) or self.rule(guid)

    def relative(self, uri: str) -> str:
        """Absolute URIs below one of the roots become relative to the nearest of them."""
        plain = normal_path(uri)
        absolute = ":" in uri or uri.startswith("/")
        if not absolute:
            return plain
        return min((normal_path(uri, root) for root in self.roots.values()), key=len, default=plain)


def digest_of(run: Run) -> Digest:
    """Begin the digest of a result: with all of its run that says what it becomes."""
    digest = blake2b(f"sarif {VERSION} {READING} {run.tool.name!r}".encode(), digest_size=16)
    said: tuple[Mapping[Any, object], ...] = (run.rules, run.messages, run.artifacts, run.roots)
    for each in said:
        for pair in each.items():
            digest.update(repr(pair).encode(errors="surrogatepass"))
        digest.update(b"\0")
    return digest


@dataclass(slots=True)
class Gathered:
    """The runs of a report, and where reading them ended if that was not the report's end."""

    runs: list[Run] = field(default_factory=list)
    broken: Unreadable | None = None

    def run(self, number: int) -> Run:
        """By position; one that says nothing of itself if the report broke off before it."""
        if number < len(self.runs):
            return self.runs[number]
        return Run(number, Tool("", run=number))


def gather(reading: Reading, gathered: Gathered) -> Iterator[Item]:
    """The tools and rules of all runs; what is wrong with them is no result and has no number."""
    try:
        for item in _runs(reading, gathered.runs):
            yield replace(item, index=-1) if isinstance(item, Rejected) else item
    except Unreadable as error:
        gathered.broken = error
        for run in gathered.runs[-1:]:
            yield run.tool


def _runs(reading: Reading, runs: list[Run]) -> Iterator[Item]:
    for key in reading.cursor.members():
        if key == "runs" and reading.cursor.peek() == "[":
            for number in reading.cursor.elements():
                run = Run(number, Tool(name="", run=number))
                runs.append(run)
                yield from _run(reading, run)


def _run(reading: Reading, run: Run) -> Iterator[Item]:
    if reading.cursor.peek() != "{":
        return
    pointer = f"/runs/{run.number}"
    for key in reading.cursor.members():
        place = f"{pointer}/{key}"
        if key == "tool":
            yield from _tool(reading, run, place)
        elif key == "artifacts":
            yield from reading.each(place, lambda node, _: _artifact(run, node))
        elif key in _ABOUT:
            yield from _lenient(reading, run, key, place)
    yield run.tool


def _lenient(reading: Reading, run: Run, key: str, place: str) -> Iterator[Item]:
    """What only adds to the run is no reason to lose it."""
    try:
        node = Node.of({key: reading.small_value(place)}, f"/runs/{run.number}")
        run.tool = _ABOUT[key](run, node)
    except BadResult as error:
        yield Rejected(-1, error.pointer, error.reason)


def _artifact(run: Run, node: Node) -> Iterator[Item]:
    position = int(node.pointer.rpartition("/")[2])
    uri = node.node("location").text("uri")
    if uri and len(run.artifacts) < _REMEMBERED:
        run.artifacts[position] = uri
    yield from ()


_REMEMBERED = 200_000


def _automation(run: Run, node: Node) -> Tool:
    details = node.node("automationDetails")
    return replace(run.tool, automation_id=details.text("id") or details.text("guid"))


def _roots(run: Run, node: Node) -> Tool:
    bases = node.node("originalUriBaseIds")
    for name in bases.members:
        if uri := bases.node(name).text("uri"):
            run.roots[name] = uri
    return run.tool


def _provenance(run: Run, node: Node) -> Tool:
    for each in node.nodes("versionControlProvenance"):
        return replace(
            run.tool,
            revision=each.text("revisionId"),
            branch=each.text("branch"),
            target=each.text("repositoryUri"),
        )
    return run.tool


def _invocations(run: Run, node: Node) -> Tool:
    times = [
        (each.text("startTimeUtc"), each.text("endTimeUtc")) for each in node.nodes("invocations")
    ]
    start = min((start for start, _ in times if start), default="")
    return replace(run.tool, start_time=start, end_time=max((end for _, end in times), default=""))


_ABOUT = {
    "automationDetails": _automation,
    "originalUriBaseIds": _roots,
    "versionControlProvenance": _provenance,
    "invocations": _invocations,
}


def _tool(reading: Reading, run: Run, place: str) -> Iterator[Item]:
    """`driver` and `extensions`; a tool with a name of its own is the driver (SARIF 2.0.0)."""
    if reading.cursor.peek() != "{":
        return
    for key in reading.cursor.members():
        if key == "driver" and reading.cursor.peek() == "{":
            yield from _component(reading, run, DRIVER, f"{place}/driver")
        elif key == "extensions" and reading.cursor.peek() == "[":
            for index in reading.cursor.elements():
                if reading.cursor.peek() == "{":
                    yield from _component(reading, run, index, f"{place}/extensions/{index}")
        elif key in _NAMING:
            yield from _named(reading, run, key, place)


_NAMING = ("name", "semanticVersion", "version")


def _named(reading: Reading, run: Run, key: str, place: str) -> Iterator[Item]:
    try:
        said = Node.of({key: reading.small_value(f"{place}/{key}")}, place).text(key)
    except BadResult as error:
        yield Rejected(-1, error.pointer, error.reason)
        return
    if key == "name":
        run.tool = replace(run.tool, name=said)
    elif key == "semanticVersion" or not run.tool.version:
        run.tool = replace(run.tool, version=said)


def _component(reading: Reading, run: Run, component: int, place: str) -> Iterator[Item]:
    for key in reading.cursor.members():
        if key == "rules":
            yield from _rules(reading, run, component, f"{place}/rules")
        elif key == "globalMessageStrings" and component == DRIVER:
            run.messages = _messages(reading.small(f"{place}/{key}"))
        elif component == DRIVER and key in _NAMING:
            yield from _named(reading, run, key, place)


def _rules(reading: Reading, run: Run, component: int, place: str) -> Iterator[Item]:
    def keep(node: Node, _: Count) -> Iterator[Item]:
        described = descriptor(node, run.number)
        position = int(node.pointer.rpartition("/")[2])
        if len(run.rules) >= reading.spool.limits.rules:
            raise BadResult(node.pointer, f"is beyond {reading.spool.limits.rules} rules")
        run.rules[component, position] = described
        run.named.setdefault(described.rule.key, described)
        if described.guid:
            run.named.setdefault(described.guid, described)
        yield described.rule

    yield from reading.each(place, keep)


def descriptor(node: Node, run: int) -> Descriptor:
    """A reportingDescriptor (3.49)."""
    properties = node.node("properties")
    score, security = security_severity(properties)
    level = node.node("defaultConfiguration").text("level")
    help_text = node.node("help")
    tags = properties.texts("tags")
    related = tuple(each.node("target").scalar("id") for each in node.nodes("relationships"))
    weaknesses = (*tags, *(f"CWE-{each}" if each.isdigit() else each for each in related))
    rule = Rule(
        key=node.needed("id"),
        name=node.text("name") or node.node("shortDescription").text("text") or node.text("id"),
        description=node.node("fullDescription").text("text")
        or node.node("shortDescription").text("text"),
        help_text=help_text.text("markdown") or help_text.text("text"),
        help_uri=node.text("helpUri"),
        severity=severity_of(security, level or DEFAULT_LEVEL, node.at("defaultConfiguration")),
        severity_said=level,
        score=score,
        precision=properties.text("precision"),
        cwe_ids=words.cwe_ids(weaknesses),
        tags=tags,
        run=run,
    )
    return Descriptor(
        rule, node.text("guid"), level, security, _messages(node.node("messageStrings"))
    )


def security_severity(properties: Node) -> tuple[float | None, Severity | None]:
    """The score and the step it means (a score of 0 means "none"); neither if it is not said."""
    if not properties.has("security-severity"):
        return None, None
    said = properties.scalar("security-severity").strip()
    if said.lower() in SECURITY_WORDS:
        return None, SECURITY_WORDS[said.lower()]
    score = properties.number("security-severity")
    return score, None if score is None else words.by_score(score)


def severity_of(security: Severity | None, level: str, pointer: str) -> Severity:
    """The security severity if there is one, otherwise the level."""
    return security or words.severity(LEVELS, level, pointer)


def _messages(node: Node) -> dict[str, str]:
    return {key: node.node(key).text("text") for key in node.members}
