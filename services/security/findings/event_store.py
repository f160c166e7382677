"""The steps in the lives of findings, as they are kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import ResourceExists
from mesh.identifiers import new_uuid
from mesh.sql.bulk import BulkRows
from mesh.sql.paging import Page
from mesh.sql.references import ID
from mesh.sql.store import TENANT, Store
from secmesh.security.v1.finding_event_pb2 import FindingEvent
from secmesh.security.v1.finding_service_pb2 import ListFindingHistoryRequest

EVENTS = "finding_events"
_BY_PLACE = "sequence"


class FindingEvents:
    """Adds and reads steps; none is ever changed or removed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bulk = BulkRows(store)
        self._target = store.target(EVENTS)
        self._table = self._target.table

    async def add(self, connection: AsyncConnection, event: FindingEvent) -> None:
        """Add the next step of a finding, which the transaction has to itself; names it."""
        tenant = tenant_of(event.finding) or ""
        columns = self._table.c
        steps = self._store.select(EVENTS, tenant, [_BY_PLACE])
        last = steps.where(columns.finding == event.finding).order_by(columns.sequence.desc())
        rows = await self._store.fetch(last.limit(1), connection)
        event.sequence = (rows[0][0] if rows else 0) + 1
        event.name = f"tenants/{tenant}/{EVENTS}/{new_uuid()}"
        await self._store.insert(connection, EVENTS, [event])

    async def add_all(
        self, connection: AsyncConnection, tenant: str, events: Sequence[FindingEvent]
    ) -> None:
        """Add the next steps of findings, which the transaction has to itself; names them."""
        if not events:
            return
        last = await self._last(connection, tenant, {event.finding for event in events})
        for event in events:
            last[event.finding] += 1
            event.sequence = last[event.finding]
            event.name = f"tenants/{tenant}/{EVENTS}/{new_uuid()}"
        await self._add_rows(connection, [self._target.codec.row(event) for event in events])

    async def add_same(
        self, connection: AsyncConnection, event: FindingEvent, findings: Sequence[str]
    ) -> None:
        """Add the same step to findings of one tenant, which the transaction has to itself."""
        tenant = tenant_of(event.finding) or ""
        last = await self._last(connection, tenant, set(findings))
        event.name = f"tenants/{tenant}/{EVENTS}/{new_uuid()}"
        row = self._target.codec.row(event)
        await self._add_rows(
            connection,
            [
                row | {ID: new_uuid(), "finding": name, _BY_PLACE: last[name] + 1}
                for name in findings
            ],
        )

    async def add_first(
        self, connection: AsyncConnection, event: FindingEvent, findings: Sequence[str]
    ) -> None:
        """Add the same step to findings of one kind that are new and never had any.

        It has the id of its finding, which no other step can have. On PostgreSQL alone.
        """
        prefix = findings[0][: findings[0].rindex("/") + 1]
        event.name = f"tenants/{tenant_of(event.finding) or ''}/{EVENTS}/{new_uuid()}"
        event.sequence = 1
        row = self._target.codec.row(event)
        ids = sa.cast([name[len(prefix) :] for name in findings], postgresql.ARRAY(sa.Text()))
        found = sa.func.unnest(ids).column_valued("found")
        own = {ID: found, "finding": sa.literal(prefix, sa.Text()).concat(found)}
        chosen = (own.get(name, self._literal(name, value)) for name, value in row.items())
        await connection.execute(sa.insert(self._table).from_select(list(row), sa.select(*chosen)))

    def _literal(self, name: str, value: Any) -> sa.ColumnElement[Any]:
        kind = self._table.c[name].type
        return sa.cast(sa.literal(value, kind), kind)

    async def _add_rows(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        added = await self._bulk.add(connection, self._target, rows)
        if missed := [row["finding"] for row in rows if row[ID] not in added]:
            raise ResourceExists(missed[0])

    async def _last(
        self, connection: AsyncConnection, tenant: str, findings: set[str]
    ) -> Counter[str]:
        """Give the place of the last step of each finding that has any."""
        columns = self._table.c
        steps = self._store.select(EVENTS, tenant, ["finding"])
        steps = steps.where(columns.finding.in_(sorted(findings)))
        highest = steps.add_columns(sa.func.max(columns.sequence)).group_by(columns.finding)
        rows = await self._store.fetch(highest, connection)
        return Counter({str(finding): int(place) for finding, place in map(tuple, rows)})

    async def page(self, request: ListFindingHistoryRequest) -> Page:
        """Give steps of a finding, oldest first; FilterInvalid, PageTokenInvalid."""
        finding = request.parent
        # A name holds nothing that CEL would read as more than text.
        condition = f'finding == "{finding}"'
        if request.filter:
            # It must be a whole by itself, so that it cannot end the brackets around it.
            self._store.condition(self._store.target(EVENTS), request.filter)
            condition = f"{condition} && ({request.filter}\n)"
        return await self._store.page(
            EVENTS,
            f"tenants/{tenant_of(finding)}",
            filter=condition,
            order_by=_BY_PLACE,
            page_size=request.page_size,
            page_token=request.page_token,
        )

    async def expired(
        self, moment: int, limit: int, after: tuple[str, str] = ("", "")
    ) -> Sequence[tuple[str, str]]:
        """Give some findings of any tenant whose acceptance ended, as tenant and name.

        They are in that order, and come after ``after``.
        """
        columns = self._table.c
        place = sa.tuple_(columns[TENANT], columns.finding)
        statement: sa.Select[Any] = (
            sa.select(columns[TENANT], columns.finding)
            .where(self._has_expired(moment), place > after)
            .order_by(columns[TENANT], columns.finding)
            .limit(limit)
        )
        async with self._store.whole() as connection:
            rows: Sequence[Any] = await self._store.fetch(statement, connection)
        return [(row[0], row[1]) for row in rows]

    async def has_expired(self, connection: AsyncConnection, finding: str, moment: int) -> bool:
        """Tell whether the last decision about a finding was an acceptance that ended."""
        columns = self._table.c
        steps = self._store.select(EVENTS, tenant_of(finding) or "", [_BY_PLACE])
        found = steps.where(columns.finding == finding, self._has_expired(moment))
        return bool(await self._store.fetch(found.limit(1), connection))

    def _has_expired(self, moment: int) -> sa.ColumnElement[bool]:
        """Condition that a step accepted until a moment that is over, and none decided since."""
        columns: Any = self._table.c
        later = self._table.alias("later")
        decided = sa.exists().where(
            later.c[TENANT] == columns[TENANT],
            later.c.finding == columns.finding,
            later.c.sequence > columns.sequence,
            later.c.change != FindingEvent.CHANGE_ASSIGNMENT,
        )
        return sa.and_(columns.expire_time <= moment, ~decided)
