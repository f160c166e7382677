"""Exports of persons: all values opened for a purpose, audited before the first byte leaves."""

import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from mesh.errors import ResourceNotFound
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Audit, Operation
from services.crypto.audit.note import Signer
from services.crypto.audit.read_store import Place, ReadStore, Selection
from services.crypto.audit.sealing import Stored
from services.crypto.audit.subjects import Subjects
from services.crypto.errors import ValueUnopenable
from services.crypto.export import lines
from services.crypto.export.bundle import BundleWriter
from services.crypto.export.export_store import ExportStore, Rows
from services.crypto.field_cipher import FieldCipher, Sealed
from services.crypto.persons.config_store import ConfigStore
from services.crypto.persons.fields import PersonFields
from services.crypto.persons.journal import Journal, touched_of
from services.crypto.persons.person import PATTERN, Person
from services.crypto.persons.person_store import PersonStore
from services.crypto.persons.refusals import PurposeRefused
from services.crypto.persons.sealing import TABLE
from services.crypto.persons.unmasking import permit
from services.crypto.persons.values import field_tier

_AT_ONCE = 500
"""Changes and entries in memory."""
_CHUNK = 65_536
"""Bytes of one message, about."""


@dataclass(frozen=True)
class _Known:
    """What is kept of a person, before anything is opened."""

    person: Person
    fields: PersonFields
    covered: Sequence[str] | None
    """Fields of the purpose; None if the tenant has no such purpose."""
    metadata: Rows = field(default_factory=list)
    keys: Rows = field(default_factory=list)


class Exporting:
    """Gives out persons as signed files."""

    def __init__(
        self,
        transactions: Transactions,
        persons: PersonStore,
        config: ConfigStore,
        cipher: FieldCipher,
        audit: Audit,
        subjects: Subjects,
        signer: Signer,
    ) -> None:
        """``signer`` is the one of checkpoints."""
        self._transactions = transactions
        self._persons = persons
        self._config = config
        self._cipher = cipher
        self._audit = audit
        self._subjects = subjects
        self._signer = signer
        self._store = ExportStore()
        self._entries = ReadStore()

    async def export(self, tenant: str, user_id: str, purpose: str) -> AsyncIterator[bytes]:
        """Give a person's file in parts.

        Raises ResourceNotFound, PermissionMissing, PurposeRefused, KeyDisabled; refusals are in
        the audit, too. A value that does not open is told of in its place.
        """
        known = await self._known(tenant, user_id, purpose)
        opened = await self._opened(tenant, known, purpose)
        name = PATTERN.format(tenant, user_id)
        moment = time.time_ns() // 1000
        writer = BundleWriter(self._signer.public.name, name, moment)
        chunk = bytearray(
            writer.line(lines.export(name, self._signer.public.name, purpose, moment))
        )
        for content in _of_person(known, opened):
            chunk += writer.line(content)
        async for content in self._told(tenant, user_id):
            chunk += writer.line(content)
            if len(chunk) >= _CHUNK:
                yield bytes(chunk)
                chunk.clear()
        yield bytes(chunk + writer.signature(self._signer))

    async def _known(self, tenant: str, user_id: str, purpose: str) -> _Known:
        async with self._transactions.connection(tenant) as connection:
            people = await self._persons.get(connection, tenant, [user_id])
            if user_id not in people:
                raise ResourceNotFound(PATTERN.format(tenant, user_id))
            allowed = await self._config.purpose(connection, tenant, purpose)
            return _Known(
                people[user_id],
                await self._config.fields(connection, tenant),
                None if allowed is None else allowed.fields,
                await self._store.metadata(connection, tenant, user_id),
                await self._store.keys(connection, tenant, user_id),
            )

    async def _opened(
        self, tenant: str, known: _Known, purpose: str
    ) -> Mapping[str, bytes | ValueUnopenable]:
        """Open all sealed values of a person; given when the audit holds who gets which."""
        journal = Journal(self._audit, tenant, Operation.EXPORT, purpose)
        person, fields = known.person, known.fields
        sealed = {name: value for name, value in person.values.items() if isinstance(value, bytes)}
        tiers = {name: field_tier(value) for name, value in person.values.items()}
        async with journal.refusals([person.user_id], touched_of(tiers.items())):
            if known.covered is None:
                raise PurposeRefused(purpose, next(iter(sealed), "users"))
            permit([fields[name] for name in sorted(sealed)], purpose, known.covered)
            asked = [Sealed(person.user_id, fields[name].rule, sealed[name]) for name in sealed]
            bodies = await self._cipher.open(tenant, TABLE, asked)
        opened = dict(zip(sealed, bodies, strict=True))
        failed = {name for name, body in opened.items() if isinstance(body, ValueUnopenable)}
        done = touched_of((name, tier) for name, tier in tiers.items() if name not in failed)
        told = [(person.user_id, done, "")]
        if failed:
            lost = touched_of((name, tiers[name]) for name in failed)
            told.append((person.user_id, lost, ValueUnopenable.reason.name))
        await journal.record_all(told)
        return opened

    async def _told(self, tenant: str, user_id: str) -> AsyncIterator[Mapping[str, object]]:
        """Give the lines of what was done with a person, this export included."""
        async with self._transactions.connection(tenant) as connection:
            after = 0
            while changes := await self._store.changes(
                connection, tenant, user_id, after, _AT_ONCE
            ):
                for change in changes:
                    yield lines.change(change)
                after = changes[-1].id
            selection = Selection(self._subjects.all_of(tenant, uuid.UUID(user_id).bytes))
            place: Place | None = None
            while entries := await self._entries.page(
                connection, tenant, selection, place, _AT_ONCE
            ):
                for stored, index in entries:
                    yield lines.access(stored, index)
                place = _place(entries[-1][0])
            newest = await self._entries.checkpoint(connection, 0)
        if newest is not None:
            yield lines.checkpoint(newest.note)


def _of_person(
    known: _Known, opened: Mapping[str, bytes | ValueUnopenable]
) -> list[Mapping[str, object]]:
    """Give the lines of the person, of each value, and of each version of the key."""
    metadata = {row.field_name: row for row in known.metadata}
    return [
        lines.person(known.person),
        *(
            lines.value(name, value, opened.get(name), metadata.get(name))
            for name, value in sorted(known.person.values.items())
        ),
        *(lines.key(row) for row in known.keys),
    ]


def _place(stored: Stored) -> Place:
    entry = stored.entry
    return Place(entry.accessed_at, entry.writer_id.hex(), entry.seq)
