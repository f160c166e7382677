"""All SQL of erasures: what was ordered and done, and the work that is due of it."""

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.erasure.erasure import Destroyed, Erasure, State
from services.crypto.tables import ERASURE_WORK, ERASURES

_LOG = ERASURES.c
_WORK = ERASURE_WORK.c
Due = tuple[str, str]
"""Tenant and erasure id."""


class ErasureLog:
    """Reads and writes erasures by the caller's connection; none is ever removed."""

    async def add(self, connection: AsyncConnection, erasure: Erasure) -> None:
        """Keep an erasure that is ordered, or one that another database tells of."""
        await connection.execute(insert(ERASURES).values(_row(erasure)))

    async def get(
        self, connection: AsyncConnection, tenant: str, erasure_id: str, *, lock: bool = False
    ) -> Erasure | None:
        """Give an erasure, locked until the transaction's end if wanted; None if there is none."""
        statement = sa.select(ERASURES).where(*_named(tenant, erasure_id))
        return await _one(connection, statement.with_for_update() if lock else statement)

    async def of_person(
        self, connection: AsyncConnection, tenant: str, person: bytes
    ) -> Erasure | None:
        """Give the erasure of a person; None if there is none."""
        statement = sa.select(ERASURES).where(_LOG.tenant_id == tenant, _LOG.person == person)
        return await _one(connection, statement)

    async def page(
        self, connection: AsyncConnection, tenant: str, before: str | None, limit: int
    ) -> list[Erasure]:
        """Give erasures before an id, the newest first."""
        statement = sa.select(ERASURES).where(_LOG.tenant_id == tenant)
        if before is not None:
            statement = statement.where(_LOG.id < uuid.UUID(before))
        rows = await connection.execute(statement.order_by(_LOG.id.desc()).limit(limit))
        return [_erasure(row) for row in rows]

    async def done(
        self, connection: AsyncConnection, tenant: str, erasure_ids: Collection[str]
    ) -> set[str]:
        """Give those of some erasures after which the person is gone from this database."""
        # As one parameter, of which a statement has a limited number.
        ids = sa.cast([uuid.UUID(each) for each in erasure_ids], ARRAY(sa.Uuid))
        statement = sa.select(_LOG.id).where(
            _LOG.tenant_id == tenant,
            _LOG.id == sa.any_(ids),
            _LOG.state != State.ORDERED.value,
        )
        return {str(each) for each in await connection.scalars(statement)}

    async def erased(
        self,
        connection: AsyncConnection,
        erasure: Erasure,
        destroyed: Destroyed,
        caches: timedelta,
        backups: timedelta,
    ) -> Erasure:
        """Say that a person is gone; give the erasure as it stands then."""
        now = sa.func.now()
        return await self._set(
            connection,
            erasure,
            state=State.ERASED.value,
            user_id=None,
            erased_at=now,
            caches_until=now + caches,
            backups_until=now + backups,
            **_counts(destroyed),
        )

    async def certify(
        self, connection: AsyncConnection, erasure: Erasure, certificate: str
    ) -> Erasure:
        """Keep a certificate, unless there is one already; give the erasure with the one kept."""
        kept = sa.case((_LOG.certificate == "", certificate), else_=_LOG.certificate)
        return await self._set(connection, erasure, certificate=kept)

    async def certified(self, connection: AsyncConnection, erasure: Erasure) -> Erasure:
        """Say that the certificate is in its second place."""
        return await self._set(connection, erasure, state=State.CERTIFIED.value)

    async def replayed(
        self, connection: AsyncConnection, erasure: Erasure, certificate: str
    ) -> Erasure:
        """Say that a person who came back with a backup is gone again, by an old certificate."""
        return await self._set(
            connection,
            erasure,
            state=State.CERTIFIED.value,
            user_id=None,
            replayed_at=sa.func.now(),
            certificate=certificate,
            **{name: getattr(erasure, name) for name in _MOMENTS},
            **_counts(erasure.destroyed),
        )

    async def _set(self, connection: AsyncConnection, erasure: Erasure, **values: Any) -> Erasure:
        statement = sa.update(ERASURES).where(*_named(erasure.tenant, erasure.erasure_id))
        rows = await connection.execute(statement.values(**values).returning(ERASURES))
        return _erasure(rows.one())


_MOMENTS = ("ordered_at", "erased_at", "caches_until", "backups_until")


class ErasureWork:
    """What is to be done of all tenants' erasures."""

    async def schedule(self, connection: AsyncConnection, due: Due, after: timedelta) -> None:
        """Have an erasure looked at after a time, by anybody."""
        moment = sa.func.now() + after
        statement = insert(ERASURE_WORK).values(
            tenant_id=due[0], erasure_id=uuid.UUID(due[1]), due_at=moment
        )
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant_id", "erasure_id"], set_={"due_at": moment}
            )
        )

    async def claim(self, connection: AsyncConnection, lease: timedelta) -> Due | None:
        """Take the work that is due for longest, for a time; None if none is."""
        statement = (
            sa.select(_WORK.tenant_id, _WORK.erasure_id)
            .where(_WORK.due_at <= sa.func.now())
            .order_by(_WORK.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        found = (await connection.execute(statement)).first()
        if found is None:
            return None
        due = (found.tenant_id, str(found.erasure_id))
        await self.schedule(connection, due, lease)
        return due

    async def drop(self, connection: AsyncConnection, due: Due) -> None:
        """Have an erasure looked at no more."""
        await connection.execute(sa.delete(ERASURE_WORK).where(*_worked(due)))


def _named(tenant: str, erasure_id: str) -> Sequence[sa.ColumnElement[bool]]:
    return _LOG.tenant_id == tenant, _LOG.id == uuid.UUID(erasure_id)


def _worked(due: Due) -> Sequence[sa.ColumnElement[bool]]:
    return _WORK.tenant_id == due[0], _WORK.erasure_id == uuid.UUID(due[1])


async def _one(connection: AsyncConnection, statement: sa.Select[Any]) -> Erasure | None:
    row = (await connection.execute(statement)).first()
    return None if row is None else _erasure(row)


def _counts(destroyed: Destroyed) -> dict[str, Any]:
    return {
        "key_versions": list(destroyed.key_versions),
        "fields": [name for name, _ in destroyed.fields],
        "tiers": [tier for _, tier in destroyed.fields],
        "index_count": destroyed.index_count,
        "change_count": destroyed.change_count,
    }


def _row(erasure: Erasure) -> dict[str, Any]:
    return {
        "tenant_id": erasure.tenant,
        "id": uuid.UUID(erasure.erasure_id),
        "person": erasure.person,
        "subjects": list(erasure.subjects),
        "user_id": uuid.UUID(erasure.user_id) if erasure.user_id else None,
        "state": erasure.state.value,
        "ordered_by": erasure.ordered_by,
        "request_id": erasure.request_id,
    }


def _erasure(row: Any) -> Erasure:
    return Erasure(
        tenant=row.tenant_id,
        erasure_id=str(row.id),
        person=bytes(row.person),
        subjects=tuple(bytes(each) for each in row.subjects),
        ordered_by=row.ordered_by,
        request_id=row.request_id,
        state=State(row.state),
        user_id=None if row.user_id is None else str(row.user_id),
        destroyed=Destroyed(
            tuple(row.key_versions),
            tuple(zip(row.fields, row.tiers, strict=True)),
            row.index_count,
            row.change_count,
        ),
        ordered_at=row.ordered_at,
        erased_at=row.erased_at,
        caches_until=row.caches_until,
        backups_until=row.backups_until,
        replayed_at=row.replayed_at,
        certificate=row.certificate,
    )
