"""The tables of the change feed: what became of records, and up to where that was forgotten."""

from enum import IntEnum

import sqlalchemy as sa

from mesh.sql.references import DATABASE
from mesh.sql.types import Timestamp, id_type

CHANGES, FLOORS = "record_changes", "record_change_floors"
"""No collection of a contract may have these names."""
TENANT, TRANSACTION, SEQUENCE = "tenant_id", "transaction_id", "sequence"
COLLECTION, RECORD, CHANGE, TIME = "collection", "record_id", "change", "change_time"
ACTOR, REQUEST, BEFORE, AFTER = "actor", "request_id", "before", "after"
EPOCH = "epoch"
EPOCH_BYTES = 6
"""Random bytes of an epoch."""


class Change(IntEnum):
    """What a write did to a record."""

    CREATED = 1
    UPDATED = 2
    DELETED = 3
    CLOSED = 4
    """The current version of a record that keeps its past ended: replaced by another, or gone."""


def change_tables(metadata: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    """Make the tables: one row for each change until it is forgotten, one for each tenant.

    The order of changes is (transaction, sequence). PostgreSQL numbers both itself; SQLite,
    where transactions come one after the other, has transaction 0 and a sequence for each
    tenant. ``before`` and ``after`` are JSON, written by triggers (``mesh.sql.change_triggers``);
    where both are there, ``before`` may hold only what differs.
    """
    return _changes(metadata), _floors(metadata)


def _changes(metadata: sa.MetaData) -> sa.Table:
    changes = sa.Table(
        CHANGES,
        metadata,
        sa.Column(TENANT, id_type(), nullable=False),
        sa.Column(TRANSACTION, sa.BigInteger(), nullable=False),
        sa.Column(SEQUENCE, sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column(COLLECTION, id_type(), nullable=False),
        sa.Column(RECORD, id_type(), nullable=False),
        sa.Column(CHANGE, sa.SmallInteger(), nullable=False),
        sa.Column(TIME, Timestamp(), nullable=False),
        sa.Column(ACTOR, sa.Text()),
        sa.Column(REQUEST, sa.Text()),
        sa.Column(BEFORE, sa.Text()),
        sa.Column(AFTER, sa.Text()),
        sa.PrimaryKeyConstraint(TENANT, TRANSACTION, SEQUENCE),
    )
    # What was written since a moment is in few blocks; of any other index each write would pay.
    since = sa.Index(
        f"ix_{CHANGES}_{TIME}",
        changes.c[TIME],
        postgresql_using="brin",
        info={DATABASE: "postgresql"},
    )
    since.ddl_if(dialect="postgresql")
    return changes


def _floors(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        FLOORS,
        metadata,
        sa.Column(TENANT, id_type(), nullable=False),
        sa.Column(TRANSACTION, sa.BigInteger(), nullable=False),
        sa.Column(SEQUENCE, sa.BigInteger(), nullable=False),
        # The latest of what was forgotten: since then every change is known.
        sa.Column(TIME, Timestamp()),
        # Made anew by each restore: revisions of before, or of another server, are of another.
        sa.Column(EPOCH, sa.Text()),
        sa.PrimaryKeyConstraint(TENANT),
    )
