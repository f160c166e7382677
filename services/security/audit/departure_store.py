"""What leaves the audit log by age is told in the log itself, so that the chain can be checked.

The entry is written in the transaction in which the others leave, and chained like any other.
"""

from typing import Any

import sqlalchemy as sa
from google.protobuf.struct_pb2 import Struct
from sqlalchemy.dialects import postgresql

from mesh.identifiers import new_uuid
from mesh.records.moments import Clock, now
from mesh.sql.partitions import LEAVING
from mesh.sql.store import TENANT, Store
from secmesh.security.v1.iam_audit_log_pb2 import IamActivity
from secmesh.security.v1.vocabulary_operation_pb2 import Outcome
from services.security.audit.entry import ENTRIES, HASH, LEAVE, POSITION
from services.security.audit.states import shown
from services.security.writers import SYSTEM

RUNS, FIRST, LAST = "runs", "first", "last"
"""Parts of ``before_state``: places that follow each other, and the hash of the last of them."""


class Departures:
    """Writes which entries leave."""

    def __init__(self, store: Store, clock: Clock = now) -> None:
        self._table = store.target(ENTRIES).table
        self._empty = dict.fromkeys(store.target(ENTRIES).codec.columns)
        self._clock = clock

    def attend(self) -> None:
        """Be told from now on."""
        self._table.info[LEAVING] = self._tell

    def _tell(self, connection: sa.Connection, rows: sa.FromClause) -> None:
        found: dict[str, list[dict[str, int | str]]] = {}
        for tenant, first, last, hashed in connection.execute(_runs(rows)):
            run: dict[str, int | str] = {FIRST: first, LAST: last, HASH: hashed}
            found.setdefault(tenant, []).append(run)
        if found:
            entries = [self._entry(tenant, runs) for tenant, runs in found.items()]
            connection.execute(sa.insert(self._table), entries)

    def _entry(self, tenant: str, runs: list[dict[str, int | str]]) -> dict[str, object]:
        moment = self._clock()
        state = Struct(fields={RUNS: shown(runs)})
        return {
            **self._empty,
            TENANT: tenant,
            "id": new_uuid(),
            "etag": LEAVE,
            "create_time": moment,
            "update_time": moment,
            "labels": "{}",
            "actor_name": SYSTEM,
            "activity": IamActivity.IAM_ACTIVITY_DELETE,
            "operation": LEAVE,
            "target_type": ENTRIES,
            "outcome": Outcome.OUTCOME_SUCCESS,
            "before_state": state.SerializeToString(deterministic=True),
            "event_time": moment,
        }


def _runs(rows: sa.FromClause) -> "sa.Select[Any]":
    """Select the places that follow each other, by tenant, with the hash of each last one."""
    columns = rows.c
    ordered = sa.func.row_number().over(partition_by=columns[TENANT], order_by=columns[POSITION])
    numbered = (
        sa.select(
            columns[TENANT],
            columns[POSITION],
            columns[HASH],
            (columns[POSITION] - ordered).label("run"),
        )
        .where(columns[POSITION].is_not(None))
        .subquery()
    )
    place = numbered.c[POSITION]
    hashes = sa.func.array_agg(
        postgresql.aggregate_order_by(numbered.c[HASH], place.desc()), type_=sa.ARRAY(sa.Text())
    )
    return (
        sa.select(numbered.c[TENANT], sa.func.min(place), sa.func.max(place), hashes[1])
        .group_by(numbered.c[TENANT], numbered.c.run)
        .order_by(numbered.c[TENANT], sa.func.min(place))
    )
