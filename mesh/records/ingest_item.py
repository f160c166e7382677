"""One record of a stream, from its arrival to its result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mesh.contract.catalogue import Kind
from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, Refusal
from mesh.records.hashed import NONE, Salted
from mesh.records.ingest_keys import Keys
from mesh.records.writing import RECORD, require_body
from mesh.server.call import current_call
from mesh.sql.bulk import Key, Row
from mesh.sql.references import ID
from mesh.sql.tables import KindTable
from secmesh.records.v1 import ingest_pb2

Outcome = ingest_pb2.IngestResult.Outcome
NEW, UPDATED = ingest_pb2.IngestResult.OUTCOME_NEW, ingest_pb2.IngestResult.OUTCOME_UPDATED
UNCHANGED = ingest_pb2.IngestResult.OUTCOME_UNCHANGED
REJECTED = ingest_pb2.IngestResult.OUTCOME_REJECTED
UNDECIDED = ingest_pb2.IngestResult.OUTCOME_UNSPECIFIED


@dataclass(slots=True, eq=False)
class Prepared:
    """What is to be stored of a record."""

    name: str
    row: Row
    moment: int
    record: Any = None
    """The same as a message, if one was made."""


class Item:
    """A record with what is known of it so far."""

    # What most records never get stands here once, and not in each of thousands.
    fields: Sequence[str] = ()
    """By which it is known; empty for one that is surely new."""
    key: Key = ()
    name = ""
    """As it will be stored."""
    paths: Sequence[str] = ()
    """Fields of a known record that change, as of an update mask; all that are given if none."""
    outcome: "Outcome.ValueType" = UNDECIDED
    error: Refusal | None = None
    stored: Prepared | None = None
    """What is to be stored."""
    salted: Salted = NONE
    """Hashes of what was given, made before it is prepared."""
    as_new: Prepared | Refusal | None = None
    """What is stored of it if it is new, or why it is not; None until that is looked at."""
    old: Any = None
    """The stored record, if the transaction has it, and has it to itself."""
    collided = 0
    """How often another row stood in its place when it was written."""

    def __init__(self, sequence: int, given: Any, target: KindTable) -> None:
        self.sequence = sequence
        self.given = given
        """As it came; never changed."""
        self.target = target

    def reject(self, error: Refusal) -> None:
        self.outcome, self.error = REJECTED, error

    def begin(self) -> None:
        """Forget what a transaction decided that was undone."""
        self.outcome, self.error, self.stored = UNDECIDED, None, None

    @property
    def identity(self) -> tuple[str, Sequence[str], Key] | None:
        """By which another item is seen to be of the same record; None if none can be."""
        return (self.target.kind.collection, self.fields, self.key) if self.fields else None

    def tell(self, answer: ingest_pb2.IngestRecordsResponse, *, durable: bool) -> None:
        """Add to an answer what became of it."""
        if self.error is None:
            answer.results.add(
                sequence=self.sequence, outcome=self.outcome, name=self.name, durable=durable
            )
        else:
            told = answer.results.add(sequence=self.sequence, outcome=self.outcome)
            told.error.CopyFrom(self.error.status(current_call().request_id))


def identify(item: Item, keys: Keys, tenant: str) -> None:
    """Find out by what a record is known: its name, or a key of its kind.

    Raises FieldInvalid for names of other kinds and tenants, and what keys raise.
    """
    kind = item.target.kind
    require_body(item.given, kind)
    if item.given.name:
        ids = _ids(kind, item.given.name, tenant)
        item.fields, item.key, item.name = (ID,), (ids[-1],), item.given.name
    elif (known := keys.of(item.given, tenant)) is not None:
        item.fields, item.key = known


def _ids(kind: Kind, name: str, tenant: str) -> Sequence[str]:
    ids = kind.pattern.parse(name)
    if ids is None:
        raise FieldInvalid.of(
            f"{RECORD}.name", f"must be of the form {kind.pattern.text}", "NAME_INVALID"
        )
    if tenant_of(name) != tenant:
        raise FieldInvalid.of(f"{RECORD}.name", f"is not under tenants/{tenant}", "PARENT_MISMATCH")
    return ids
