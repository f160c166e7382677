"""The days within which a project wants its findings closed, where it has its own."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue, Kind
from mesh.contract.names import collection_of, tenant_of
from mesh.sql.references import ID
from mesh.sql.store import TENANT, Store

SLA_DAYS, PROJECT = "sla_days", "project_id"
Days = Mapping[str, int]
"""By severity in lower case; a severity without days is never due."""


class ProjectDays:
    """Reads the days of projects: a project states them itself, or its settings do.

    Which kinds state days follows from the contract: those with a field ``sla_days``. Where such
    a record refers to a project they are that project's, otherwise its own.
    """

    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store = store
        self._stated: defaultdict[str, list[tuple[Kind, str]]] = defaultdict(list)
        for collection, kind in catalogue.record_kinds.items():
            if SLA_DAYS not in kind.descriptor.fields_by_name:
                continue
            project = kind.references.get(PROJECT)
            column = ID if project is None else PROJECT
            owner = collection if project is None else project.text.split("/")[2]
            self._stated[owner].append((kind, column))

    async def of(self, connection: AsyncConnection, project: str) -> Days | None:
        """Give the days of a project by its name; None if it states none."""
        for kind, column in self._stated.get(collection_of(project) or "", ()):
            target = self._store.target(kind.collection)
            tenant, columns = tenant_of(project) or "", [TENANT, ID, SLA_DAYS]
            wanted = target.table.c[column] == project.rpartition("/")[2]
            statement = self._store.select(kind.collection, tenant, columns).where(wanted)
            for row in await self._store.fetch(statement.limit(1), connection):
                body = _body(kind, target.codec.decoder(columns)(row))
                if body.HasField(SLA_DAYS):
                    return {field.name: value for field, value in body.sla_days.ListFields()}
        return None

    async def of_findings(
        self, connection: AsyncConnection, bodies: Iterable[Any]
    ) -> Mapping[str, Days | None]:
        """Give the days of each project that findings belong to, by its name."""
        return {each: await self.of(connection, each) for each in set(_projects(bodies))}


def project_of(body: Any) -> str:
    """Give the project of a finding; empty if its kind belongs to none."""
    return str(body.project_id) if PROJECT in body.DESCRIPTOR.fields_by_name else ""


def _projects(bodies: Iterable[Any]) -> Iterator[str]:
    return (name for name in map(project_of, bodies) if name)


def _body(kind: Kind, record: Any) -> Any:
    return getattr(record, kind.body_field or "")
