"""What a database lacks of the contract, and has beyond it, as steps.

Tables, columns, types, NULL, references and which indexes exist are compared by Alembic;
CHECKs, conditions of partial indexes and primary keys here. Nothing is ever taken for
renamed: a field with another name is a column to add and one to drop.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import ops

from mesh.contract.storage import Storage, storage_of
from mesh.sql import migration_rows as rows
from mesh.sql.engine import POSTGRESQL, SQLITE
from mesh.sql.isolation import isolation_differences
from mesh.sql.migration_definitions import (
    check_text,
    checks_of,
    differing,
    escaped,
    indexes_of,
)
from mesh.sql.migration_history import HISTORY
from mesh.sql.migration_steps import Effect, Step
from mesh.sql.partitions import (
    PARTITION,
    PARTITION_KEY,
    partition_key,
    partition_names,
    references_to_parts,
)
from mesh.sql.references import DATABASE
from mesh.sql.tables import Tables
from mesh.sql.triggers import differences

_WIDER: Mapping[str, frozenset[str]] = {
    "SMALLINT": frozenset({"INTEGER", "BIGINT"}),
    "INTEGER": frozenset({"BIGINT"}),
}
"""Types that hold every value of another."""
_OUR_CHECKS = "ck_"


def compare(
    connection: sa.Connection, tables: Tables, application: str | None = None
) -> list[Step]:
    """Give the steps that make the database what the contract says, in the order of work.

    ``application``: the role that is to use the tables.
    """
    with warnings.catch_warnings():
        # SQLite's natural keys are over expressions: their text is compared, here.
        warnings.filterwarnings("ignore", ".*expression-based index")
        return _compare(connection, tables, application)


def _compare(connection: sa.Connection, tables: Tables, application: str | None) -> list[Step]:
    context = _context(connection)
    found = produce_migrations(context, tables.metadata).upgrade_ops
    changed: dict[str, list[ops.MigrateOperation]] = {}
    steps: list[Step] = []
    for each in found.ops if found else ():
        if isinstance(each, ops.CreateTableOp):
            declared = tables.metadata.tables[each.table_name]
            steps.append(Step(declared.name, f"create table {declared.name}", declared))
        elif isinstance(each, ops.DropTableOp):
            steps.append(_drop_table(connection, each))
        elif isinstance(each, ops.ModifyTableOps):
            changed.setdefault(each.table_name, []).extend(each.ops)
    present = set(sa.inspect(connection).get_table_names())
    for name, declared in tables.metadata.tables.items():
        if name in present:
            steps += _Comparison(connection, tables, declared).steps(changed.get(name, []))
    steps += [
        Step(each.table, each.words, ops.ExecuteSQLOp(escaped(each.statement)))
        for each in isolation_differences(connection, tables.metadata, application)
    ]
    steps += [
        Step(each.table, each.words, each)
        for each in differences(connection, tables.metadata)
        # Those of a new table are made with it.
        if each.table in present
    ]
    # What a table refers to is made before it.
    order = {table.name: place for place, table in enumerate(tables.metadata.sorted_tables)}
    return sorted(steps, key=lambda step: (step.rank, order.get(step.table, -1), step.table))


def _context(connection: sa.Connection) -> MigrationContext:
    """Compare what the contract declares, and nothing that the database made beside it."""
    ignored = {
        "table": {HISTORY.name, *partition_names(connection)},
        "foreign_key_constraint": references_to_parts(connection),
    }

    def named(name: str | None, kind: str, _parents: Any) -> bool:
        return name not in ignored.get(kind, ())

    def included(item: Any, _name: str | None, _kind: str, _reflected: bool, _other: Any) -> bool:
        return bool(item.info.get(DATABASE, connection.dialect.name) == connection.dialect.name)

    return MigrationContext.configure(
        connection,
        opts={
            "compare_type": _types_differ,
            "include_name": named,
            "include_object": included,
            "target_metadata": None,
        },
    )


def _types_differ(
    context: MigrationContext,
    _present_column: Any,
    _declared_column: Any,
    present: sa.types.TypeEngine[Any],
    declared: sa.types.TypeEngine[Any],
) -> bool:
    return _type_name(context.dialect, present) != _type_name(context.dialect, declared)


def _type_name(dialect: sa.Dialect, kind: sa.types.TypeEngine[Any]) -> str:
    return kind.compile(dialect=dialect).replace('"', "")


def _drop_table(connection: sa.Connection, operation: ops.DropTableOp) -> Step:
    name = operation.table_name
    lost = f"the contract does not know it; it holds {rows.count(connection, name)} rows"
    return Step(name, f"drop table {name}", operation, Effect.DESTRUCTIVE, lost, stays=True)


@dataclass(frozen=True)
class _Comparison:
    """One table of the contract beside the one in the database."""

    connection: sa.Connection
    tables: Tables
    declared: sa.Table

    @cached_property
    def present(self) -> sa.Table:
        return sa.Table(
            self.declared.name, sa.MetaData(), autoload_with=self.connection, resolve_fks=False
        )

    @property
    def _indexes(self) -> list[sa.Index]:
        return indexes_of(self.declared, self.connection.dialect)

    @cached_property
    def added(self) -> dict[str, Any]:
        """What old rows will hold in the columns that are missing yet."""
        missing = [column for column in self.declared.c if column.name not in self.present.c]
        return {column.name: self._default(column) for column in missing}

    def steps(self, found: Iterable[ops.MigrateOperation]) -> Iterator[Step]:
        """Give the steps for this table."""
        if problem := self._key_step():
            yield problem
            return
        for operation in found:
            yield from self._step(operation)
        checks, indexes, missing = differing(self.connection, self.declared, self.present)
        yield from self._check_steps(checks)
        yield from self._index_steps(indexes, missing, found)

    def _key_step(self) -> Step | None:
        ours, theirs = (
            [column.name for column in table.primary_key.columns]
            for table in (self.declared, self.present)
        )
        name = self.declared.name
        if ours == theirs:
            return self._split_step()
        return Step(
            name,
            f"change the primary key of {name} from ({', '.join(theirs)}) to ({', '.join(ours)})",
            self.declared,
            Effect.BLOCKED,
            "no step does that; move the rows to a new collection",
        )

    def _split_step(self) -> Step | None:
        """Tell of a table that became a log, or is none any more."""
        wanted = PARTITION_KEY if PARTITION in self.declared.info else ""
        if partition_key(self.connection, self.declared.name) == wanted or (
            self.connection.dialect.name != POSTGRESQL
        ):
            return None
        verb = "split" if wanted else "join the parts of"
        problem = "no step does that; move the rows to a new collection"
        words = f"{verb} {self.declared.name}"
        return Step(self.declared.name, words, self.declared, Effect.BLOCKED, problem)

    def _step(self, operation: ops.MigrateOperation) -> Iterator[Step]:
        match operation:
            case ops.AddColumnOp():
                yield self._add_column(operation.column.name)
            case ops.DropColumnOp():
                yield self._drop_column(operation)
            case ops.AlterColumnOp():
                yield from self._fill(operation)
                yield self._alter_column(operation)
            case ops.CreateForeignKeyOp():
                yield self._add_reference(operation)
            case ops.CreateIndexOp():
                # By name, Alembic sees one of two that are written differently for each database.
                return
            case ops.DropIndexOp():
                yield self._drop_index(operation)
            case ops.DropConstraintOp():
                yield self._drop_constraint(operation)
            case _:
                yield Step(
                    self.declared.name,
                    f"{type(operation).__name__} on {self.declared.name}",
                    operation,
                    Effect.BLOCKED,
                    "no step is known for it",
                )

    def _default(self, column: sa.Column[Any]) -> Any:
        if column.nullable:
            return None
        field = self.tables[self.declared.name].codec.fields[column.name]
        empty = {Storage.LIST: "[]", Storage.MAP: "{}"}
        return empty.get(storage_of(field), field.default_value)

    def _add_column(self, name: str) -> Step:
        declared = self.declared.c[name]
        column: sa.Column[Any] = sa.Column(
            name,
            declared.type,
            nullable=declared.nullable,
            server_default=self._server_default(declared),
        )
        words = f"add column {name} ({self._named(declared.type)}) to {self.declared.name}"
        if not declared.nullable:
            words += f", which is {self.added[name]!r} in the rows that exist"
        return Step(self.declared.name, words, ops.AddColumnOp(self.declared.name, column))

    def _server_default(self, column: sa.Column[Any]) -> Any:
        """Give the DEFAULT of a new column, which lets processes of the old contract go on."""
        value = self.added[column.name]
        if value is None:
            return None
        if isinstance(value, bytes):
            return sa.text("x''") if self.connection.dialect.name == SQLITE else ""
        return str(int(value)) if isinstance(value, bool) else str(value)

    def _named(self, kind: Any) -> str:
        return _type_name(self.connection.dialect, kind)

    def _drop_column(self, operation: ops.DropColumnOp) -> Step:
        name = operation.column_name
        present = self.present.c[name]
        idle = bool(present.nullable or present.server_default is not None)
        reason = "the contract does not know it"
        if not idle:
            reason += ", and no row can be written without it"
        words = f"drop column {name} of {self.declared.name}"
        return Step(self.declared.name, words, operation, Effect.DESTRUCTIVE, reason, stays=idle)

    def _fill(self, operation: ops.AlterColumnOp) -> Iterator[Step]:
        """Give the step that writes what a field without presence holds where NULL was."""
        column = self.declared.c[operation.column_name]
        if operation.modify_nullable is not False:
            return
        missing = rows.nulls(self.connection, self.present.c[column.name])
        if not missing:
            return
        empty = self._default(column)
        update = sa.update(self.declared).where(column.is_(None)).values({column.name: empty})
        yield Step(
            self.declared.name,
            f"write {empty!r} to column {column.name} of {self.declared.name} where it is NULL",
            ops.ExecuteSQLOp(update),
            Effect.DESTRUCTIVE,
            f"{missing} rows have no value, and would not differ from those that have this one",
        )

    def _alter_column(self, operation: ops.AlterColumnOp) -> Step:
        name = operation.column_name
        declared, present = self.declared.c[name], self.present.c[name]
        effect, said, reasons = Effect.ADDITIVE, [], []
        if operation.modify_type is not None:
            old, new = self._named(present.type), self._named(declared.type)
            said.append(f"from {old} to {new}")
            if new not in _WIDER.get(old, ()):
                effect = Effect.DESTRUCTIVE
                reasons.append("not every value of the old type is one of the new")
            if self.connection.dialect.name == POSTGRESQL:
                whole = declared.type.compile(dialect=self.connection.dialect)
                quoted = self.connection.dialect.identifier_preparer.quote(name)
                operation.kw["postgresql_using"] = f"{quoted}::{whole}"
        if operation.modify_nullable is not None:
            said.append("to allow NULL" if operation.modify_nullable else "to refuse NULL")
        words = f"change column {name} of {self.declared.name} {' and '.join(said)}"
        return Step(self.declared.name, words, operation, effect, "; ".join(reasons))

    def _add_reference(self, operation: ops.CreateForeignKeyOp) -> Step:
        name = str(operation.constraint_name)
        declared = next(
            each
            for each in self.declared.foreign_key_constraints
            if each.column_keys == list(operation.local_cols)
        )
        step = Step(self.declared.name, f"add reference {name} to {self.declared.name}", operation)
        there = sa.inspect(self.connection).has_table(operation.referent_table)
        absent = self.added.keys() & set(operation.local_cols)
        if not there or absent:
            return step
        return _blocked(step, rows.orphans(self.connection, declared), "rows refer to none")

    def _add_index(self, index: sa.Index) -> Step:
        unique = "unique index" if index.unique else "index"
        step = Step(self.declared.name, f"add {unique} {index.name} to {self.declared.name}", index)
        if not index.unique or self.added.keys() & {column.name for column in index.columns}:
            return step
        where = index.dialect_options[self.connection.dialect.name]["where"]
        return _blocked(step, rows.repeated(self.connection, index, where), "values come twice")

    def _drop_index(self, operation: ops.DropIndexOp) -> Step:
        name = operation.index_name
        words = f"drop index {name} of {self.declared.name}"
        step = Step(self.declared.name, words, operation)
        if any(index.name == name for index in self._indexes):
            return replace(step, words=f"{words}, to make it anew")
        unique = any(index.name == name and index.unique for index in self.present.indexes)
        return replace(
            step,
            effect=Effect.DESTRUCTIVE,
            reason="the contract does not know it",
            stays=not unique,
        )

    def _drop_constraint(self, operation: ops.DropConstraintOp) -> Step:
        name = operation.constraint_name
        words = f"drop constraint {name} of {self.declared.name}"
        step = Step(self.declared.name, words, operation)
        ours = {str(each.name) for each in self.declared.constraints}
        if name in ours:
            return replace(step, words=f"{words}, to make it anew")
        return replace(step, effect=Effect.DESTRUCTIVE, reason="the contract does not know it")

    def _check_steps(self, changed: frozenset[str]) -> Iterator[Step]:
        ours, theirs = checks_of(self.declared), checks_of(self.present)
        for name in sorted(theirs.keys() - ours.keys() | changed):
            yield self._drop_check(name, again=name in changed)
        for name in sorted(ours.keys() - theirs.keys() | changed):
            yield self._add_check(ours[name])

    def _drop_check(self, name: str, *, again: bool) -> Step:
        words = f"drop check {name} of {self.declared.name}"
        operation = ops.DropConstraintOp(name, self.declared.name, "check")
        if again:
            return Step(self.declared.name, f"{words}, to make it anew", operation)
        if name.startswith(_OUR_CHECKS):
            # A bound that the contract gave up: rows only get more room.
            return Step(self.declared.name, words, operation)
        reason = "the contract does not know it"
        return Step(self.declared.name, words, operation, Effect.DESTRUCTIVE, reason)

    def _add_check(self, check: sa.CheckConstraint) -> Step:
        text = check_text(check, self.connection.dialect)
        operation = ops.CreateCheckConstraintOp(
            str(check.name), self.declared.name, sa.text(escaped(text))
        )
        words = f"add check {check.name} to {self.declared.name}: {text}"
        step = Step(self.declared.name, words, operation)
        number = rows.breaking(self.connection, check, self.added)
        return _blocked(step, number, "rows break it")

    def _index_steps(
        self,
        changed: frozenset[str],
        missing: frozenset[str],
        found: Iterable[ops.MigrateOperation],
    ) -> Iterator[Step]:
        dropped = {each.index_name for each in found if isinstance(each, ops.DropIndexOp)}
        for index in sorted(self._indexes, key=lambda each: str(each.name)):
            if index.name in changed - dropped:
                yield self._drop_index(ops.DropIndexOp.from_index(index))
            if index.name in changed | missing | dropped:
                yield self._add_index(index)


def _blocked(step: Step, number: int, problem: str) -> Step:
    if not number:
        return step
    return replace(step, effect=Effect.BLOCKED, reason=f"{number} {problem}; repair them first")
