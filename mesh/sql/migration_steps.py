"""One change of a database on its way to the contract, in words and as an operation."""

from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from alembic.operations import ops

from mesh.sql.triggers import TriggerChange

Operation = sa.Table | sa.Index | TriggerChange | ops.MigrateOperation
"""A table, index or trigger is made as the contract declares it; the rest are Alembic's."""


class Effect(StrEnum):
    """What a step does to what the database holds."""

    ADDITIVE = "additive"
    """Nothing that is stored is lost."""
    DESTRUCTIVE = "destructive"
    """Something that is stored is lost; done only when it is allowed."""
    BLOCKED = "blocked"
    """Rows are in the way, or no way is known; refused until someone repairs it."""


@dataclass(frozen=True)
class Step:
    """One change of one table."""

    table: str
    words: str
    operation: Operation
    effect: Effect = Effect.ADDITIVE
    reason: str = ""
    """Why it is destructive or blocked."""
    stays: bool = False
    """Unknown to the contract and in nobody's way: kept where destruction is not allowed."""

    def __str__(self) -> str:
        return f"{self.words} ({self.reason})" if self.reason else self.words

    @property
    def rank(self) -> int:
        """The place in the order of work: what depends on a column goes before it and comes after.

        Tables come first, so that references to them can be made.
        """
        return next(place for place, kind in enumerate(_ORDER) if isinstance(self.operation, kind))

    @property
    def rebuilds(self) -> bool:
        """Whether SQLite may have to copy the table for it."""
        return isinstance(self.operation, ops.MigrateOperation) and not isinstance(
            self.operation, (ops.DropIndexOp, ops.DropTableOp, ops.ExecuteSQLOp)
        )


_ORDER: tuple[type[object], ...] = (
    sa.Table,
    ops.ExecuteSQLOp,
    ops.DropIndexOp,
    ops.DropConstraintOp,
    ops.AddColumnOp,
    ops.AlterColumnOp,
    ops.DropColumnOp,
    ops.CreateCheckConstraintOp,
    ops.CreateUniqueConstraintOp,
    ops.CreateForeignKeyOp,
    sa.Index,
    TriggerChange,
    ops.DropTableOp,
)
