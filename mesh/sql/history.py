"""The past of records: what changed between two moments, and the versions of one record."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import field_option
from mesh.errors import ResourceNotFound
from mesh.sql.moments import require_history, valid_at
from mesh.sql.paging import Page, page_limit
from mesh.sql.store import Store
from mesh.sql.tables import VALID_FROM, VALID_TO, KindTable

ID = "id"


@dataclass(frozen=True)
class Pair:
    """The versions of one record at two moments; they are not the same version."""

    old: Message | None
    new: Message | None
    differing: frozenset[str]
    """Fields that are stored differently, secret ones too; all if there is one version."""


@dataclass(frozen=True)
class Pairs:
    """Some records of a comparison, in the order of their ids."""

    pairs: list[Pair]
    after: str
    """The last id seen if more may follow, else empty."""


@dataclass(frozen=True)
class Span:
    """Two moments, in microseconds since 1970."""

    start: int
    end: int


class History:
    """Reads past versions from a store; fields of SECRET sensitivity are never given."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def pairs(
        self,
        collection: str,
        tenant: str,
        span: Span,
        *,
        conditions: Sequence[str] = (),
        after: str = "",
        limit: int,
        connection: AsyncConnection | None = None,
    ) -> Pairs:
        """Give the records that had another version, or none, at the other moment.

        ``conditions`` are CEL, asked of each version. Raises FilterInvalid, and
        FieldInvalid for a kind without history.
        """
        target = self._store.target(collection)
        old, new = valid_at(target, span.start), valid_at(target, span.end)
        statement = (
            self._store.select(collection, tenant, past=True)
            .where(sa.or_(sa.and_(old, sa.not_(new)), sa.and_(new, sa.not_(old))))
            .where(*(self._store.condition(target, each) for each in conditions))
            .where(target.table.c[ID] > after)
            .order_by(target.table.c[ID], target.table.c[VALID_FROM])
            # A record has two versions at most here: these are enough for one more record.
            .limit(2 * limit + 1)
        )
        rows = await self._store.fetch(statement, connection)
        found = list(_paired(target, rows, span))
        more = len(rows) > 2 * limit or len(found) > limit
        chosen = found[:limit]
        return Pairs([pair for _, pair in chosen], chosen[-1][0] if more else "")

    async def page(
        self,
        collection: str,
        name: str,
        *,
        filter: str = "",  # noqa: A002  # AIP-132's own name
        page_size: int = 0,
        page_token: str = "",
        columns: Sequence[str] = (),
    ) -> Page:
        """Give one page of a record's versions, the newest first.

        ResourceNotFound if there never was one. Raises FilterInvalid, PageTokenInvalid,
        and FieldInvalid for a kind without history.
        """
        target = self._store.target(collection)
        require_history(target, "parent")
        ids = target.kind.pattern.parse(name)
        if ids is None:
            raise ResourceNotFound(name)
        limit = page_limit(page_size)
        request = ("versions", name, filter)
        opened = target.table.c[VALID_FROM]
        chosen = list(columns or target.codec.public_columns)
        fetched = chosen if VALID_FROM in chosen else [*chosen, VALID_FROM]
        statement = self._versions(target, ids, fetched)
        if not page_token and not await self._store.fetch(statement.limit(1)):
            raise ResourceNotFound(name)
        if filter:
            statement = statement.where(self._store.condition(target, filter))
        if page_token:
            [before] = self._store.tokens.read(request, page_token)
            statement = statement.where(opened < before)
        rows = await self._store.fetch(statement.order_by(opened.desc()).limit(limit + 1))
        token = ""
        if len(rows) > limit:
            last = rows[limit - 1][fetched.index(VALID_FROM)]
            token = self._store.tokens.write(request, [last])
        decode = target.codec.decoder(chosen)
        return Page([decode(row) for row in rows[:limit]], token)

    def _versions(
        self, target: KindTable, ids: Sequence[str], columns: Sequence[str]
    ) -> sa.Select[Any]:
        statement = self._store.select(target.kind.collection, ids[0], columns, past=True)
        return statement.where(target.table.c[ID] == ids[-1])


def _paired(
    target: KindTable, rows: Sequence[sa.Row[Any]], span: Span
) -> Iterator[tuple[str, Pair]]:
    """Put the versions of each record together; rows come in the order of their ids."""
    columns = target.codec.columns
    place, opened, closed = (columns.index(name) for name in (ID, VALID_FROM, VALID_TO))
    decode = target.codec.decoder(columns)

    def stood(row: sa.Row[Any], moment: int) -> bool:
        return row[opened] <= moment and (row[closed] is None or row[closed] > moment)

    compared = [
        (columns.index(name), name)
        for name, field in target.codec.fields.items()
        if not field_option(field).bookkeeping
    ]
    for record, versions in groupby(rows, key=lambda row: str(row[place])):
        old = new = None
        for row in versions:
            if stood(row, span.start):
                old = row
            else:
                new = row
        differing = frozenset(
            name for at, name in compared if old is None or new is None or old[at] != new[at]
        )
        yield (
            record,
            Pair(
                None if old is None else decode(old),
                None if new is None else decode(new),
                differing,
            ),
        )
