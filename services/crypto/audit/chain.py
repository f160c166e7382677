"""The chain of one writer, extended only when what it binds is durable."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mesh.identifiers import new_uuid_bytes
from services.crypto.audit.entry import BEFORE_FIRST, Access, Entry, Operation, entry_hash
from services.crypto.audit.note import Signer, digest
from services.crypto.audit.sealing import Stored
from services.crypto.audit.segments import checkpoint_of
from services.crypto.audit.statements import NOTHING, WriterStart

EVERY_TENANT = "-"
"""Stands for the tenant of what concerns the audit itself."""
_PLACE = 2
"""The first items of an entry, which say where it stands: its writer and number."""


@dataclass(frozen=True)
class Chain:
    """Where a writer's chain ends."""

    writer_id: bytes
    seq: int = 0
    head: bytes = BEFORE_FIRST

    @classmethod
    def begun(
        cls, origin: str, signer: Signer, newest: str, follows: str, moment: int
    ) -> "tuple[Chain, Entry]":
        """Give an empty chain and its first entry, which is signed.

        ``newest`` is the newest checkpoint, empty if there is none.
        """
        chain = cls(new_uuid_bytes())
        after = f"{checkpoint_of(newest).size} {digest(newest)}" if newest else NOTHING
        note = signer.sign(WriterStart(origin, chain.writer_id, after, follows).text())
        access = Access(EVERY_TENANT, Operation.START_WRITER, "system", "", details=note)
        return chain, entry_of(access, b"", moment)

    def bound(self, entries: Sequence[Entry]) -> "tuple[Chain, list[Stored]]":
        """Give the chain with entries at its end, and those with their places and hashes."""
        seq, head = self.seq, self.head
        placed = []
        for entry in entries:
            seq += 1
            entry = Entry._make((self.writer_id, seq, *entry[_PLACE:]))
            head = entry_hash(entry, head)
            placed.append(Stored(entry, head))
        return Chain(self.writer_id, seq, head), placed


def entry_of(access: Access, subject: bytes, moment: int) -> Entry:
    """Give the entry of an access, without writer and number."""
    names, tiers = _columns(access.fields)
    return Entry(
        writer_id=b"",
        seq=0,
        entry_id=new_uuid_bytes(),
        accessed_at=moment,
        tenant_id=access.tenant,
        subject=subject,
        operation=access.operation,
        fields=names,
        tiers=tiers,
        principal=access.principal,
        purpose=access.purpose,
        request_id=access.request_id,
        success=access.success,
        error_code=access.error_code,
        duration_us=access.duration_us,
        retention_class=access.retention_class,
        details=access.details,
    )


# Entries of one call name the same fields over and over.
@lru_cache(1024)
def _columns(fields: tuple[tuple[str, int], ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return tuple([name for name, _ in fields]), tuple([tier for _, tier in fields])
