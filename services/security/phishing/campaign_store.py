"""Campaigns, the people they go to, and their results, as they are kept; all SQL is here."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.errors import ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.records.moments import Clock
from mesh.records.writing import RecordWriter
from mesh.sql.bulk import BulkRows
from mesh.sql.references import ID
from mesh.sql.rows import Rows
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from secmesh.security.v1 import phishing_campaign_pb2 as campaign
from secmesh.security.v1.phishing_campaign_pb2 import PhishingResult
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.user_pb2 import USER_ROLE_SERVICE, USER_STATUS_DEACTIVATED
from services.security.phishing.guard import CAMPAIGNS, RESULTS

GROUPS = 1000
"""Groups that are counted."""
_AT_ONCE = 2000
"""Results written at once."""
_TURN = 100
"""Results made before other tasks of the process have a turn."""
_KEY = "recipient_key"


class Target(NamedTuple):
    """Somebody a campaign goes to."""

    user_id: str
    email: str
    department: str | None


class CampaignStore:
    """Reads and writes within transactions of the caller."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._rows = Rows(store)
        self._bulk = BulkRows(store)
        self._writer = RecordWriter(store, catalogue.record_kinds, clock)

    async def find(self, connection: AsyncConnection, name: str) -> Any:
        """Give a campaign with its secrets, ours until the end; ResourceNotFound."""
        found = await self._rows.find(connection, self._store.target(CAMPAIGNS), name)
        if found is None:
            raise ResourceNotFound(name)
        return found

    async def save(self, connection: AsyncConnection, record: Any) -> Any:
        """Write a campaign that was found here anew; give it without secrets."""
        target = self._store.target(CAMPAIGNS)
        moment = self._writer.stamp(target.kind, record)
        await self._rows.replace(connection, target, record, moment)
        return self.shown(record)

    def shown(self, record: Any) -> Any:
        """Give a campaign as it is read."""
        codec = self._store.target(CAMPAIGNS).codec
        return codec.message(codec.row(record))

    async def unknown_groups(
        self, connection: AsyncConnection, tenant: str, groups: Sequence[str]
    ) -> set[str]:
        """Give the names that neither a team nor a department has."""
        left = set(groups)
        for collection, column in (("teams", "name"), ("users", "department")):
            table = self._store.target(collection).table
            named = self._store.select(collection, tenant, [column]).distinct()
            found = named.where(table.c[column].in_(groups))
            rows: Sequence[Any] = await self._store.fetch(found, connection)
            left -= {row[0] for row in rows}
        return left

    async def targets(self, connection: AsyncConnection, record: Any) -> list[Target]:
        """Give the users of a campaign's team and groups, each once."""
        tenant, body = tenant_of(record.name) or "", record.phishing_campaign
        users = self._store.target("users").table
        members = self._members(tenant, body).with_only_columns(self._column("user_id"))
        statement = self._store.select("users", tenant, [ID, "email", "department"]).where(
            sa.or_(users.c[ID].in_(members), users.c.department.in_(list(body.target_groups))),
            users.c.status != USER_STATUS_DEACTIVATED,
            users.c.role != USER_ROLE_SERVICE,
        )
        rows = await self._store.fetch(statement.order_by(users.c[ID]), connection)
        found: list[tuple[str, str, str | None]] = [tuple(row) for row in rows]
        return [
            Target(f"tenants/{tenant}/users/{user}", email, department)
            for user, email, department in found
        ]

    def _column(self, name: str) -> Any:
        return self._store.target("team_members").table.c[name]

    def _members(self, tenant: str, body: Any) -> sa.Select[Any]:
        """Select who is in the teams of a campaign now."""
        teams = self._store.target("teams").table
        chosen = self._store.select("teams", tenant, [ID]).where(
            sa.or_(
                teams.c[ID] == body.target_team_id.rpartition("/")[2],
                teams.c.name.in_(list(body.target_groups)),
            )
        )
        ends = self._column("expire_time")
        return self._store.select("team_members", tenant, ["team_id", "user_id"]).where(
            self._column("team_id").in_(chosen), sa.or_(ends.is_(None), ends > self._clock())
        )

    async def add_results(
        self, connection: AsyncConnection, tenant: str, bodies: Sequence[PhishingResult]
    ) -> None:
        """Add results; people who have one of the same campaign keep it."""
        target = self._store.target(RESULTS)
        for start in range(0, len(bodies), _AT_ONCE):
            records = []
            for body in bodies[start : start + _AT_ONCE]:
                record = Record(name=f"tenants/{tenant}/{RESULTS}/{new_uuid()}")
                record.phishing_result.CopyFrom(body)
                records.append(record)
            await self._bulk.add(connection, target, await self._stamped(target, records))

    async def results(
        self, connection: AsyncConnection, name: str, keys: Iterable[str]
    ) -> dict[str, Any]:
        """Give a campaign's results by their keys, ours until the end."""
        target, tenant = self._store.target(RESULTS), tenant_of(name) or ""
        wanted = [(key,) for key in keys]
        found = await self._bulk.find(connection, target, tenant, [_KEY], wanted, [ID])
        ids = [str(row[0]) for row in found.values()]
        records = await self._bulk.load(connection, target, tenant, ids)
        bodies: list[Any] = list(records.values())
        return {
            each.phishing_result.recipient_key: each
            for each in bodies
            if each.phishing_result.campaign_id == name
        }

    async def replace_results(
        self, connection: AsyncConnection, name: str, records: Iterable[Any]
    ) -> None:
        """Write results that ``results`` gave anew."""
        target = self._store.target(RESULTS)
        rows = await self._stamped(target, records)
        if rows:
            await self._bulk.replace(connection, target, tenant_of(name) or "", rows)

    async def _stamped(self, target: KindTable, records: Iterable[Any]) -> list[dict[str, Any]]:
        """Give the rows of records that are to be written."""
        rows = []
        for number, record in enumerate(records, 1):
            self._writer.stamp(target.kind, record)
            rows.append(target.codec.row(record))
            if not number % _TURN:
                # Other calls are served meanwhile.
                await asyncio.sleep(0)
        return rows

    async def count(self, connection: AsyncConnection, name: str) -> Any:
        """Count a campaign's results; a row with the fields of ``_counts``."""
        statement = self._of_campaign(name).with_only_columns(*self._counts())
        return (await self._store.fetch(statement, connection))[0]

    async def count_by_department(self, connection: AsyncConnection, name: str) -> Sequence[Any]:
        """Count by department: rows of its name and what ``count`` gives."""
        column = self._store.target(RESULTS).table.c.department
        return await self._grouped(connection, self._of_campaign(name), column)

    async def count_by_team(self, connection: AsyncConnection, record: Any) -> Sequence[Any]:
        """Count by the teams that a campaign goes to: rows of the name and what ``count`` gives."""
        tenant = tenant_of(record.name) or ""
        members = self._members(tenant, record.phishing_campaign).subquery()
        teams = self._store.select("teams", tenant, [ID, "name"]).subquery()
        results = self._store.target(RESULTS).table
        statement = self._of_campaign(record.name).select_from(
            results.join(members, members.c.user_id == results.c.user_id).join(
                teams, teams.c[ID] == members.c.team_id
            )
        )
        return await self._grouped(connection, statement, teams.c.name)

    def _of_campaign(self, name: str) -> sa.Select[Any]:
        column = self._store.target(RESULTS).table.c.campaign_id
        statement = self._store.select(RESULTS, tenant_of(name) or "", [ID])
        return statement.where(column == name.rpartition("/")[2])

    async def _grouped(
        self, connection: AsyncConnection, statement: sa.Select[Any], column: Any
    ) -> Sequence[Any]:
        group = sa.func.coalesce(column, "").label("group_name")
        counted = statement.with_only_columns(group, *self._counts()).group_by(group)
        largest = counted.order_by(sa.func.count().desc(), group).limit(GROUPS)
        return await self._store.fetch(largest, connection)

    def _counts(self) -> list[Any]:
        columns = self._store.target(RESULTS).table.c
        status, count = columns.status, sa.func.count()
        conditions = {
            "sent": status >= campaign.PHISH_RESULT_STATUS_EMAIL_SENT,
            "opened": status >= campaign.PHISH_RESULT_STATUS_EMAIL_OPENED,
            "clicked": status >= campaign.PHISH_RESULT_STATUS_CLICKED_LINK,
            "submitted": status >= campaign.PHISH_RESULT_STATUS_SUBMITTED_DATA,
            "reported": columns.is_reported.is_(True),
            "errors": status == campaign.PHISH_RESULT_STATUS_SEND_ERROR,
            "waiting": status < campaign.PHISH_RESULT_STATUS_SEND_ERROR,
            "begun": status > campaign.PHISH_RESULT_STATUS_SCHEDULED,
        }
        counted = [count.filter(each).label(name) for name, each in conditions.items()]
        return [count.label("targets"), *counted]
