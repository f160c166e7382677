"""A STIX 2.0 or 2.1 bundle (OASIS STIX 2.1, section 8): every object, relationships among them."""

import re
from collections.abc import Iterator

from services.security.importing.model import Item, ThreatObject, Tool
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# Section 2.9: the object's type, two dashes, a UUID.
_IDENTIFIER = re.compile(
    r"([a-z0-9-]{1,250})--[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.IGNORECASE,
)
_TYPES_WITH_ENDS = {
    "relationship": ("source_ref", "target_ref", "relationship_type"),
    "sighting": ("sighting_of_ref",),
    "indicator": ("pattern",),
}


def read(spool: Spool) -> Iterator[Item]:
    """`objects[]`, in the order of the bundle; what refers to what is the reader's business."""
    reading = Reading(spool)
    identifier = ""
    for key in reading.cursor.members():
        if key == "id":
            identifier = str(reading.small_value("/id"))
        elif key == "objects":
            yield from reading.each("/objects", _object)
    yield Tool("STIX", serial_number=identifier)
    reading.cursor.finish()


def _object(node: Node, count: Count) -> Iterator[Item]:
    kind, identifier = node.needed("type"), node.needed("id")
    found = _IDENTIFIER.fullmatch(identifier)
    if not found or found[1] != kind:
        raise BadResult(node.at("id"), f"is no identifier of a {kind[:40]}: {identifier[:80]!r}")
    for needed in _TYPES_WITH_ENDS.get(kind, ()):
        node.needed(needed)
    name = node.text("name") or (
        node.scalar("value") if isinstance(node.members.get("value"), str) else ""
    )
    item = ThreatObject(count.index + 1, node.pointer, identifier, kind, name, node.members)
    count.next()
    yield item
