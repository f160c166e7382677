"""Findings that are somewhere else now: told by a fingerprint that a tool, or an earlier version
of ours, gave them.

Only what a whole report does not show where it was can have moved. What several of these could be
is none of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.bulk import BulkRows
from mesh.sql.references import ID
from mesh.sql.store import Store
from services.security.import_state import LIVES
from services.security.importing.fingerprint import short

FINGERPRINTS = "partial_fingerprints"
_PARTIAL = "partialFingerprints/"
_BATCH = 500
_MOST_SHARED = 16
"""Findings that may share a fingerprint which still tells anything."""
_Key = tuple[str, str, str]
"""Rule, algorithm and value."""


class Moves:
    """The findings of one kind that may have moved."""

    def __init__(self) -> None:
        self._by_key: dict[_Key, set[str]] = {}
        self._told: dict[str, dict[str, str]] = {}
        """Of each finding its fingerprints by algorithm."""
        self._rules: dict[str, str] = {}

    async def learn(
        self,
        connection: AsyncConnection,
        store: Store,
        place: tuple[str, str, Mapping[str, object]],
        seen: tuple[set[str], frozenset[int]],
    ) -> None:
        """Look for what is not in the report among what the same scans saw last.

        ``place``: collection, tenant, and the columns that such findings have. ``seen``: ids of
        those scans, and the report's fingerprints as ``fingerprint.short`` gives them.
        """
        collection, tenant, where = place
        scans, shown = seen
        table = store.target(collection).table
        statement = store.select(collection, tenant, [ID, "fingerprint", "scan_id"]).where(
            *(table.c[name] == value for name, value in where.items())
        )
        rows = await store.fetch(statement, connection)
        pairs: list[Sequence[Any]] = [tuple(row) for row in rows]
        absent = [
            str(found)
            for found, fingerprint, scan in pairs
            if str(scan) in scans and short(str(fingerprint)) not in shown
        ]
        for start in range(0, len(absent), _BATCH):
            await self._load(connection, store, (collection, tenant), absent[start:][:_BATCH])

    async def _load(
        self,
        connection: AsyncConnection,
        store: Store,
        place: tuple[str, str],
        ids: Sequence[str],
    ) -> None:
        collection, tenant = place
        target = store.target(collection)
        for found, record in (await BulkRows(store).load(connection, target, tenant, ids)).items():
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
