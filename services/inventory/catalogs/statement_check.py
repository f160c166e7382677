"""Statements that a plan speaks of, held against the words that the tenant loaded."""

from collections.abc import Iterator, Mapping, Sequence

from secmesh.inventory.v1 import ssp_pb2
from secmesh.inventory.v1.catalog_pb2 import CatalogControl
from services.inventory.compliance.controls import statement_id
from services.inventory.compliance.ssp import MAX_ISSUES


def add_unknown_statements(
    ssp: ssp_pb2.Ssp,
    claims: Sequence[ssp_pb2.Claim],
    texts: Mapping[str, CatalogControl],
) -> None:
    """Add to a plan's issues each claim about a statement that the catalog does not have.

    The claims stand: they are weighed by their control. A control whose items have no ids in the
    catalog is not held against it.
    """
    for issue in _unknown(claims, texts):
        if len(ssp.issues) >= MAX_ISSUES:
            return
        ssp.issues.append(issue)


def _unknown(
    claims: Sequence[ssp_pb2.Claim], texts: Mapping[str, CatalogControl]
) -> Iterator[ssp_pb2.ImportIssue]:
    known = {
        control: {part.id for part in text.parts if part.id and part.depth}
        for control, text in texts.items()
    }
    for claim in claims:
        items = known.get(claim.control_id)
        # What is no id of a statement, or one of another control, the import has told already.
        parsed = statement_id(claim.statement_id)
        if not items or parsed is None or parsed[0] != claim.control_id:
            continue
        if claim.statement_id not in items:
            problem = f"{claim.statement_id} is no statement of {claim.control_id} in the catalog"
            yield ssp_pb2.ImportIssue(pointer=claim.source[:1024], problem=problem[:1024])
