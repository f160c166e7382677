"""Workflows that changes of records start: what each watches, and what matters to it."""

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mesh.cel import Environment
from mesh.contract.catalogue import Kind
from mesh.sql.alone import alone
from mesh.sql.change_table import Change
from mesh.sql.changes import RecordChange
from mesh.sql.store import TENANT
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from services.security.editing import required_tenant
from services.security.workflows.feed_following import AUTOMATIC, Place
from services.security.workflows.plan import stored_plan
from services.security.workflows.run_store import PLANS, RunStore

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Watch:
    """What one plan watches; it never changes."""

    plan: str
    """Its name."""
    workflow: str
    kind: Kind
    condition: str

    @property
    def key(self) -> str:
        """Give the plan: its place is kept there."""
        return self.plan

    @property
    def subject(self) -> str:
        """Give the workflow."""
        return self.workflow

    @property
    def collections(self) -> Set[str]:
        """Give the collection whose changes start the workflow."""
        return {self.kind.collection}

    def matters(self, change: RecordChange) -> bool:
        """Tell whether a change starts a run."""
        if (
            change.collection != self.kind.collection
            or change.after is None
            or change.change is Change.DELETED
            or change.actor.startswith(AUTOMATIC)
        ):
            return False
        if not self.condition:
            return True
        record: Any = change.after
        condition = Environment.of_kind(self.kind).compile(self.condition)
        body = getattr(record, self.kind.body_field or "")
        return condition.matches(body, record) is True


class Watches:
    """Reads which plans watch what; what a plan says is read once."""

    def __init__(self, runs: RunStore, kinds: Mapping[str, Kind]) -> None:
        self._runs = runs
        self._kinds = kinds
        self._table = runs.store.target(PLANS).table
        self._known: dict[str, Watch] = {}

    async def places(self) -> Mapping[str, Sequence[Place[Watch]]]:
        """Give the watches of all tenants, by tenant, in one query."""
        columns = self._table.c
        statement = (
            sa.select(columns[TENANT], columns.id, columns.revision)
            .where(
                columns.current,
                columns.trigger_type == WorkflowTrigger.WORKFLOW_TRIGGER_EVENT,
            )
            .order_by(columns[TENANT], columns.id)
        )
        async with self._runs.store.whole() as connection:
            rows: Any = await self._runs.store.fetch(statement, connection)
        stored = {f"tenants/{row[0]}/{PLANS}/{row[1]}": row[2] for row in rows}
        await self._learn(stored.keys())
        found: dict[str, list[Place[Watch]]] = {}
        for name, revision in stored.items():
            if name in self._known:
                place = Place(self._known[name], revision)
                found.setdefault(required_tenant(name), []).append(place)
        return found

    async def _learn(self, names: Set[str]) -> None:
        """Read the plans that are new, and forget those that are gone."""
        for name in self._known.keys() - names:
            del self._known[name]
        for name in sorted(names - self._known.keys()):
            with acting_for(required_tenant(name)), alone(_LOG, "a plan was not read", name):
                plan = await self._runs.plan(None, name)
                config = stored_plan(plan.content).workflow.trigger_config
                kind = self._kinds.get(config.collection)
                if kind is not None:
                    # The contract may have lost the collection since.
                    self._known[name] = Watch(name, plan.workflow, kind, config.condition)
