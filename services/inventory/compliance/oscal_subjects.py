"""Resources as OSCAL inventory items, and the assessing tool as a component."""

from collections.abc import Iterable

from secmesh.inventory.v1 import assessment_pb2 as pb
from services.inventory.compliance.oscal_parts import (
    Part,
    identifier,
    line,
    markup,
    prop,
    without_empty,
)

TOOL = identifier("component", "secmesh")
"""UUID of the component that stands for this program."""
_PLATFORM = identifier("assessment-platform", "secmesh")
ORIGINS = [{"actors": [{"type": "tool", "actor-uuid": TOOL}]}]
"""Who says so, for observations, findings and risks."""


class Subjects:
    """The inventory items that the observations of one document speak of."""

    def __init__(self) -> None:
        self._items: dict[str, Part] = {}

    def reference(self, evidence: pb.Evidence, collection: str) -> Part:
        """Give a reference to the resource of an outcome, and keep its item."""
        name = evidence.record or evidence.subject
        number = identifier("inventory-item", name)
        if number not in self._items:
            self._items[number] = _item(number, evidence, collection)
        return {
            "subject-uuid": number,
            "type": "inventory-item",
            "title": markup(evidence.subject or name),
        }

    def items(self) -> list[Part]:
        """Give the items referred to, in a stable order."""
        return [self._items[number] for number in sorted(self._items)]


def _item(number: str, evidence: pb.Evidence, collection: str) -> Part:
    props = [{"name": "asset-id", "value": line(evidence.subject or evidence.record)}]
    if evidence.subject.startswith("arn:"):
        props.append(prop("arn", evidence.subject))
    if evidence.record:
        props += [prop("collection", collection), prop("record", evidence.record)]
    described = evidence.subject if evidence.record else f"AWS account {evidence.subject}"
    return {"uuid": number, "description": markup(described), "props": props}


def assets() -> Part:
    """Give the tool and its platform."""
    component = {
        "uuid": TOOL,
        "type": "software",
        "title": "secmesh",
        "description": "Collects AWS accounts over their APIs and weighs claims by what it read.",
        "status": {"state": "operational"},
    }
    platform = {
        "uuid": _PLATFORM,
        "title": "secmesh inventory service",
        "uses-components": [{"component-uuid": TOOL}],
    }
    return {"components": [component], "assessment-platforms": [platform]}


def definitions(subjects: Subjects) -> Part:
    """Give the local definitions of a document: its resources and its tool."""
    return without_empty({"inventory-items": subjects.items(), "assessment-assets": assets()})


def accounts(account_ids: Iterable[str]) -> list[Part]:
    """Give a property for each account."""
    return [prop("cloud-account-id", each) for each in account_ids]
