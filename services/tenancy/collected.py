"""Collections that schedules may name: those of the inventory's contract."""

from collections.abc import Sequence
from typing import Final

from google.rpc.error_details_pb2 import BadRequest

from mesh.contract.catalogue import load_catalogue
from mesh.errors import FieldInvalid

_INVENTORY: Final = "secmesh.inventory.v1"


def require_collected(collections: Sequence[str], field: str) -> None:
    """Refuse collections that the inventory does not have: told now, not when it fires at night."""
    if not collections:
        return
    known = load_catalogue(_INVENTORY).record_kinds
    unknown = [
        BadRequest.FieldViolation(
            field=f"{field}[{place}]",
            description=f"{collection!r} is no collection of the inventory",
            reason="COLLECTION_UNKNOWN",
        )
        for place, collection in enumerate(collections)
        if collection not in known
    ]
    if unknown:
        raise FieldInvalid(*unknown)
