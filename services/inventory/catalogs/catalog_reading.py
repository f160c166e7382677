"""An OSCAL catalog, or a profile resolved into one, read into the text of its controls.

A document that is broken is refused whole; what is merely odd becomes an issue of the catalog.
Source: NIST OSCAL catalog model 1.0 to 1.2.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from secmesh.inventory.v1.catalog_pb2 import (
    Catalog,
    CatalogControl,
    CatalogParameter,
    CatalogPart,
)
from services.inventory.catalogs.control_parts import (
    MAX_DEPTH,
    MAX_PARAMETERS,
    Around,
    add_links,
    bounded,
    parameters_of,
    parts_of,
    prop,
)
from services.inventory.catalogs.insertions import Printer, inserted
from services.inventory.compliance.controls import control_id, load_controls
from services.inventory.compliance.document import MAX_BYTES, Node, at, read_document, root_of
from services.inventory.compliance.documents.blocks import DocumentRefused
from services.inventory.compliance.documents.bounded import yaml_bounded
from services.inventory.compliance.ssp import model_root, require_version
from services.inventory.errors import CatalogInvalid, SspInvalid

ROOT = "catalog"
MAX_CONTROLS = 5000
MAX_GROUPS = 200
"""Within one; SP 800-53 has 20."""
MAX_CONTROL_BYTES = 1 << 20
"""Text of one control; the longest of SP 800-53 has some 20 KB."""
MAX_TEXT_BYTES = 64 << 20
"""Text of all controls, parameters written out."""
MAX_UNLABELLED = 1000
_REVISION_4 = re.compile(r"\brev(?:ision|\.)?\s*4\b|800-53r4", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_JSON_OR_OTHER = (b"{", b"[", b"<", b"%PDF", b"PK\x03\x04", b"\xff\xfe", b"\xfe\xff")
"""What is left to the reader of JSON, which says what it is."""


@dataclass(frozen=True)
class Text:
    """A document that was read."""

    catalog: Catalog
    controls: tuple[CatalogControl, ...]


@dataclass(frozen=True)
class _Place:
    """Where a control stands."""

    family: str
    parameters: Mapping[str, CatalogParameter]
    """Of all that it lies within."""
    depth: int


def read_catalog(name: str, content: bytes) -> Text:
    """Read the document of the catalog ``name``; its times and etag are left to the store.

    Raises CatalogInvalid, with the place of what is wrong.
    """
    try:
        return _read(name, _document(content), hashlib.sha256(content).hexdigest())
    except SspInvalid as problem:
        raise CatalogInvalid(problem.pointer, problem.problem) from None
    except DocumentRefused as refused:
        raise CatalogInvalid(refused.place, refused.problem) from None


def _document(content: bytes) -> Node:
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if len(content) > MAX_BYTES or start.startswith(_JSON_OR_OTHER):
        return read_document(content)
    return root_of(yaml_bounded(content))


def _read(name: str, document: Node, digest: str) -> Text:
    root = model_root(document, ROOT)
    metadata = root.required_child("metadata")
    title = bounded(metadata, "title", 1024, required=True)
    if _REVISION_4.search(title):
        metadata.refuse("is revision 4 of SP 800-53; revision 5 is taken", "title")
    around = Around(name, _publications(root))
    made = Catalog(
        name=name,
        title=title,
        version=bounded(metadata, "version", 256),
        oscal_version=require_version(metadata)[:32],
        document_uuid=bounded(root, "uuid", 64, required=True).lower(),
        document_sha256=digest,
    )
    if not _UUID.fullmatch(made.document_uuid):
        around.issues.note(at(root.pointer, "uuid"), "is no UUID")
    _changed(metadata, made, around)
    controls = _controls(root, around)
    _tell(root, made, controls)
    made.issues.extend(around.issues.all())
    return Text(made, tuple(controls.values()))


def _changed(metadata: Node, made: Catalog, around: Around) -> None:
    written = metadata.text("last-modified").strip()
    try:
        made.last_modify_time.FromDatetime(datetime.fromisoformat(written))
    except (ValueError, OverflowError):
        around.issues.note(at(metadata.pointer, "last-modified"), "is no moment (RFC 3339)")


def _publications(root: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    matter = root.child("back-matter")
    for resource in matter.children("resources") if matter else ():
        citation = resource.child("citation")
        title = resource.text("title") or (citation.text("text") if citation else "")
        found[resource.text("uuid").lower()] = " ".join(title.split())[:1024]
    return found


def _controls(root: Node, around: Around) -> dict[str, CatalogControl]:
    found: dict[str, CatalogControl] = {}
    size = 0
    for node, place in _found(root, _Place("", {}, 0)):
        written = node.text("id", required=True)
        identifier = control_id(written)
        if identifier is None:
            problem = f"{written[:64]!r} is no id of a control of SP 800-53"
            around.issues.note(at(node.pointer, "id"), problem)
            continue
        if identifier in found:
            node.refuse(f"control {identifier} stands there twice", "id")
        if len(found) == MAX_CONTROLS:
            node.refuse(f"more than {MAX_CONTROLS:,} controls")
        made = _control(node, place, around)
        made.name = f"{around.catalog}/controls/{identifier}"
        made.position = len(found) + 1
        size += made.ByteSize()
        if size > MAX_TEXT_BYTES:
            node.refuse(f"the controls hold more than {MAX_TEXT_BYTES:,} bytes of text")
        found[identifier] = made
    for identifier in found:
        base = found.get(identifier.partition(".")[0])
        if base is not None and base is not found[identifier]:
            base.enhancement_ids.append(identifier)
    return found


def _found(node: Node, place: _Place) -> Iterator[tuple[Node, _Place]]:
    """Give every control below a node with its place, each before its enhancements."""
    if place.depth > MAX_DEPTH:
        node.refuse("the document is nested too deeply")
    own = parameters_of(node)
    around = {**place.parameters, **own} if own else place.parameters
    if len(around) > MAX_PARAMETERS * 4:
        node.refuse(f"more than {MAX_PARAMETERS * 4:,} parameters around one control", "params")
    inside = _Place(place.family, around, place.depth + 1)
    for control in node.children("controls"):
        yield control, inside
        if control.value.get("controls"):
            yield from _found(control, inside)
    for number, group in enumerate(node.children("groups")):
        if number == MAX_GROUPS:
            group.refuse(f"more than {MAX_GROUPS} groups in one")
        yield from _found(group, replace(inside, family=bounded(group, "title", 1024)))


def _control(node: Node, place: _Place, around: Around) -> CatalogControl:
    made = CatalogControl(
        label=prop(node, "label")[:64],
        title=bounded(node, "title", 1024),
        family=place.family,
        withdrawn=prop(node, "status").lower() == "withdrawn",
    )
    add_links(node, made, around)
    made.parts.extend(parts_of(node, around))
    known = {**place.parameters, **(own := parameters_of(node))}
    needed = {**own, **_borrowed(made, known, own)}
    if len(needed) > MAX_PARAMETERS:
        node.refuse(f"more than {MAX_PARAMETERS} parameters", "params")
    made.parameters.extend(needed.values())
    unknown = sorted({each for part in made.parts for each in inserted(part.prose)} - {*known})
    if unknown:
        told = ", ".join(unknown)
        around.issues.note(node.pointer, f"the words insert unknown parameters: {told}")
    printer = Printer(needed)
    for part in made.parts:
        part.text = printer.printed(part.prose)
    if made.ByteSize() > MAX_CONTROL_BYTES:
        node.refuse(f"holds more than {MAX_CONTROL_BYTES:,} bytes of text")
    return made


def _borrowed(
    made: CatalogControl,
    known: Mapping[str, CatalogParameter],
    own: Mapping[str, CatalogParameter],
) -> dict[str, CatalogParameter]:
    """Give the parameters of what lies around a control that its words insert."""
    waiting = [part.prose for part in made.parts]
    waiting += [choice for each in own.values() for choice in each.choices]
    found: dict[str, CatalogParameter] = {}
    while waiting:
        for identifier in inserted(waiting.pop()):
            if identifier in known and identifier not in own and identifier not in found:
                found[identifier] = known[identifier]
                waiting += known[identifier].choices
    return found


def _tell(root: Node, made: Catalog, controls: Mapping[str, CatalogControl]) -> None:
    """Say what of the document was understood; SspInvalid if it is of another framework."""
    known = load_controls()
    if not controls.keys() & known.keys():
        root.refuse("holds no control of SP 800-53 rev 5")
    made.controls = len(controls)
    made.withdrawn = sum(each.withdrawn for each in controls.values())
    parameters = {each.id: each for control in controls.values() for each in control.parameters}
    made.parameters = len(parameters)
    made.statements = sum(
        part.kind == CatalogPart.KIND_STATEMENT
        for control in controls.values()
        for part in control.parts
    )
    made.unknown_control_ids.extend(each for each in controls if each not in known)
    made.missing_control_ids.extend(each for each in known if each not in controls)
    unlabelled = [
        each.id for each in parameters.values() if not (each.label or each.choices or each.values)
    ]
    made.unlabelled_parameter_ids.extend(unlabelled[:MAX_UNLABELLED])
