"""The SQL of an evaluation: the manifest's latest runs, and outcomes of whole tables at once."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, cast

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.store import Store
from secmesh.inventory.v1 import record_pb2, sync_pb2
from services.inventory.compliance.coverage import Unit, units_of_manifest
from services.inventory.compliance.outcomes import EXCEPTED, UNREAD, Outcome, Place, Tally
from services.inventory.compliance.row_weighing import (
    ACCOUNT,
    NO_EXCEPTION,
    REGION,
    Question,
    Weighing,
    in_places,
)

MANIFEST = "manifest_entries"
SYNCS = "syncs"
ACCOUNTS, ENABLED = "account_metadata", "regions_enabled"


class EvidenceStore:
    """Reads of one evaluation; every statement begins from the rows of one tenant.

    With ``read_time`` (microseconds since 1970) they are of what was known then.
    """

    def __init__(
        self,
        store: Store,
        connection: AsyncConnection,
        tenant: str,
        read_time: int | None = None,
    ) -> None:
        self._store = store
        self._connection = connection
        self._tenant = tenant
        self._read_time = read_time
        self._turn = asyncio.Lock()

    async def units(self, accounts: Collection[str]) -> list[Unit]:
        """Give each unit as the latest run that read it left it; all accounts if none is named."""
        target = self._store.target(MANIFEST)
        syncs = self._store.select(SYNCS, self._tenant, ("id", "start_time")).subquery()
        entries = target.table
        latest = sa.func.dense_rank().over(
            partition_by=(entries.c[ACCOUNT], entries.c[REGION], entries.c.collection),
            order_by=(syncs.c.start_time.desc(), syncs.c.id.desc()),
        )
        ranked = self._store.select(MANIFEST, self._tenant).join(
            syncs, syncs.c.id == entries.c.sync_id
        )
        if accounts:
            ranked = ranked.where(entries.c[ACCOUNT].in_(accounts))
        if self._read_time is not None:
            ranked = ranked.where(entries.c.read_time <= self._read_time)
        rows = ranked.add_columns(latest.label("latest")).subquery()
        chosen = [rows.c[name] for name in target.codec.columns]
        found = await self._messages(MANIFEST, sa.select(*chosen).where(rows.c.latest == 1))
        entries_found = cast("list[sync_pb2.ManifestEntry]", found)
        return units_of_manifest(
            (entry.name.rsplit("/manifestEntries/", 1)[0], entry) for entry in entries_found
        )

    async def enabled_regions(self) -> dict[str, frozenset[str]]:
        """Give the regions that are enabled in each account that was asked and said so."""
        kind = self._store.target(ACCOUNTS).kind
        columns = [*kind.pattern.columns, ACCOUNT, ENABLED]
        statement = self._store.select(ACCOUNTS, self._tenant, columns, read_time=self._read_time)
        found = cast("list[record_pb2.Record]", await self._messages(ACCOUNTS, statement))
        return {
            record.cloud_account_id: frozenset(record.account_metadata.regions_enabled)
            for record in found
            if record.account_metadata.regions_enabled
        }

    async def tallies(self, questions: Sequence[Question]) -> list[list[Tally]]:
        """Count the outcomes of checks in each account and region, those of each check apart.

        All are over one collection and the same accounts: their rows are read once.
        """
        found: list[dict[Place, Tally]] = [{} for _ in questions]
        # Most rows were read whole, and often all: they are spared the search for what was not.
        await self._count(questions, found, masked=False)
        if any(tally.partial for tally in found[0].values()):
            await self._count(questions, found, masked=True)
        return [list(tallies.values()) for tallies in found]

    async def _count(
        self, questions: Sequence[Question], found: Sequence[dict[Place, Tally]], *, masked: bool
    ) -> None:
        """Count the rows that were read whole, or with ``masked`` those that were not."""
        first = questions[0]
        weighings = [self._weighing(question, masked=masked) for question in questions]
        whole = weighings[0].read_whole()
        rows = self._rows(first, (ACCOUNT, REGION))
        if not first.everywhere:
            rows = rows.where(weighings[0].of_question())
        if masked:
            rows = rows.where(sa.not_(whole)).add_columns(sa.true().label("whole"))
        else:
            rows = rows.add_columns(whole.label("whole"))
        for number, (question, weighing) in enumerate(zip(questions, weighings, strict=True)):
            rows = rows.add_columns(weighing.outcome().label(f"outcome_{number}"))
            if question.exceptions:
                rows = rows.add_columns(weighing.accepting().label(f"accepting_{number}"))
        chosen = rows.subquery()
        counted = sa.select(*chosen.c, sa.func.count().label("rows")).group_by(*chosen.c)
        for account, region, decided, *outcomes, number in await self._fetch(counted):
            if account not in first.accounts:
                continue
            place, told = Place(account, region), iter(outcomes)
            for question, tallies in zip(questions, found, strict=True):
                tally = tallies.setdefault(place, Tally(place))
                outcome = next(told)
                which = next(told) if question.exceptions else NO_EXCEPTION
                if not decided:
                    tally.partial += number
                    continue
                tally.counts[outcome] += number
                if outcome == EXCEPTED:
                    tally.accepted[question.exceptions[which].name] += number

    async def records(
        self,
        question: Question,
        outcome: Outcome,
        *,
        without: Sequence[Place],
        limit: int,
        places: Sequence[Place] = (),
    ) -> list[record_pb2.Record]:
        """Give the first records with an outcome, in a stable order.

        ``places`` are those that hold the first ones, where the caller knows: no other is read.
        """
        table, weighing = self._table(question), self._weighing(question)
        where = in_places(table, places) if places else weighing.of_question()
        statement = self._whole_rows(question).where(where, weighing.outcome() == outcome)
        if not places:
            statement = statement.where(sa.not_(in_places(table, without)))
        return await self._records(statement, table, limit)

    async def accepted(
        self, question: Question, which: int, *, without: Sequence[Place], limit: int
    ) -> list[record_pb2.Record]:
        """Give the first records that one of the question's exceptions accepts."""
        table, weighing = self._table(question), self._weighing(question)
        statement = self._whole_rows(question).where(
            weighing.of_question(),
            weighing.outcome() == EXCEPTED,
            weighing.accepting() == which,
            sa.not_(in_places(table, without)),
        )
        return await self._records(statement, table, limit)

    async def records_in(
        self, question: Question, places: Sequence[Place], *, limit: int
    ) -> list[record_pb2.Record]:
        """Give the first records of places, whatever they hold."""
        table = self._table(question)
        statement = self._whole_rows(question).where(in_places(table, places))
        return await self._records(statement, table, limit)

    async def needed_actions(
        self, question: Question, actions: Sequence[str], *, without: Sequence[Place]
    ) -> list[str]:
        """Give which of these actions would read a field that leaves an outcome open."""
        if not actions:
            return []
        table, weighing = self._table(question), self._weighing(question)
        statement = self._rows(question, ("id",)).where(
            weighing.of_question(),
            weighing.outcome() == UNREAD,
            sa.not_(in_places(table, without)),
        )
        needed = [statement.where(weighing.needs(action)).exists() for action in actions]
        (row,) = await self._fetch(sa.select().add_columns(*needed))
        return [action for action, found in zip(actions, row, strict=True) if found]

    def _rows(self, question: Question, columns: Sequence[str] = ()) -> sa.Select[Any]:
        collection = question.check.kind.collection
        return self._store.select(collection, self._tenant, columns, read_time=self._read_time)

    def _whole_rows(self, question: Question) -> sa.Select[Any]:
        """Select the envelopes of records, and of their bodies what is looked at."""
        if question.shown is None:
            return self._rows(question)
        kind, shown = question.check.kind, question.shown
        unseen = {field.name for field in kind.descriptor.fields} - shown
        columns = self._store.target(kind.collection).codec.columns
        return self._rows(question, [each for each in columns if each not in unseen])

    def _weighing(self, question: Question, *, masked: bool | None = None) -> Weighing:
        if masked is None:
            masked = not question.whole
        return Weighing(question, self._table(question), self._store.dialect, masked=masked)

    def _table(self, question: Question) -> sa.Table:
        return self._store.target(question.check.kind.collection).table

    async def _records(
        self, statement: sa.Select[Any], table: sa.Table, limit: int
    ) -> list[record_pb2.Record]:
        ordered = statement.order_by(table.c[ACCOUNT], table.c[REGION], table.c.id).limit(limit)
        return cast("list[record_pb2.Record]", await self._messages(table.name, ordered))

    async def _messages(self, collection: str, statement: sa.Select[Any]) -> list[Message]:
        rows = await self._fetch(statement)
        return self._store.decoded(collection, statement, rows)

    async def _fetch(self, statement: sa.Select[Any]) -> Sequence[Any]:
        # The connection does one thing at a time: who waits here has the next one ready.
        async with self._turn:
            rows = await self._store.fetch(statement, self._connection)
        # Whoever waits sends it before these rows are looked at.
        await asyncio.sleep(0)
        return rows
