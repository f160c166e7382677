"""What a control demands, in the words of the catalog that the tenant loaded.

Parameters are written out with the values of the plan, where it sets them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import ssp_pb2
from secmesh.inventory.v1.catalog_pb2 import CatalogControl, CatalogPart
from services.inventory.catalogs.insertions import Printer

LONGEST = 4000
"""Characters of one control's demands in a report; the rest is in the catalog."""
HEADING = "What the control demands"


@dataclass(frozen=True)
class Demand:
    """A paragraph of a statement."""

    depth: int
    """Below the first."""
    text: str
    """With its mark."""


def demands(
    texts: Mapping[str, CatalogControl], claims: Sequence[ssp_pb2.Claim], verdict: pb.ClaimVerdict
) -> list[Demand]:
    """Give what a claim is about; nothing unless it is contradicted and its control is loaded.

    Of a claim about a part of the control this is that part, with what lies below it.
    """
    control = texts.get(verdict.control_id)
    if control is None or verdict.verdict != pb.VERDICT_CONTRADICTED:
        return []
    claimed = next((each for each in claims if each.name == verdict.claim), None)
    values = dict(claimed.parameters) if claimed is not None else {}
    printer = Printer({each.id: each for each in control.parameters}, values)
    found: list[Demand] = []
    left = LONGEST
    for part in _of(control.parts, verdict.statement_id):
        words = (part.label, part.title, printer.printed(part.prose))
        text = " ".join(each for each in words if each)
        if text:
            found.append(Demand(part.depth, text if len(text) <= left else f"{text[:left]}…"))
            left -= len(text)
        if left <= 0:
            break
    top = min((each.depth for each in found), default=0)
    return [Demand(each.depth - top, each.text) for each in found]


def _of(parts: Sequence[CatalogPart], statement_id: str) -> Iterator[CatalogPart]:
    """Give a part of the statement with what lies below it; all of it if there is no such part."""
    statement = [each for each in parts if each.kind == CatalogPart.KIND_STATEMENT]
    at = next((i for i, each in enumerate(statement) if each.id == statement_id), None)
    if at is None or not statement_id:
        yield from statement
        return
    yield statement[at]
    for each in statement[at + 1 :]:
        if each.depth <= statement[at].depth:
            return
        yield each
