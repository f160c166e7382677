"""What a control of an OSCAL catalog is made of: parameters, links, paragraphs.

Source: NIST OSCAL catalog model 1.0 to 1.2; names of parts and links as in NIST's SP 800-53.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from secmesh.inventory.v1.catalog_pb2 import CatalogControl, CatalogParameter, CatalogPart
from services.inventory.compliance.controls import control_id, statement_id
from services.inventory.compliance.document import Node
from services.inventory.compliance.ssp import IssueList

MAX_DEPTH = 16
"""Of what lies within its like: parts, groups, controls."""
MAX_PARTS = 500
"""Of one control."""
MAX_PARAMETERS = 500
"""Of one object."""
_KINDS = {"statement": CatalogPart.KIND_STATEMENT, "guidance": CatalogPart.KIND_GUIDANCE}
_ASSESSMENT = frozenset({"assessment-objective", "assessment-method", "assessment", "objective"})
"""Parts of SP 800-53A, which are not kept."""
_LINKS = {
    "incorporated-into": "incorporated_into",
    "moved-to": "incorporated_into",
    "related": "related_control_ids",
    "reference": "publications",
}
_MOST_LINKS = 200


@dataclass
class Around:
    """What the controls of one document share."""

    catalog: str
    """Name of the resource."""
    publications: Mapping[str, str]
    """Titles in the back matter, by UUID."""
    issues: IssueList = field(default_factory=IssueList)
    odd_parts: set[str] = field(default_factory=set)


def bounded(node: Node, key: str, most: int, *, required: bool = False) -> str:
    """Give a string of at most so many characters; SspInvalid if there are more."""
    text = node.text(key, required=required).strip()
    if len(text) > most:
        node.refuse(f"has {len(text):,} characters; {most:,} are taken", key)
    return text


def prop(node: Node, name: str) -> str:
    """Give the value of a property: of several the one without a class; empty if there is none."""
    found: dict[str, str] = {}
    for each in node.children("props"):
        if each.text("name") == name:
            found.setdefault(each.text("class"), each.text("value").strip())
    return found.get("") or found.get("sp800-53") or next(iter(found.values()), "")


def parameters_of(node: Node) -> dict[str, CatalogParameter]:
    """Give the parameters that an object lists, by id."""
    found: dict[str, CatalogParameter] = {}
    for each in node.children("params"):
        identifier = bounded(each, "id", 128, required=True)
        if identifier in found:
            each.refuse(f"parameter {identifier} stands there twice", "id")
        found[identifier] = _parameter(each, identifier)
        if len(found) > MAX_PARAMETERS:
            node.refuse(f"more than {MAX_PARAMETERS} parameters", "params")
    return found


def _parameter(node: Node, identifier: str) -> CatalogParameter:
    made = CatalogParameter(
        id=identifier,
        label=" ".join(bounded(node, "label", 1024).split()),
        guidelines=_some(
            node, "guidelines", [g.text("prose") for g in node.children("guidelines")], 50
        ),
        values=_some(node, "values", node.texts("values"), 100),
    )
    choice = node.child("select")
    if choice is not None:
        made.choices.extend(_some(choice, "choice", choice.texts("choice"), 100))
        made.several = choice.text("how-many") == "one-or-more"
    parts = [p.text("value") for p in node.children("props") if p.text("name") == "aggregates"]
    made.aggregates.extend(each[:128] for each in _some(node, "props", parts, 100))
    return made


def _some(node: Node, key: str, texts: list[str], most: int) -> list[str]:
    if len(texts) > most:
        node.refuse(f"holds more than {most}", key)
    if any(len(text) > 4096 for text in texts):
        node.refuse("holds a text of more than 4,096 characters", key)
    return [each for text in texts if (each := " ".join(text.split()))]


def part_id(text: str) -> str:
    """Give the id of a part as claims have it: ``ac-02_stmt.a`` is ``ac-2_smt.a``."""
    known = statement_id(text)
    if known is None:
        return text.strip()
    return known[1] or f"{known[0]}_smt"


def parts_of(control: Node, around: Around) -> list[CatalogPart]:
    """Give the paragraphs of a control's statement and guidance, in order."""
    found: list[CatalogPart] = []
    for part in control.children("parts"):
        name = part.text("name")
        if name in _KINDS:
            _take(found, part, _KINDS[name], 0)
        elif name not in _ASSESSMENT and name not in around.odd_parts:
            around.odd_parts.add(name)
            around.issues.note(part.pointer, f"parts named {name[:64]!r} are not kept")
    return found


def _take(
    found: list[CatalogPart], part: Node, kind: CatalogPart.Kind.ValueType, depth: int
) -> None:
    if depth > MAX_DEPTH:
        part.refuse("the parts are nested too deeply")
    if len(found) == MAX_PARTS:
        part.refuse(f"the control has more than {MAX_PARTS} parts")
    found.append(
        CatalogPart(
            id=part_id(bounded(part, "id", 128))[:128],
            kind=kind,
            depth=depth,
            label=prop(part, "label")[:64],
            title=bounded(part, "title", 1024),
            prose=bounded(part, "prose", 32_768),
        )
    )
    for child in part.children("parts"):
        _take(found, child, kind, depth + 1)


def add_links(node: Node, made: CatalogControl, around: Around) -> None:
    """Take from a control where it lives on, what is related to it, and what it refers to."""
    found: dict[str, dict[str, None]] = {key: {} for key in _LINKS.values()}
    for link in node.children("links"):
        key = _LINKS.get(link.text("rel"))
        target = link.text("href").removeprefix("#").strip()
        if key == "publications":
            target = around.publications.get(target.lower(), "")
        elif target:
            target = (control_id(target) or part_id(target))[:128]
        if key and target:
            found[key][target] = None
    for key, targets in found.items():
        if len(targets) > _MOST_LINKS:
            node.refuse(f"more than {_MOST_LINKS} links of one kind", "links")
        getattr(made, key).extend(targets)
