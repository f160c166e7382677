"""Writes of single records: what is checked, what the service fills in, what is stored."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Kind
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import (
    EtagMismatch,
    FieldInvalid,
    KindAppendOnly,
    KindReadOnly,
    KindUnknown,
    Refusal,
    ResourceExists,
    ResourceNotFound,
)
from mesh.identifiers import new_uuid
from mesh.records.etag import (
    CREATED,
    ETAG,
    WRITTEN,
    callers_fields,
    etag_of,
    etag_of_new,
    same_content,
    settle_stored,
    stored_fields,
)
from mesh.records.fields import changed_immutables, is_set, missing_fields, settle_output_only
from mesh.records.fresh import FreshRows
from mesh.records.hashed import NONE, HashedFields, Salted
from mesh.records.moments import Clock
from mesh.records.update import updated
from mesh.server.interceptors.validation import violations_of
from mesh.sql.rows import Rows
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from mesh.sql.values import timestamp_parts
from secmesh.options.v1 import kind_pb2

_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
RECORD = "record"
"""The request field that holds a record."""


class Guard(Protocol):
    """Rules of a service about its records, beside those of the contract."""

    def concerns(self, kind: Kind) -> bool:
        """Tell whether there are rules about records of a kind."""

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:
        """Complete a record that is about to be written, or refuse it; ``old`` is None if new."""


class RecordWriter:
    """Creates, updates and deletes records within a transaction of the caller.

    Requests are messages with the fields of AIP-133 to 135. Refused are kinds that the
    service alone writes (KindReadOnly), bodies that break their rules (FieldInvalid) and
    records that others wrote meanwhile (EtagMismatch); nothing is written then.
    """

    def __init__(
        self,
        store: Store,
        record_kinds: Mapping[str, Kind],
        clock: Clock,
        guard: Guard | None = None,
    ) -> None:
        """Write kinds of records; ``guard`` has a say in each write."""
        self._guard = guard
        self._store = store
        self._rows = Rows(store)
        self._kinds = record_kinds
        self.clock = clock
        self._fresh: dict[str, FreshRows] = {}
        self.hashed = HashedFields(store.tables.keys)
        """Hashes what is kept so, of records that are to be written."""

    async def create(self, connection: AsyncConnection, request: Any) -> Message:
        """Create a record under ``parent`` and give it; ResourceExists names another's name."""
        target = self.writable(request.parent)
        record = self._given(request, target.kind)
        record_id = request.record_id or new_uuid()
        record.name = target.kind.pattern.format(tenant_of(request.parent) or "", record_id)
        return await self._insert(connection, target, record)

    async def update(self, connection: AsyncConnection, request: Any) -> Message:
        """Update a record and give it as it is then; see ``mesh.records.update``.

        Nothing is written, and the etag stays, where nothing changes. KindAppendOnly for facts.
        """
        target = self.writable(request.record.name)
        if target.kind.option.append_only and not request.allow_missing:
            raise KindAppendOnly(target.kind.collection)
        given = self._given(request, target.kind)
        old = await self._rows.find(connection, target, given.name)
        if old is None and request.allow_missing and not given.etag:
            try:
                return await self._insert(connection, target, self._given(request, target.kind))
            except ResourceExists:
                # Another writer was faster, or another record has what must be unique.
                old = await self._rows.find(connection, target, given.name)
                if old is None:
                    raise
        if old is None:
            raise EtagMismatch(given.name) if given.etag else ResourceNotFound(given.name)
        if target.kind.option.append_only:
            raise KindAppendOnly(target.kind.collection)
        salted = await self.hashed.salted(target.kind, given, old)
        new = self.changed(target.kind, old, given, request.update_mask.paths, salted)
        if new is None:
            return self._shown(target, old)
        moment = self.stamp(target.kind, new)
        await self._rows.replace(connection, target, new, moment)
        return self._shown(target, new)

    def changed(
        self, kind: Kind, old: Message, given: Any, paths: Sequence[str], salted: Salted = NONE
    ) -> Message | None:
        """Give a record as an update leaves it, not yet stamped; None where nothing changes.

        ``salted``: the hashes that ``hashed`` made of what is given.
        EtagMismatch, MaskInvalid, and FieldInvalid for what breaks the rules of the kind.
        """
        new = self._updated(kind, old, given, paths)
        return self._judged(kind, old, new, salted)

    def replaced_row(
        self,
        target: KindTable,
        old: Any,
        given: Any,
        paths: Sequence[str],
        salted: Salted = NONE,
    ) -> tuple[Mapping[str, Any], int] | None:
        """Give the row of a record as an update leaves it, and the moment; see ``changed``.

        The record is the old one, whatever name is given.
        """
        kind, fresh = target.kind, self.fresh_rows(target)
        new = self._updated(kind, old, given, paths)
        if fresh.applies and next(changed_immutables(old, new, RECORD), None) is None:
            row = fresh.row_of_known(new)
            if row is not None:
                if same_content(kind, old, new):
                    return None
                row[ETAG] = etag_of(kind, new, self._store.etag_key)
                row[WRITTEN] = moment = self.clock()
                return row, moment
        judged = self._judged(kind, old, new, salted)
        if judged is None:
            return None
        moment = self.stamp(kind, judged)
        return target.codec.row(judged), moment

    def _updated(self, kind: Kind, old: Message, given: Any, paths: Sequence[str]) -> Message:
        """Give a record as an update proposes it, completed but not yet judged."""
        _require_etag(old, given.etag)
        new = updated(kind, old, given, paths)
        settle_output_only(old, new)
        settle_stored(kind, old, new)
        if self._guard is not None:
            self._guard.settle(kind, old, new)
        return new

    def _judged(self, kind: Kind, old: Message, new: Message, salted: Salted) -> Message | None:
        """Give a proposed record with its hashes, if it keeps the rules and changes anything."""
        plain = self.hashed.plain(kind, old, new)
        self.hashed.apply(kind, old, new, salted)
        self._check(kind, old, new, plain)
        return None if same_content(kind, old, new) else new

    async def delete(self, connection: AsyncConnection, request: Any) -> None:
        """Delete a record; ResourceNotFound unless ``allow_missing``, KindAppendOnly."""
        target = self.writable(request.name)
        if target.kind.option.rights != kind_pb2.RIGHTS_UNSPECIFIED:
            raise KindAppendOnly(target.kind.collection, "deleted")
        old = await self._rows.find(connection, target, request.name)
        if old is not None:
            _require_etag(old, request.etag)
            await self._rows.remove(connection, target, request.name, self.clock())
        elif request.etag or not request.allow_missing:
            raise EtagMismatch(request.name) if request.etag else ResourceNotFound(request.name)

    def writable(self, name: str) -> KindTable:
        """Give the table that a name or collection leads to; KindUnknown, KindReadOnly."""
        collection = collection_of(name) or ""
        kind = self._kinds.get(collection)
        if kind is None:
            raise KindUnknown(collection)
        if kind.option.output_only:
            raise KindReadOnly(collection)
        return self._store.target(collection)

    def _given(self, request: Any, kind: Kind) -> Any:
        """Copy the record of a request; FieldInvalid if it is of another kind."""
        if not request.HasField(RECORD):
            raise FieldInvalid.of(RECORD, "must be set", "REQUIRED")
        record = type(request.record)()
        record.CopyFrom(request.record)
        require_body(record, kind)
        return record

    async def _insert(self, connection: AsyncConnection, target: KindTable, record: Any) -> Message:
        salted = await self.hashed.salted(target.kind, record)
        moment = self.made(target.kind, record, salted)
        await self._rows.add(connection, target, record, moment)
        return self._shown(target, record)

    def made(self, kind: Kind, record: Any, salted: Salted = NONE) -> int:
        """Make a named record that was given what is stored of it; give the moment.

        ``salted``: the hashes that ``hashed`` made of what is given.
        FieldInvalid for what breaks the rules of the kind.
        """
        ids = kind.pattern.parse(record.name)
        if ids is None or not _ID.fullmatch(ids[-1]):
            raise FieldInvalid.of(f"{RECORD}.name", "is no name of a record", "NAME_INVALID")
        self._settle_new(kind, record)
        self._check(kind, None, record, record)
        self.hashed.apply(kind, None, record, salted)
        etag = etag_of_new(kind, record, self._store.etag_key)
        return self._stamp(kind, record, etag)

    def fresh_row(
        self, target: KindTable, given: Any, name: str, ids: tuple[str, str]
    ) -> tuple[Mapping[str, Any], int] | None:
        """Give the row of a record that is new and the moment; None if ``made`` must decide.

        Raises what the guard has against it.
        """
        fresh = self.fresh_rows(target)
        if not fresh.applies or not _ID.fullmatch(ids[-1]):
            return None
        moment = self.clock()
        row = fresh.row(given, name, ids, moment)
        return None if row is None else (row, moment)

    def fresh_rows(self, target: KindTable) -> FreshRows:
        """Give what makes rows of a kind's new records in one pass."""
        kind, guard = target.kind, self._guard
        fresh = self._fresh.get(kind.collection)
        if fresh is None:
            settle = None
            if guard is not None and guard.concerns(kind):
                settle = partial(guard.settle, kind, None)
            fresh = FreshRows(kind, target.codec, self._store.etag_key, settle)
            self._fresh[kind.collection] = fresh
        return fresh

    def is_alike(self, target: KindTable, given: Any, name: str, etag: str) -> bool:
        """Tell whether a record holds what the stored one of this name and etag does.

        What is stored kept the rules, so they are not checked.
        """
        fresh = self.fresh_rows(target)
        try:
            made = fresh.etag(given, name) if fresh.applies else None
            if made is None:
                record = type(given)()
                record.CopyFrom(given)
                record.name = name
                self._settle_new(target.kind, record)
                self.hashed.apply(target.kind, None, record, NONE)
                made = etag_of_new(target.kind, record, self._store.etag_key)
        except Refusal:
            return False
        return made == etag

    def _settle_new(self, kind: Kind, record: Any) -> None:
        settle_output_only(None, record)
        settle_stored(kind, None, record)
        if self._guard is not None:
            self._guard.settle(kind, None, record)

    def _check(self, kind: Kind, old: Message | None, new: Message, plain: Message) -> None:
        """Refuse what breaks the rules of the kind, and changes of what must stay.

        ``plain`` is the new record without hashes, which no bound is about.
        """
        body_field = kind.body_field or ""
        if not new.HasField(body_field):
            raise FieldInvalid.of(f"{RECORD}.{body_field}", "must be set", "REQUIRED")
        if old is not None and (changed := next(changed_immutables(old, new, RECORD), None)):
            raise FieldInvalid.of(changed, "cannot change", "IMMUTABLE")
        if missing := next(missing_fields(new, RECORD), None):
            raise FieldInvalid.of(missing, "must be set", "REQUIRED")
        found = _violations(getattr(plain, body_field), f"{RECORD}.{body_field}")
        # An envelope of many kinds takes long to check, and mostly nothing stands in it.
        if any(is_set(plain, field) for field in callers_fields(kind.envelope)):
            found = [*_violations(_envelope(kind, plain), RECORD), *found]
        if found:
            raise FieldInvalid(*found)

    def stamp(self, kind: Kind, record: Any) -> int:
        """Fill in what the store says of a record; give the moment of the write."""
        return self._stamp(kind, record, etag_of(kind, record, self._store.etag_key))

    def _stamp(self, kind: Kind, record: Any, etag: str) -> int:
        moment = self.clock()
        known = stored_fields(kind.envelope)
        for name in (CREATED, WRITTEN):
            if name in known and not (name == CREATED and record.HasField(CREATED)):
                stamp = timestamp_parts(moment)
                field = getattr(record, name)
                field.seconds, field.nanos = stamp["seconds"], stamp["nanos"]
        if ETAG in known:
            record.etag = etag
        return moment

    @staticmethod
    def _shown(target: KindTable, record: Message) -> Message:
        """Give a record as it will be read: without secrets, times to the microsecond."""
        return target.codec.message(target.codec.row(record))


def require_body(record: Any, kind: Kind) -> None:
    """Refuse the body of another kind; FieldInvalid."""
    body = record.WhichOneof("body")
    if body not in (None, kind.body_field):
        problem = f"is no body of {kind.collection}; {kind.body_field} is"
        raise FieldInvalid.of(f"{RECORD}.{body}", problem, "KIND_MISMATCH")


def _require_etag(record: Any, etag: str) -> None:
    if etag and record.etag != etag:
        raise EtagMismatch(record.name)


def _envelope(kind: Kind, record: Message) -> Message:
    """Give what callers wrote around the body; nothing if they wrote nothing there."""
    envelope: Message = type(record)()
    envelope.CopyFrom(record)
    if kind.body_field is not None:
        envelope.ClearField(kind.body_field)
    settle_output_only(None, envelope)
    settle_stored(kind, None, envelope)
    envelope.ClearField("name")
    return envelope


def _violations(message: Message, path: str) -> list[BadRequest.FieldViolation]:
    return [
        BadRequest.FieldViolation(
            field=f"{path}.{each.field}".removesuffix("."),
            description=each.description,
            reason=each.reason,
        )
        for each in violations_of(message)
    ]
