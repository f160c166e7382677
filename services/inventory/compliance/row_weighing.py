"""What a check says of each row, as SQL: the outcome, and the exception that accepts it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from mesh.cel.dialect import Dialect
from mesh.cel.language import Condition, Environment
from mesh.cel.sql import Columns, TableColumns
from mesh.cel.types import CelType, parameter_value
from mesh.contract.catalogue import Kind
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.check_catalogue import NOW, BoundCheck
from services.inventory.compliance.coverage import Reading
from services.inventory.compliance.exceptions import BoundException
from services.inventory.compliance.outcomes import (
    EXCEPTED,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    UNREAD,
    Outcome,
    Place,
)

ACCOUNT = "cloud_account_id"
REGION = "region"
NO_EXCEPTION = -1
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
    """A check with its thresholds, over the rows of some readings."""

    check: BoundCheck
    thresholds: Mapping[str, int]
    readings: Sequence[Reading]
    """Those of one account hold all of its rows together."""
    exceptions: Sequence[BoundException] = ()
    """Those that accept single rows."""
    whole: bool = False
    """Whether it is known that all of each row could be read."""
    shown: frozenset[str] | None = None
    """Body fields that are looked at in records of evidence; None for all."""
    everywhere: bool = False
    """Whether the readings are of all accounts that were ever collected."""

    @cached_property
    def accounts(self) -> frozenset[str]:
        """The accounts whose rows are asked about."""
        return frozenset(each for reading in self.readings for each in reading.accounts)


class Weighing:
    """Writes what a question says of each row of its table.

    With ``masked`` of all rows: what is unknown by a field that could not be read is UNREAD.
    Without it only of those that were read whole.
    """

    def __init__(
        self, question: Question, table: sa.Table, dialect: Dialect, *, masked: bool
    ) -> None:
        self._question = question
        self._table = table
        self._dialect = dialect
        kind = question.check.kind
        self._plain = TableColumns(table, kind, dialect)
        self._masked = ReadColumns(table, kind, dialect)
        self._masks = masked
        self._parameters = self._values()

    def of_question(self) -> sa.ColumnElement[bool]:
        """Tell whether a row is of one of the readings."""
        return self._table.c[ACCOUNT].in_(sorted(self._question.accounts))

    def read_whole(self) -> sa.ColumnElement[bool]:
        """Tell whether all of a row could be read."""
        kind = self._question.check.kind
        whole = Environment.of_kind(kind).compile("size(record.unread) == 0")
        return whole.to_sql(self._plain, dialect=self._dialect)

    def needs(self, action: str) -> sa.ColumnElement[bool]:
        """Tell whether a field that decides waits for an IAM action."""
        return self._masked.needs(action, self._question.check.fields)

    def outcome(self) -> sa.ColumnElement[int]:
        """Write the outcome of each row; what an exception accepts is EXCEPTED instead of bad."""
        weighed = self._weighed()
        if not self._question.exceptions:
            return weighed
        bad = bad_outcome(self._question.check)
        excepted = sa.case((weighed == bad, EXCEPTED), else_=weighed)
        return sa.case((self.accepting() >= 0, excepted), else_=weighed)

    def accepting(self) -> sa.ColumnElement[int]:
        """Write the number of the first exception that would accept a row; -1 if none would."""
        columns = self._masked if self._masks else self._plain
        accepting = []
        for number, each in enumerate(self._question.exceptions):
            clauses: list[sa.ColumnElement[bool]] = [sa.true()]
            if each.message.cloud_account_ids:
                clauses.append(self._table.c[ACCOUNT].in_(each.message.cloud_account_ids))
            if each.condition is not None:
                clauses.append(each.condition.to_sql(columns, dialect=self._dialect))
            accepting.append((sa.and_(*clauses), number))
        return sa.case(*accepting, else_=NO_EXCEPTION) if accepting else sa.literal(NO_EXCEPTION)

    def _weighed(self) -> sa.ColumnElement[int]:
        plain = self._decided(self._plain, lambda _: None)
        if not self._masks:
            return plain
        masked = self._decided(
            self._masked, lambda condition: self._masked.unread(*condition.fields)
        )
        # Most rows were read whole; they are spared the search for what was not.
        return sa.case((self.read_whole(), plain), else_=masked)

    def _decided(
        self,
        columns: Columns,
        unread: Callable[[Condition], sa.ColumnElement[bool] | None],
    ) -> sa.ColumnElement[int]:
        """Write an outcome; a condition that is unknown for want of a field is not met."""

        def outcome(condition: Condition, met: Any, unmet: Outcome) -> sa.ColumnElement[int]:
            truth = condition.to_sql(columns, self._parameters, self._dialect)
            hidden = unread(condition)
            if hidden is None:
                return sa.case((truth, met), else_=unmet)
            unknown = sa.case((hidden, UNREAD), else_=unmet)
            return sa.case({True: met, False: unmet}, value=truth, else_=unknown)

        check = self._question.check
        weighed = outcome(check.condition, PASS, FAIL)
        return outcome(check.applies, weighed, NOT_APPLICABLE) if check.applies else weighed

    def _values(self) -> dict[str, object]:
        """Give the values of the condition's variables; ``now`` may differ from row to row."""
        first, *others = self._question.readings
        check, thresholds = self._question.check, self._question.thresholds
        values = check.parameters(thresholds, first.read_time)
        if check.uses_now and any(each.read_time != first.read_time for each in others):
            values[NOW] = self._moment()
        return values

    def _moment(self) -> sa.ColumnElement[Any]:
        moments = [(self._within(each), self._literal(each)) for each in self._question.readings]
        return self._dialect.typed(sa.case(*moments), CelType.TIMESTAMP)

    def _literal(self, reading: Reading) -> sa.ColumnElement[Any]:
        moment = parameter_value(NOW, CelType.TIMESTAMP, reading.read_time)
        return self._dialect.literal(moment, CelType.TIMESTAMP)

    def _within(self, reading: Reading) -> sa.ColumnElement[bool]:
        conditions = [self._table.c[ACCOUNT].in_(reading.accounts)]
        if reading.regions is not None:
            conditions.append(self._table.c[REGION].in_(reading.regions))
        elif reading.other_regions:
            conditions.append(self._table.c[REGION].not_in(reading.other_regions))
        return sa.and_(*conditions)


def bad_outcome(check: BoundCheck) -> Outcome:
    """Give the outcome of a row that makes a check fail."""
    return PASS if check.message.quantifier == check_pb2.QUANTIFIER_NONE else FAIL


def in_places(table: sa.Table, places: Collection[Place]) -> sa.ColumnElement[bool]:
    """Tell whether a row is of one of these places."""
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
