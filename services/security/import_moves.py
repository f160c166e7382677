"""Findings that are somewhere else now: told by a fingerprint that a tool, or an earlier version
of ours, gave them.

Only what a whole report does not show where it was can have moved. A fingerprint that several of
these have tells none of them.
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
_BATCH = 500
_Key = tuple[str, str, str]
"""Rule, algorithm and value."""


class Moves:
    """The findings of one kind that may have moved."""

    def __init__(self) -> None:
        self._by_key: dict[_Key, str] = {}
        self._keys: dict[str, list[_Key]] = {}

    async def find(
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
            await self._learn(connection, store, (collection, tenant), absent[start:][:_BATCH])

    async def _learn(
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
            keys = list(keys_of(body))
            self._keys[found] = keys
            for key in keys:
                # Empty stands for several.
                self._by_key[key] = "" if key in self._by_key else found

    def take(self, body: Any) -> str:
        """Give the id of the finding that this one is; empty if it is none. Given once."""
        for key in keys_of(body):
            if found := self._by_key.get(key, ""):
                for each in self._keys.pop(found):
                    self._by_key.pop(each, None)
                return found
        return ""


def may_move(collection: str, store: Store) -> bool:
    """Tell whether findings of a kind keep the fingerprints of their tools."""
    return FINGERPRINTS in store.target(collection).kind.descriptor.fields_by_name


def keys_of(body: Any) -> Iterator[_Key]:
    """Give what a finding is known by: one rule's alone, the tool's own names sorted."""
    for algorithm, value in sorted(getattr(body, FINGERPRINTS).items()):
        yield body.rule_id, algorithm, value
