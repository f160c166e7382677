"""Findings that are somewhere else now: told by a fingerprint that a tool, or an earlier version
of ours, gave them.

Only what a whole report does not show where it was can have moved. What several of these could be
is none of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.bulk import BulkRows
from mesh.sql.references import ID
from mesh.sql.sightings import GROUP
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from services.security.import_seen import Seen
from services.security.import_state import LIVES
from services.security.importing.fingerprint import short

FINGERPRINTS = "partial_fingerprints"
_PARTIAL = "partialFingerprints/"
_BATCH = 500
_MOST_SHARED = 16
"""Findings that may share a fingerprint which still tells anything."""
_Key = tuple[str, str, str]
"""Rule, algorithm and value."""


@dataclass(frozen=True)
class Place:
    """Where findings can have been: a tenant's collection, and the columns that they have."""

    collection: str
    tenant: str
    where: Mapping[str, object]


class Moves:
    """The findings of one kind that may have moved."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Place, Seen | None, set[str], frozenset[int]]] = []
        self._by_key: dict[_Key, set[str]] = {}
        self._told: dict[str, dict[str, str]] = {}
        """Of each finding its fingerprints by algorithm."""
        self._rules: dict[str, str] = {}

    def look_among(
        self, place: Place, seen: Seen | None, scans: set[str], shown: frozenset[int]
    ) -> None:
        """Look among what scans saw last, by their ids, and the report does not show.

        ``seen`` are the groups that these saw, and what of them was not shown so far. ``shown`` are
        the report's fingerprints as ``fingerprint.short`` gives them.
        """
        self._waiting.append((place, seen, scans, shown))

    async def learn(self, connection: AsyncConnection) -> None:
        """Read what may have moved, if that was not done yet: before the first is looked for.

        What was seen again meanwhile was seen by a scan of this report.
        """
        waiting, self._waiting = self._waiting, []
        for place, seen, scans, shown in waiting:
            target = self._store.target(place.collection)
            statement = self._store.select(place.collection, place.tenant, [ID, "fingerprint"])
            conditions = [target.table.c[name] == value for name, value in place.where.items()]
            last = last_seen(target, "scan_id", scans, seen)
            rows = await self._store.fetch(statement.where(*conditions, last), connection)
            absent = [
                str(found)
                for found, fingerprint in map(tuple, rows)
                if short(str(fingerprint)) not in shown
            ]
            for start in range(0, len(absent), _BATCH):
                await self._load(connection, place, absent[start:][:_BATCH])

    async def _load(self, connection: AsyncConnection, place: Place, ids: Sequence[str]) -> None:
        collection, target = place.collection, self._store.target(place.collection)
        loaded = await BulkRows(self._store).load(connection, target, place.tenant, ids)
        for found, record in loaded.items():
            body = getattr(record, target.kind.body_field or "")
            if LIVES[collection].is_closed(body):
                continue
            self._told[found] = dict(getattr(body, FINGERPRINTS))
            self._rules[found] = body.rule_id
            for key in _keys(body.rule_id, self._told[found]):
                self._by_key.setdefault(key, set()).add(found)

    def take(self, body: Any) -> str:
        """Give the id of the finding that this one is; empty if it is none. Given once."""
        found = self.find(body.rule_id, dict(getattr(body, FINGERPRINTS)))
        if found:
            self._forget(found)
        return found

    def find(self, rule: str, told: Mapping[str, str]) -> str:
        """Give the id of the finding of a rule that has these fingerprints; empty if none has."""
        for key in _keys(rule, told):
            shared = self._by_key.get(key, set())
            if len(shared) > _MOST_SHARED:
                # Such as the number of a column: it tells nothing.
                continue
            alike = [each for each in shared if _agree(key[1], told, self._told[each])]
            if len(alike) == 1:
                return alike[0]
        return ""

    def _forget(self, found: str) -> None:
        for key in _keys(self._rules.pop(found), self._told.pop(found)):
            self._by_key[key].discard(found)


def last_seen(
    target: KindTable, scan: str, scans: set[str], seen: Seen | None
) -> sa.ColumnElement[bool]:
    """Tell whether scans saw a finding last, and this report has not shown it so far.

    That of known groups is asked of what is left of them, not of each finding.
    """
    by_scans: sa.ColumnElement[bool] = target.rows.c[scan].in_(sorted(scans))
    if seen is None:
        return by_scans
    group = target.table.c[GROUP]
    elsewhere = sa.or_(group.is_(None), group.not_in(seen.groups))
    left = sa.cast(sorted(seen.absent), postgresql.ARRAY(sa.Text()))
    return sa.or_(sa.and_(elsewhere, by_scans), target.table.c[ID] == sa.any_(left))


def may_move(collection: str, store: Store) -> bool:
    """Tell whether findings of a kind keep the fingerprints of their tools."""
    return FINGERPRINTS in store.target(collection).kind.descriptor.fields_by_name


def _keys(rule: str, told: Mapping[str, str]) -> Iterator[_Key]:
    """Give what a finding is known by: one rule's alone, by the names of the algorithms."""
    for algorithm, value in sorted(told.items()):
        yield rule, algorithm, value


def _agree(equal: str, one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Tell whether two findings with one equal fingerprint are the same.

    One that is whole is enough (SARIF 2.1.0, 3.27.16; ours are); of partial ones (3.27.17), all
    that both have must be equal.
    """
    if not equal.startswith(_PARTIAL):
        return True
    return all(
        value == other[name]
        for name, value in one.items()
        if name.startswith(_PARTIAL) and name in other
    )
