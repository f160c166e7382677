"""Incidents that wait longer than their priority allows are escalated by themselves."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from mesh.errors import ResourceNotFound
from mesh.records.moments import Clock, now
from mesh.sql.alone import alone
from mesh.sql.recurring import Recurring
from mesh.sql.store import TENANT, Store
from mesh.sql.tenancy import acting_for
from mesh.sql.transactions import act_as
from services.security.editing import RecordEditor, required_tenant
from services.security.incidents.life import INCIDENTS, PRIORITIES, STEPS, IncidentLife, Words
from services.security.incidents.machine import incident_machine
from services.security.writers import SYSTEM

EVERY = timedelta(minutes=1)
BATCH = 100
"""Incidents looked up at once."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limit:
    """A time that a priority allows, and what keeps to it."""

    minutes: str
    """Field of the priority."""
    reached_by: tuple[str, ...]
    """Times of the incident, one of which must be set by then."""
    reason: str
    """Told in the history, once for each incident."""


LIMITS = (
    Limit(
        "acknowledge_sla_minutes",
        ("acknowledge_time", "contain_time", "resolve_time"),
        "Nobody took it on in the time that its priority allows.",
    ),
    Limit(
        "response_sla_minutes",
        ("contain_time", "resolve_time"),
        "It was not contained in the time that its priority allows.",
    ),
    Limit(
        "resolution_sla_minutes",
        ("resolve_time",),
        "It was not resolved in the time that its priority allows.",
    ),
)


class OverdueIncidents(Recurring):
    """Looks for incidents of all tenants; processes may do so at once.

    Each time counts from the notice of the incident, after an escalation from that, so that
    whoever is told has time as well. Each is told once for each incident.
    """

    def __init__(
        self, store: Store, editor: RecordEditor, life: IncidentLife, clock: Clock = now
    ) -> None:
        super().__init__(
            EVERY, "incidents that wait too long could not be escalated", "incidents escalated: %d"
        )
        self._store = store
        self._editor = editor
        self._life = life
        self._clock = clock
        self._incidents = store.target(INCIDENTS).table
        self._priorities = store.target(PRIORITIES).table
        self._steps = store.target(STEPS).table

    async def look(self) -> int:
        """Escalate what waits too long, of every tenant, and give how many incidents."""
        escalated = 0
        for limit in LIMITS:
            # Each once: one that cannot be escalated is tried again at the next look.
            last = ("", "")
            while found := await self._overdue(limit, last):
                for tenant, incident in found:
                    name = f"tenants/{tenant}/{INCIDENTS}/{incident}"
                    with acting_for(tenant), alone(_LOG, "an incident was not escalated", name):
                        escalated += await self._escalate(limit, name)
                last = found[-1]
        return escalated

    async def _escalate(self, limit: Limit, name: str) -> int:
        async with self._store.transaction() as connection:
            await act_as(connection, SYSTEM)
            try:
                record = await self._editor.find(connection, name)
            except ResourceNotFound:
                return 0
            # Another process may have been here while we waited for the row.
            still = self._waiting(limit).where(
                self._incidents.c[TENANT] == required_tenant(name),
                self._incidents.c.id == name.rpartition("/")[2],
            )
            if not await self._store.fetch(still, connection):
                return 0
            await self._life.raised(connection, record)
            words = Words(SYSTEM, limit.reason)
            await self._life.note(connection, record, record.incident.status, words, late=True)
            await self._editor.replace(connection, record)
        return 1

    async def _overdue(self, limit: Limit, after: tuple[str, str]) -> list[tuple[str, str]]:
        columns = self._incidents.c[TENANT], self._incidents.c.id
        waiting = self._waiting(limit).where(sa.tuple_(*columns) > after)
        async with self._store.whole() as connection:
            rows: Any = await self._store.fetch(waiting.order_by(*columns).limit(BATCH), connection)
        return [(row[0], row[1]) for row in rows]

    def _waiting(self, limit: Limit) -> sa.Select[Any]:
        """Select open incidents for which a time is over, and that were not told of it."""
        incidents, priorities = self._incidents, self._priorities
        told = self._told(limit.reason)
        start = sa.func.greatest(incidents.c.detect_time, self._last_escalation())
        minutes = sa.cast(priorities.c[limit.minutes], sa.Integer())
        end = start + sa.func.make_interval(0, 0, 0, 0, 0, minutes)
        present = sa.bindparam("present", self._clock(), type_=incidents.c.detect_time.type)
        return (
            sa.select(incidents.c[TENANT], incidents.c.id)
            .join(
                priorities,
                sa.and_(
                    priorities.c[TENANT] == incidents.c[TENANT],
                    priorities.c.id == incidents.c.priority_id,
                ),
            )
            .where(
                incidents.c.status.in_(incident_machine().open),
                *(incidents.c[each].is_(None) for each in limit.reached_by),
                end <= present,
                ~told,
            )
        )

    def _told(self, reason: str) -> sa.ColumnElement[bool]:
        step = self._steps.alias("told")
        return sa.exists().where(*self._of(step), step.c.reason == reason)

    def _last_escalation(self) -> Any:
        step = self._steps.alias("escalated")
        reasons = [each.reason for each in LIMITS]
        last = sa.select(sa.func.max(step.c.change_time))
        return last.where(*self._of(step), step.c.reason.in_(reasons)).scalar_subquery()

    def _of(self, step: Any) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            step.c[TENANT] == self._incidents.c[TENANT],
            step.c.incident_id == self._incidents.c.id,
            step.c.sla_breached.is_(sa.true()),
        )
