"""Resources as callers write them: what they may say, what a mask changes (AIP-134, AIP-203)."""

from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest

from mesh.contract.catalogue import NAME
from mesh.errors import FieldInvalid, MaskInvalid
from mesh.records.fields import (
    changed_immutables,
    copy_field,
    missing_fields,
    settle_output_only,
)
from mesh.sql.secrets import descriptor_of
from services.tenancy.store.items import ETAG

MASK = "update_mask"
_EVERYTHING = "*"
_OWN = frozenset({NAME, ETAG})
"""What tells a resource and its version; no update changes it."""
M = TypeVar("M", bound=Message)


def created(given: M, name: str, field: str) -> M:
    """Give a new resource of this name as a caller says it is to be.

    ``field`` is where it stands in the request. FieldInvalid for what is missing.
    """
    made: Any = type(given)()
    made.CopyFrom(given)
    settle_output_only(None, made)
    made.ClearField(ETAG)
    made.name = name
    _require_all(made, field)
    result: M = made
    return result


def updated(old: M, given: M, paths: Sequence[str], field: str) -> M:
    """Give a resource as an update leaves it.

    Without paths the fields change that ``given`` has set; ``*`` replaces all. A field that is
    named and not given is emptied. MaskInvalid for a path that is no field; FieldInvalid for
    what must not change or be missing.
    """
    known = {each.name: each for each in descriptor_of(old).fields if each.name not in _OWN}
    if _EVERYTHING in paths and len(paths) > 1:
        raise MaskInvalid(_EVERYTHING, MASK)
    wanted = list(known) if _EVERYTHING in paths else [each for each in paths if each not in _OWN]
    if unknown := [path for path in wanted if path not in known]:
        raise MaskInvalid(unknown[0], MASK)
    made: M = type(old)()
    made.CopyFrom(old)
    for each in known.values():
        if each.name in wanted or (not paths and any(each is f for f, _ in given.ListFields())):
            copy_field(given, made, each)
    settle_output_only(old, made)
    for changed in changed_immutables(old, made, field):
        raise FieldInvalid.of(changed, "cannot change", "IMMUTABLE")
    _require_all(made, field)
    return made


def _require_all(made: Message, field: str) -> None:
    missing = [
        BadRequest.FieldViolation(field=path, description="must be set", reason="REQUIRED")
        for path in missing_fields(made, field)
    ]
    if missing:
        raise FieldInvalid(*missing)
