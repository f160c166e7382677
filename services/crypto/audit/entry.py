"""What one entry of ``encryption_audit`` says, and the bytes that its hash is made of.

An entry is one operation of one request on one user. It holds neither personal data nor hashes of
them: the user stands in it as a pseudonym (``subjects``), fields by their names.

The canonical form is versioned and binary, integers big-endian: the form's name, the length of
each part as 4 bytes, then the parts in the order of ``Entry``. The hash of an entry is

    SHA-256(0x00 || canonical form || hash of the writer's entry before)

which makes it the leaf hash of RFC 6962 (2.1) as well; before a writer's first entry stand 32
zero bytes.
"""

import struct
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple, Protocol

FORM = b"secmesh/audit/1\n"
BEFORE_FIRST = bytes(32)
"""Hash before the first entry of a writer."""
SUBJECT_BYTES = 32
FIELD_NAME = r"[a-z][a-z0-9_]{0,62}"
"""How fields are called."""
_LEAF = b"\x00"
_PARTS = 17
_LENGTHS = struct.Struct(f">{_PARTS}I")
_NUMBER = struct.Struct(">q")


class Operation(StrEnum):
    """What was done; the last ones are events of the audit itself."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    SEARCH = "search"
    EXPORT = "export"
    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    REWRAP = "rewrap"
    ROTATE = "rotate"
    ERASE = "erase"
    CONFIGURE = "configure"
    READ_AUDIT = "read_audit"
    WRITE_ROW = "write_row"
    """A row of ``users`` was written, as the database's own trigger saw it."""
    START_WRITER = "start_writer"
    """A writer's first entry; ``details`` holds a signed note."""
    STOP_WRITER = "stop_writer"
    RAISE_ALERT = "raise_alert"
    DROP_SEGMENT = "drop_segment"


class Access(NamedTuple):
    """What the service tells of one operation on one user; no personal data in any text."""

    tenant: str
    operation: Operation
    principal: str
    """Subject of the caller's token."""
    request_id: str
    user_id: bytes = b""
    """16 bytes; empty for what concerns no user. It is not stored."""
    fields: tuple[tuple[str, int], ...] = ()
    """Name and tier of each field that was touched."""
    purpose: str = ""
    success: bool = True
    error_code: str = ""
    """Reason of the refusal, such as ``SEAL_BROKEN``."""
    duration_us: int = 0
    """Microseconds until the operation was done, without this entry."""
    retention_class: str = "standard"
    details: str = ""


class Audit(Protocol):
    """Where the service tells what it does; ``writer.AuditWriter`` is the real one."""

    async def record(self, accesses: Sequence[Access]) -> None:
        """Return when all of them are durable; DependencyUnavailable if they may not be.

        An answer with plaintext leaves only after this returned. Refused operations are told of
        as well, with ``success=False``.
        """


class Entry(NamedTuple):
    """One row of ``encryption_audit``, without its hash."""

    writer_id: bytes
    """16 bytes: one writer is one boot of one process."""
    seq: int
    """Place in the writer's chain, from 1 without gaps."""
    entry_id: bytes
    """16 bytes, a UUIDv7: the same again if an entry in doubt was written once more."""
    accessed_at: int
    """Microseconds since 1970 (UTC), never falling within a writer."""
    tenant_id: str
    subject: bytes
    """Pseudonym of the user; empty if there is none."""
    operation: str
    fields: tuple[str, ...]
    tiers: tuple[int, ...]
    """Of each field."""
    principal: str
    purpose: str
    request_id: str
    success: bool
    error_code: str
    duration_us: int
    retention_class: str
    details: str


def canonical(entry: Entry) -> bytes:
    """Give the bytes that stand for an entry; ValueError if it cannot have been recorded."""
    try:
        parts = (
            entry.writer_id,
            _NUMBER.pack(entry.seq),
            entry.entry_id,
            _NUMBER.pack(entry.accessed_at),
            entry.tenant_id.encode(),
            entry.subject,
            entry.operation.encode(),
            _named(entry.fields),
            bytes(entry.tiers),
            entry.principal.encode(),
            entry.purpose.encode(),
            entry.request_id.encode(),
            b"\x01" if entry.success else b"\x00",
            entry.error_code.encode(),
            _NUMBER.pack(entry.duration_us),
            entry.retention_class.encode(),
            entry.details.encode(),
        )
    except (struct.error, ValueError, OverflowError, TypeError, AttributeError) as error:
        raise ValueError(f"no entry can be like this: {error}") from error
    return b"".join((FORM, _LENGTHS.pack(*map(len, parts)), *parts))


def entry_hash(entry: Entry, before: bytes) -> bytes:
    """Give the hash that binds an entry to the one before; ValueError as ``canonical``."""
    return sha256(_LEAF + canonical(entry) + before).digest()


def _named(fields: tuple[str, ...]) -> bytes:
    named = [field.encode() for field in fields]
    return b"".join([part for each in named for part in (len(each).to_bytes(2, "big"), each)])
