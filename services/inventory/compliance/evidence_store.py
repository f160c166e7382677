"""The SQL of an evaluation: the manifest's latest runs, and outcomes of whole tables at once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.cel.dialect import Dialect
from mesh.cel.language import Condition, Environment
from mesh.cel.sql import Columns, TableColumns
from mesh.contract.catalogue import Kind
from mesh.sql.store import Store
from secmesh.inventory.v1 import check_pb2, record_pb2, sync_pb2
from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.compliance.coverage import Reading, Unit, units_of_manifest
from services.inventory.compliance.exceptions import BoundException
from services.inventory.compliance.outcomes import (
    EXCEPTED,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    UNREAD,
    Outcome,
    Place,
    Tally,
)

MANIFEST = "manifest_entries"
SYNCS = "syncs"
ACCOUNT = "cloud_account_id"
REGION = "region"
_NONE = -1
"""Where numbers of exceptions stand: none."""


class ReadColumns:
    """A kind's columns with what could not be read hidden: value and presence are NULL."""

    def __init__(self, table: sa.Table, kind: Kind, dialect: Dialect) -> None:
        self._columns = TableColumns(table, kind, dialect)
        self._dialect = dialect
        self._environment = Environment.of_kind(kind)
        self._body = {field.name for field in kind.descriptor.fields}

    def value(self, field: str) -> sa.ColumnElement[Any]:
        return self._read(field, self._columns.value(field))

    def present(self, field: str) -> sa.ColumnElement[bool]:
        return self._read(field, self._columns.present(field))

    def unread(self, *fields: str) -> sa.ColumnElement[bool]:
        """Tell whether any of these fields of the body could not be read; never NULL."""
        marks = [self._mark(field) for field in sorted(fields) if field in self._body]
        return sa.or_(sa.false(), *marks)

    def needs(self, action: str, fields: Collection[str]) -> sa.ColumnElement[bool]:
        """Tell whether one of these fields waits for an IAM action."""
        named = " || ".join(f"gap.field == {_quoted(field)}" for field in sorted(fields))
        return self._gap(f"gap.action == {_quoted(action)} && ({named})")

    def _mark(self, field: str) -> sa.ColumnElement[bool]:
        return self._gap(f"gap.field == {_quoted(field)}")

    def _gap(self, test: str) -> sa.ColumnElement[bool]:
        condition = self._environment.compile(f"record.unread.exists(gap, {test})")
        return condition.to_sql(self._columns, dialect=self._dialect)

    def _read(self, field: str, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        if field not in self._body:
            return column
        return sa.case((self._mark(field), sa.null()), else_=column)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True)
class Question:
    """A check with the values of its variables, over the rows of one reading."""

    check: BoundCheck
    parameters: Mapping[str, object]
    reading: Reading
    exceptions: Sequence[BoundException] = ()
    """Those that accept single rows."""


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
        found = await self._store.messages(
            MANIFEST, sa.select(*chosen).where(rows.c.latest == 1), connection=self._connection
        )
        entries_found = cast("list[sync_pb2.ManifestEntry]", found)
        return units_of_manifest(
            (entry.name.rsplit("/manifestEntries/", 1)[0], entry) for entry in entries_found
        )

    async def tallies(self, question: Question) -> list[Tally]:
        """Count the outcomes of a check in each account and region, in one statement."""
        table = self._table(question)
        rows = (
            self._rows(question, (ACCOUNT, REGION))
            .add_columns(
                _outcome(question, table, self._store.dialect).label("outcome"),
                _accepting(question, table, self._store.dialect).label("accepting"),
            )
            .where(_within(table, question.reading))
            .subquery()
        )
        keys = (rows.c[ACCOUNT], rows.c[REGION], rows.c.outcome, rows.c.accepting)
        counted = sa.select(*keys, sa.func.count().label("rows")).group_by(*keys)
        found: dict[Place, Tally] = {}
        for account, region, outcome, which, number in await self._connection.execute(counted):
            place = Place(account, region)
            tally = found.setdefault(place, Tally(place))
            tally.counts[outcome] += number
            if outcome == EXCEPTED:
                tally.accepted[question.exceptions[which].name] += number
        return list(found.values())

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
        table = self._table(question)
        statement = self._rows(question).where(
            _within(table, question.reading),
            _outcome(question, table, self._store.dialect) == outcome,
            _in_places(table, places) if places else sa.not_(_in_places(table, without)),
        )
        return await self._records(statement, table, limit)

    async def accepted(
        self, question: Question, which: int, *, without: Sequence[Place], limit: int
    ) -> list[record_pb2.Record]:
        """Give the first records that one of the question's exceptions accepts."""
        table = self._table(question)
        statement = self._rows(question).where(
            _within(table, question.reading),
            _outcome(question, table, self._store.dialect) == EXCEPTED,
            _accepting(question, table, self._store.dialect) == which,
            sa.not_(_in_places(table, without)),
        )
        return await self._records(statement, table, limit)

    async def records_in(
        self, question: Question, places: Sequence[Place], *, limit: int
    ) -> list[record_pb2.Record]:
        """Give the first records of places, whatever they hold."""
        table = self._table(question)
        statement = self._rows(question).where(
            _within(table, question.reading), _in_places(table, places)
        )
        return await self._records(statement, table, limit)

    async def needed_actions(
        self, question: Question, actions: Sequence[str], *, without: Sequence[Place]
    ) -> list[str]:
        """Give which of these actions would read a field that leaves an outcome open."""
        if not actions:
            return []
        table = self._table(question)
        columns = ReadColumns(table, question.check.kind, self._store.dialect)
        statement = self._rows(question, ("id",)).where(
            _within(table, question.reading),
            _outcome(question, table, self._store.dialect) == UNREAD,
            sa.not_(_in_places(table, without)),
        )
        needed = [
            statement.where(columns.needs(action, question.check.fields)).exists()
            for action in actions
        ]
        row = (await self._connection.execute(sa.select(*needed))).one()
        return [action for action, found in zip(actions, row, strict=True) if found]

    def _rows(self, question: Question, columns: Sequence[str] = ()) -> sa.Select[Any]:
        collection = question.check.kind.collection
        return self._store.select(collection, self._tenant, columns, read_time=self._read_time)

    def _table(self, question: Question) -> sa.Table:
        return self._store.target(question.check.kind.collection).table

    async def _records(
        self, statement: sa.Select[Any], table: sa.Table, limit: int
    ) -> list[record_pb2.Record]:
        ordered = statement.order_by(table.c[ACCOUNT], table.c[REGION], table.c.id).limit(limit)
        found = await self._store.messages(table.name, ordered, connection=self._connection)
        return cast("list[record_pb2.Record]", found)


def _outcome(question: Question, table: sa.Table, dialect: Dialect) -> sa.ColumnElement[int]:
    """Write the outcome of each row; what an exception accepts is EXCEPTED instead of bad."""
    weighed = _weighed(question, table, dialect)
    if not question.exceptions:
        return weighed
    bad = bad_outcome(question.check)
    excepted = sa.case((weighed == bad, EXCEPTED), else_=weighed)
    is_accepted = _accepting(question, table, dialect) >= 0
    return sa.case((is_accepted, excepted), else_=weighed)


def bad_outcome(check: BoundCheck) -> Outcome:
    """Give the outcome of a row that makes a check fail."""
    return PASS if check.message.quantifier == check_pb2.QUANTIFIER_NONE else FAIL


def _accepting(question: Question, table: sa.Table, dialect: Dialect) -> sa.ColumnElement[int]:
    """Write the number of the first exception that would accept a row; -1 if none would."""
    if not question.exceptions:
        return sa.literal(_NONE)
    columns = ReadColumns(table, question.check.kind, dialect)
    accepting = []
    for number, each in enumerate(question.exceptions):
        clauses: list[sa.ColumnElement[bool]] = [sa.true()]
        if each.message.cloud_account_ids:
            clauses.append(table.c[ACCOUNT].in_(each.message.cloud_account_ids))
        if each.condition is not None:
            clauses.append(each.condition.to_sql(columns, dialect=dialect))
        accepting.append((sa.and_(*clauses), number))
    return sa.case(*accepting, else_=_NONE)


def _weighed(question: Question, table: sa.Table, dialect: Dialect) -> sa.ColumnElement[int]:
    """Write what the check says of each row: what is unknown by an unread field is UNREAD.

    A condition that is unknown because a field is absent is not met.
    """
    kind = question.check.kind
    plain, masked = TableColumns(table, kind, dialect), ReadColumns(table, kind, dialect)
    read_whole = Environment.of_kind(kind).compile("size(record.unread) == 0")
    whole = read_whole.to_sql(plain, dialect=dialect)
    # Most rows were read whole; they are spared the search for what was not.
    return sa.case(
        (whole, _decided(question, plain, dialect, lambda _: sa.false())),
        else_=_decided(
            question, masked, dialect, lambda condition: masked.unread(*condition.fields)
        ),
    )


def _decided(
    question: Question,
    columns: Columns,
    dialect: Dialect,
    unread: Callable[[Condition], sa.ColumnElement[bool]],
) -> sa.ColumnElement[int]:
    def outcome(condition: Condition, met: Any, unmet: Outcome) -> sa.ColumnElement[int]:
        truth = condition.to_sql(columns, question.parameters, dialect)
        unknown = sa.case((unread(condition), UNREAD), else_=unmet)
        return sa.case({True: met, False: unmet}, value=truth, else_=unknown)

    check = question.check
    weighed = outcome(check.condition, PASS, FAIL)
    return outcome(check.applies, weighed, NOT_APPLICABLE) if check.applies else weighed


def _within(table: sa.Table, reading: Reading) -> sa.ColumnElement[bool]:
    conditions = [table.c[ACCOUNT].in_(reading.accounts)]
    if reading.regions is not None:
        conditions.append(table.c[REGION].in_(reading.regions))
    elif reading.other_regions:
        conditions.append(table.c[REGION].not_in(reading.other_regions))
    return sa.and_(*conditions)


def _in_places(table: sa.Table, places: Sequence[Place]) -> sa.ColumnElement[bool]:
    by_account: dict[str, list[str]] = {}
    for place in places:
        by_account.setdefault(place.cloud_account_id, []).append(place.region)
    return sa.or_(
        sa.false(),
        *(
            sa.and_(table.c[ACCOUNT] == account, table.c[REGION].in_(regions))
            for account, regions in by_account.items()
        ),
    )
