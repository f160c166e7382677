"""SARIF 2.1.0 (OASIS): the results of every run, in two passes over the report."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import orjson

from services.security.importing import words
from services.security.importing.model import (
    Finding,
    Item,
    Location,
    Recall,
    Rule,
    Severity,
    State,
    Subject,
    Suppression,
)
from services.security.importing.node import MOST, BadResult, Node
from services.security.importing.reading import Count, Reading, Told
from services.security.importing.sarif_plain import PlainResults
from services.security.importing.sarif_run import (
    DEFAULT_LEVEL,
    Descriptor,
    Gathered,
    Run,
    digest_of,
    gather,
    security_severity,
    severity_of,
)
from services.security.importing.spool import Spool

# A result without any rule (gitleaks writes such) is filed under this one.
NO_RULE = "no-rule"
# 3.27.9: what is no failure has no level, and is no open finding.
_KINDS = {
    "": State.OPEN,
    "fail": State.OPEN,
    "open": State.MANUAL,
    "review": State.MANUAL,
    "informational": State.OPEN,
    "pass": State.PASSED,
    "notApplicable": State.PASSED,
}
# 3.27.24; `existing` is what drafts called `unchanged`.
_BASELINES = {
    "": "",
    "new": "NEW",
    "unchanged": "UNCHANGED",
    "existing": "UNCHANGED",
    "updated": "UPDATED",
    "absent": "ABSENT",
}
_FINGERPRINTS = ("fingerprints", "partialFingerprints")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([0-9]{1,4})\}")


def read(spool: Spool, recall: Recall | None = None) -> Iterator[Item]:
    """Tools and rules first, then the results. Raises Unreadable where the report breaks off.

    Results that are recalled by their digests are not read.
    """
    gathered = Gathered()
    yield from gather(Reading(spool), gathered)
    reading = Reading(spool)
    for key in reading.cursor.members():
        if key == "runs" and reading.cursor.peek() == "[":
            for number in reading.cursor.elements():
                if reading.cursor.peek() == "{":
                    yield from _results(reading, gathered.run(number), recall)
                else:
                    raise BadResult(f"/runs/{number}", "is no object")
    reading.cursor.finish()
    # The second pass skips the rules, and so what was wrong with them.
    if gathered.broken:
        raise gathered.broken


def _results(reading: Reading, run: Run, recall: Recall | None) -> Iterator[Item]:
    known = {descriptor.rule.key for descriptor in run.named.values()}

    def parse(digest: bytes, node: Node, count: Count) -> Iterator[Item]:
        finding, described = _finding(node, count, run)
        finding.digest = digest
        if described is None and finding.rule_key not in known:
            if len(known) >= reading.spool.limits.rules:
                raise BadResult(node.at("ruleId"), f"is beyond {reading.spool.limits.rules} rules")
            known.add(finding.rule_key)
            yield Rule(
                finding.rule_key, finding.rule_key, severity=finding.severity, run=run.number
            )
        count.next()
        yield finding

    for key in reading.cursor.members():
        if key == "results":
            place = f"/runs/{run.number}/results"
            if recall is None:
                yield from reading.each(place, partial(parse, b""))
            else:
                told = Told(digest_of(run), partial(recall, run.number), PlainResults(run).finding)
                yield from reading.told(place, parse, told)


def _finding(node: Node, count: Count, run: Run) -> tuple[Finding, Descriptor | None]:
    key, described = _rule(node, run)
    rule = described.rule if described else None
    message, template = _message(node, run, described)
    kind = node.text("kind")
    if kind not in _KINDS:
        raise BadResult(node.at("kind"), f"is no kind of result: {kind[:40]!r}")
    properties = node.node("properties")
    level = _level(node, properties, kind, described)
    suppressions = tuple(_suppressions(node)) if node.has("suppressions") else ()
    baseline = node.text("baselineState")
    if baseline not in _BASELINES:
        raise BadResult(node.at("baselineState"), f"is no baseline state: {baseline[:40]!r}")
    tags = properties.texts("tags") if properties.has("tags") else ()
    taxa = _taxa(node) if node.has("taxa") else ()
    finding = Finding(
        index=count.index + 1,
        pointer=node.pointer,
        subject=Subject.CODE,
        rule_key=key,
        title=rule.name if rule else key,
        severity=severity_of(level.security, level.said, node.at("level")),
        severity_said=level.said,
        message=message or (rule.description or rule.name if rule else key),
        message_template=template,
        confidence=rule.precision if rule else "",
        score=level.score,
        cve_id=words.cve_id((key,)),
        cwe_ids=_cwe_ids(rule.cwe_ids if rule else (), (*tags, *taxa)),
        tags=tags,
        references=(rule.help_uri,) if rule and rule.help_uri else (),
        locations=tuple(_location(each, run) for each in node.nodes("locations")),
        code_flows=tuple(_flows(node, run)) if node.has("codeFlows") else (),
        fingerprints=tuple(
            each for key in _FINGERPRINTS if node.has(key) for each in _fingerprints(node, key)
        ),
        suppressions=suppressions,
        state=_state(kind, baseline, suppressions),
        baseline=_BASELINES[baseline],
        run=run.number,
    )
    return finding, described


def _rule(node: Node, run: Run) -> tuple[str, Descriptor | None]:
    """3.27.5 to 3.27.7: by `ruleId`, `rule`, or position in the component that `rule` names."""
    said, position, guid, component = node.text("ruleId"), node.integer("ruleIndex"), "", None
    if node.has("rule"):
        reference = node.node("rule")
        said, guid = said or reference.text("id"), reference.text("guid")
        position = reference.integer("index") if position is None else position
        component = reference.node("toolComponent").integer("index")
    described = run.described(said, position, guid, component)
    if said:
        return said, described
    if described:
        return described.rule.key, described
    if position is not None and position >= 0:
        raise BadResult(node.at("ruleIndex"), f"names no rule: {position}")
    return NO_RULE, None


def _message(node: Node, run: Run, described: Descriptor | None) -> tuple[str, str]:
    """3.11: the text, or a message string of the rule or the tool, and its placeholders filled."""
    message = node.node("message")
    template = message.text("text")
    if not template and (identifier := message.text("id")):
        own = described.messages if described else {}
        template = own.get(identifier) or run.messages.get(identifier, "")
    arguments = (
        [str(each) for each in message.array("arguments")] if message.has("arguments") else []
    )

    def fill(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        position = int(found[1])
        return arguments[position] if position < len(arguments) else found[0]

    filled = _PLACEHOLDER.sub(fill, template) if arguments else template
    return filled or message.text("markdown"), template


@dataclass(frozen=True, slots=True)
class _Level:
    """How bad a result is, in SARIF's words and by its own or its rule's security severity."""

    said: str
    score: float | None
    security: Severity | None


def _level(node: Node, properties: Node, kind: str, described: Descriptor | None) -> _Level:
    level = node.text("level")
    if not level and kind not in ("", "fail"):
        return _Level("none", None, None)
    score, security = security_severity(properties)
    if security is None and described:
        score, security = described.rule.score, described.security
    return _Level(level or (described.level if described else "") or DEFAULT_LEVEL, score, security)


def _taxa(node: Node) -> tuple[str, ...]:
    return tuple(f"CWE-{each.scalar('id')}" for each in node.nodes("taxa") if _weakness(each))


def _cwe_ids(of_rule: tuple[str, ...], texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*of_rule, *words.cwe_ids(texts)))) if texts else of_rule


def _weakness(taxon: Node) -> bool:
    component = taxon.node("toolComponent")
    return component.text("name").upper() == "CWE" and taxon.scalar("id").isdigit()


def _suppressions(node: Node) -> Iterator[Suppression]:
    for each in node.nodes("suppressions"):
        status = each.text("status") or each.text("state")
        yield Suppression(each.text("kind"), status, each.text("justification"))


def _state(kind: str, baseline: str, suppressions: tuple[Suppression, ...]) -> State:
    """3.27.23: suppressed if some suppression is there and none is under review or rejected."""
    if baseline == "absent":
        return State.RESOLVED
    if suppressions and all(each.status in ("", "accepted") for each in suppressions):
        return State.SUPPRESSED
    return _KINDS[kind]


def _fingerprints(node: Node, key: str) -> Iterator[tuple[str, str]]:
    """Some tools nest what should be strings: those are kept as JSON with sorted keys."""
    for name, value in sorted(node.node(key).members.items()):
        if isinstance(value, str) and value:
            yield f"{key}/{name}", value
        elif value:
            yield f"{key}/{name}", orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _location(node: Node, run: Run) -> Location:
    """A location (3.28); most are plain places in files."""
    return _plain_location(node.members, run) or _any_location(node, run)


def _plain_location(members: dict[str, object], run: Run) -> Location | None:
    """The location that says a file and a region and nothing else; none if it is not just that."""
    physical = members.get("physicalLocation")
    if len(members) > 1 or type(physical) is not dict or "contextRegion" in physical:
        return None
    artifact, region = physical.get("artifactLocation"), physical.get("region")
    if type(artifact) is not dict or type(region) is not dict:
        return None
    uri, index, snippet = artifact.get("uri"), artifact.get("index"), region.get("snippet")
    numbers = (
        *(region.get("startLine"), region.get("endLine")),
        *(region.get("startColumn"), region.get("endColumn")),
    )
    text = snippet.get("text") if type(snippet) is dict else ""
    if not (
        (type(uri) is str and uri and type(text) is str)
        and (snippet is None or type(snippet) is dict)
        and (index is None or _is_number(index))
        and all(number is None or _is_number(number) for number in numbers)
    ):
        return None
    return Location(run.relative(uri), *numbers, text)


def _is_number(value: object) -> bool:
    return type(value) is int and -MOST <= value <= MOST


def _any_location(node: Node, run: Run) -> Location:
    physical = node.node("physicalLocation")
    artifact = physical.node("artifactLocation")
    index = artifact.integer("index")
    uri = artifact.text("uri") or (run.artifacts.get(index, "") if index is not None else "")
    region = physical.node("region")
    context = physical.node("contextRegion")
    logical = next(node.nodes("logicalLocations"), node.node("logicalLocation"))
    return Location(
        path=run.relative(uri),
        start_line=region.integer("startLine"),
        end_line=region.integer("endLine"),
        start_column=region.integer("startColumn"),
        end_column=region.integer("endColumn"),
        snippet=region.node("snippet").text("text") or context.node("snippet").text("text"),
        logical_name=logical.text("fullyQualifiedName") or logical.text("name"),
    )


def _flows(node: Node, run: Run) -> Iterator[tuple[Location, ...]]:
    for flow in node.nodes("codeFlows"):
        for thread in flow.nodes("threadFlows"):
            yield tuple(_location(each.node("location"), run) for each in thread.nodes("locations"))
