"""Parts that OSCAL documents share: stable identifiers, properties, texts, moments.

Source: NIST OSCAL 1.1.2, datatypes and assessment common model.
"""

import re
import unicodedata
import uuid
from datetime import UTC, datetime
from typing import Any, TypeAlias

from secmesh.inventory.v1 import assessment_pb2 as pb
from services.inventory.compliance.controls import load_controls
from services.inventory.compliance.report import escaped

Part: TypeAlias = dict[str, Any]
"""A JSON object of an OSCAL document."""

OSCAL_VERSION = "1.1.2"
NAMESPACE = "https://secmesh.dev/ns/oscal"
"""Namespace (URI) of the properties that OSCAL does not define."""
_ROOT = uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_STATEMENT = re.compile(r"[a-z]{2}-[0-9]{1,2}(\.[0-9]{1,2})?_smt(\.[a-z0-9]+)*")
_NO_TOKEN = re.compile(r"[^A-Za-z0-9_.-]")


def identifier(*names: str) -> str:
    """Give the UUID (version 5, RFC 9562) of what has these names; equal names, equal UUID."""
    return str(uuid.uuid5(_ROOT, "\x1f".join(names)))


def is_identifier(text: str) -> bool:
    """Tell whether OSCAL takes a text for a UUID: version 4 or 5."""
    return _UUID.fullmatch(text) is not None


def token(text: str) -> str:
    """Make an OSCAL token of a text."""
    made = _NO_TOKEN.sub("_", text)
    return made if re.match(r"[A-Za-z_]", made) else f"_{made}"


def line(text: str) -> str:
    """Make an OSCAL string of foreign text: one line, no control characters, never empty."""
    visible = (
        " " if unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs") else each for each in text
    )
    return re.sub(r"\s+", " ", "".join(visible)).strip() or "-"


def markup(text: str) -> str:
    """Make an OSCAL markup line of foreign text, nothing of it markup, never empty."""
    return escaped(text) or "-"


def prop(name: str, value: object, **more: str) -> Part:
    """Give a property of our namespace."""
    return {"name": name, "ns": NAMESPACE, "value": line(str(value)), **more}


def moment(when: datetime) -> str:
    """Write a moment as RFC 3339 with its zone, to the microsecond if it has any."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def without_empty(part: Part) -> Part:
    """Leave out members without content: OSCAL admits no empty list."""
    return {name: value for name, value in part.items() if value not in ("", [], {}, None)}


def statement_target(verdict: pb.ClaimVerdict) -> str:
    """Give the id of the control's part that a claim is about; the whole if it names none."""
    if _STATEMENT.fullmatch(verdict.statement_id):
        return verdict.statement_id
    return f"{token(verdict.control_id)}_smt"


def claim_title(verdict: pb.ClaimVerdict) -> str:
    """Give the control's label and title and whose claim it is, as a markup line."""
    known = load_controls().get(verdict.control_id)
    title = f"{known.label} {known.title}" if known else verdict.control_id
    rest = ", ".join(part for part in (verdict.statement_id, verdict.component_title) if part)
    return markup(f"{title} ({rest})" if rest else title)
