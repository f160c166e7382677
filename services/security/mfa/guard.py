"""What writers of records may not do to second factors: MfaService alone makes and moves them.

A secret, a code or a status that somebody wrote would pass for a person. What only describes a
device, its name for one, is anybody's who may write the record; so are devices of other types,
which other programs register.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.errors import FieldInvalid
from mesh.records.writing import RECORD
from secmesh.security.v1 import mfa_device_pb2 as mfa
from services.security.mfa.records import CODES, DEVICES

WITHHELD: Mapping[str, Mapping[str, frozenset[int]]] = {
    DEVICES: {
        "totp_secret": frozenset(),
        "device_type": frozenset({mfa.MFA_DEVICE_TYPE_TOTP}),
    },
    CODES: {"status": frozenset({mfa.BACKUP_CODE_STATUS_UNUSED})},
}
"""Fields of new records, by collection, with the values that are refused; none: every one."""
_FREE: Mapping[str, frozenset[str]] = {
    DEVICES: frozenset({"name", "is_primary"}),
    CODES: frozenset({"batch_id", "used_ip", "used_session_id"}),
}
"""What may change of a factor that MfaService answers for."""


class MfaGuard:
    """Refuses, with FieldInvalid of the reason NOT_ALLOWED, what would break the custody."""

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are second factors."""
        return kind.collection in WITHHELD

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:
        """Refuse new factors that would count, and changes of one that does."""
        withheld, field = WITHHELD[kind.collection], kind.body_field or ""
        if not new.HasField(field):
            return
        body = getattr(new, field)
        before = getattr(old, field) if old is not None else type(body)()
        changed = [each.name for each in body.DESCRIPTOR.fields if _differ(before, body, each)]
        for name in changed:
            refused = withheld.get(name)
            if refused is not None and (not refused or getattr(body, name) in refused):
                raise _refused(field, name)
            if name not in _FREE[kind.collection] and _is_kept(before):
                raise _refused(field, name)


def _is_kept(body: Any) -> bool:
    """Tell whether a factor may pass for a person by the word of MfaService."""
    if isinstance(body, mfa.MfaBackupCode):
        return body.status == mfa.BACKUP_CODE_STATUS_UNUSED
    return bool(body.device_type == mfa.MFA_DEVICE_TYPE_TOTP)


def _differ(one: Any, other: Any, field: FieldDescriptor) -> bool:
    present = [not field.has_presence or body.HasField(field.name) for body in (one, other)]
    return present[0] != present[1] or getattr(one, field.name) != getattr(other, field.name)


def _refused(body_field: str, name: str) -> FieldInvalid:
    problem = "is not done by writing the record: see MfaService"
    return FieldInvalid.of(f"{RECORD}.{body_field}.{name}", problem, "NOT_ALLOWED")
