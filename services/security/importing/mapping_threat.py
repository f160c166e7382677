"""STIX objects: `threat_intelligence`, with what the bundle relates them to."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from services.security.importing.model import Item, ThreatObject
from services.security.importing.node import BadResult, Node
from services.security.importing.rows import Context, Row, present, time

# Types with a place of their own; relationships and sightings are folded into what they are about.
TYPES = frozenset({
    "indicator", "attack-pattern", "campaign", "course-of-action", "grouping", "identity",
    "infrastructure", "intrusion-set", "location", "malware", "malware-analysis", "note",
    "observed-data", "opinion", "report", "threat-actor", "tool", "vulnerability",
})  # fmt: skip
# STIX 2.1, 7.2.1.4 (TLP 1.0), and the TLP 2.0 markings that OASIS published after it.
TLP = {
    "613f2e26-407d-48c7-9eca-b8e91df99dc9": "CLEAR",
    "34098fce-860f-48ae-8e50-ebd3cc5e41da": "GREEN",
    "f88d31f6-486f-44da-b317-01333bde0b82": "AMBER",
    "5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "RED",
    "94868c89-83c2-464b-929b-a1a8aa3c8487": "CLEAR",
    "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "GREEN",
    "55d920b0-5e8b-4f79-9ee9-91f868d9b421": "AMBER",
    "939a9414-2ddd-4d32-a0cd-375ea402b003": "AMBER_STRICT",
    "e828b379-4e03-4974-9ac4-e53a884c97c1": "RED",
}
# The strictest first. What nobody marked is shared with nobody else by default.
_STRICT = ("RED", "AMBER_STRICT", "AMBER", "GREEN", "CLEAR")
_UNMARKED = "AMBER"
# STIX 2.1 section 6: the observable's property in a pattern of one comparison.
_OBSERVABLES = {
    "ipv4-addr:value": "IPV4_ADDR",
    "ipv6-addr:value": "IPV6_ADDR",
    "domain-name:value": "DOMAIN_NAME",
    "url:value": "URL",
    "email-addr:value": "EMAIL_ADDR",
    "file:hashes.md5": "FILE_MD5",
    "file:hashes.'md5'": "FILE_MD5",
    "file:hashes.'sha-1'": "FILE_SHA1",
    "file:hashes.'sha-256'": "FILE_SHA256",
    "file:name": "FILE_NAME",
    "mutex:name": "MUTEX",
    "windows-registry-key:key": "REGISTRY_KEY",
}
_COMPARISON = re.compile(r"\[\s*([a-z0-9-]+:[A-Za-z0-9_.'-]+)\s*=\s*'((?:[^'\\]|\\.)*)'\s*\]")
_PATTERN_TYPES = frozenset({"stix", "pcre", "sigma", "snort", "suricata", "yara"})


@dataclass(slots=True)
class Graph:
    """What objects say of other objects: gathered from the whole bundle before any is mapped."""

    edges: defaultdict[str, list[dict[str, object]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    sightings: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Iterable[Item]) -> "Graph":
        """Of a first reading of the bundle."""
        graph = cls()
        for item in items:
            if isinstance(item, ThreatObject):
                # A wrong one is rejected when it is mapped.
                with suppress(BadResult):
                    graph._add(item)
        return graph

    def _add(self, item: ThreatObject) -> None:
        node = Node(item.body, item.pointer)
        if item.type == "identity":
            self.names[item.id] = item.name
        elif item.type == "relationship":
            self.edges[node.needed("source_ref")].append(_edge(item, node))
        elif item.type == "sighting":
            self.sightings[node.needed("sighting_of_ref")] += _sighted(node)


def _sighted(node: Node) -> int:
    """STIX 2.1, 5.2: at least 0; without a count, once."""
    count = node.integer("count")
    if count is not None and count < 0:
        raise BadResult(node.at("count"), "is less than 0")
    return 1 if count is None else count


def _edge(item: ThreatObject, node: Node) -> dict[str, object]:
    return present(
        {
            "type": node.needed("relationship_type"),
            "target_stix_id": node.needed("target_ref"),
            "stix_id": item.id,
            "description": node.text("description"),
            "start_time": time(node.text("start_time")),
            "stop_time": time(node.text("stop_time")),
        }
    )


def threat(item: ThreatObject, graph: Graph, context: Context) -> Iterator[Row]:
    """A record for an object of a type that has one. Raises BadResult for a wrong member."""
    node = Node(item.body, item.pointer)
    if item.type == "relationship":
        _edge(item, node)
    elif item.type == "sighting":
        _sighted(node)
    elif item.type in TYPES:
        yield _object(item, node, graph, context)


def _object(item: ThreatObject, node: Node, graph: Graph, context: Context) -> Row:
    ioc_type, value = _observable(node)
    references = list(node.nodes("external_references"))
    creator = node.text("created_by_ref")
    values = {
        "stix_id": item.id,
        "object_type": item.type.replace("-", "_").upper(),
        "ioc_type": ioc_type,
        "value": value,
        "name": item.name,
        "description": node.text("description") or node.text("content"),
        "pattern": node.text("pattern"),
        "pattern_type": _pattern_type(node),
        "indicator_types": list(node.texts("indicator_types")),
        "source_labels": list(node.texts("labels")),
        "confidence": node.integer("confidence"),
        "tlp": _tlp(node),
        "source": graph.names.get(creator) or creator or context.tool,
        "kill_chain_phases": [
            {key: each.text(key) for key in ("kill_chain_name", "phase_name")}
            for each in node.nodes("kill_chain_phases")
        ],
        "mitre_techniques": _techniques(references),
        "external_references": [_reference(each) for each in references],
        "relationships": graph.edges.get(item.id, []),
        "valid_from_time": time(node.text("valid_from")),
        "valid_until_time": time(node.text("valid_until")),
        "first_seen_time": time(node.text("first_seen")),
        "last_seen_time": time(node.text("last_seen")),
        "sighting_count": graph.sightings.get(item.id),
        "is_revoked": node.flag("revoked"),
        "raw": item.body,
    }
    if item.type == "malware" and node.flag("is_family"):
        values["malware_family"] = item.name
    if item.type == "threat-actor":
        values["threat_actor"] = item.name
    return Row("threat_intelligence", item.id, present(values))


def _observable(node: Node) -> tuple[str, str]:
    """The single value that an indicator's pattern looks for; neither if it is more than that."""
    found = _COMPARISON.fullmatch(node.text("pattern").strip())
    kind = _OBSERVABLES.get(found[1].lower()) if found else None
    return (kind, re.sub(r"\\(.)", r"\1", found[2])) if found and kind else ("", "")


def _pattern_type(node: Node) -> str:
    """STIX 2.0 had STIX patterns only, and no word for it."""
    said = node.text("pattern_type") or ("stix" if node.has("pattern") else "")
    if said and said not in _PATTERN_TYPES:
        raise BadResult(node.at("pattern_type"), f"is no type of pattern: {said[:40]!r}")
    return said.upper()


def _tlp(node: Node) -> str:
    marks = {TLP.get(each.partition("--")[2]) for each in node.texts("object_marking_refs")}
    return next((each for each in _STRICT if each in marks), _UNMARKED)


def _techniques(references: list[Node]) -> list[str]:
    attack = (each for each in references if each.text("source_name") == "mitre-attack")
    identifiers = (each.text("external_id") for each in attack)
    return [each for each in identifiers if each.startswith("T")]


def _reference(node: Node) -> dict[str, object]:
    hashes = node.node("hashes")
    return present(
        {
            **{key: node.text(key) for key in ("source_name", "external_id", "url", "description")},
            "hashes": {name: hashes.text(name) for name in hashes.members},
        }
    )
