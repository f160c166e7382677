"""The project that a report is about, in each of the three kinds of projects."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import collection_of
from mesh.errors import FieldInvalid
from secmesh.security.v1.record_pb2 import Record
from services.security.import_fill import fill
from services.security.import_store import Draft, ReportStore

_NAMED_BY = {"projects": "key", "sast_projects": "key", "dast_projects": "name"}
"""By what a project is known, in each kind."""


@dataclass
class Projects:
    """Finds the projects of one import, and makes those that are missing.

    `wanted` is the name of a record of any kind of project, or what projects are known by.
    """

    records: ReportStore
    wanted: str
    branch: str
    target: str
    _found: dict[str, str] = field(default_factory=dict)

    async def name(self, connection: AsyncConnection, collection: str) -> str:
        """Give the name of the project in a collection. Raises FieldInvalid, ResourceNotFound."""
        if collection not in self._found:
            self._found[collection] = await self._name(connection, collection)
            await self.records.learn_days(connection, self._found[collection])
        return self._found[collection]

    async def is_known(self, connection: AsyncConnection, collection: str) -> bool:
        """Tell whether the project is there already. Raises as ``name`` does."""
        record = await self._record(connection, collection)
        return bool(await self.records.known(connection, collection, record))

    async def _name(self, connection: AsyncConnection, collection: str) -> str:
        record = await self._record(connection, collection)
        name = await self.records.known(connection, collection, record)
        if name:
            return name
        draft = Draft(record)
        await self.records.write(connection, collection, [draft])
        if draft.error is not None:
            raise FieldInvalid.of("project", draft.error.message) from draft.error
        return draft.name

    async def _record(self, connection: AsyncConnection, collection: str) -> Any:
        if not self.wanted:
            raise FieldInvalid.of("project", "is needed for the findings of this format")
        key = await self.key(connection)
        record = Record()
        fill(self.records.store.target(collection).kind, record, self._values(collection, key))
        return record

    async def key(self, connection: AsyncConnection) -> str:
        """Give by what the wanted project is known. Raises FieldInvalid, ResourceNotFound."""
        if not self.wanted.startswith("tenants/"):
            return self.wanted
        collection = collection_of(self.wanted) or ""
        field_name = _NAMED_BY.get(collection)
        if field_name is None:
            raise FieldInvalid.of("project", f"is none of {', '.join(_NAMED_BY)}")
        if not self.wanted.startswith(f"tenants/{self.records.tenant}/"):
            raise FieldInvalid.of("project", "is of another tenant", "PARENT_MISMATCH")
        record: Any = await self.records.store.get(collection, self.wanted, connection=connection)
        kind = self.records.store.target(collection).kind
        return str(getattr(getattr(record, kind.body_field or ""), field_name))

    def _values(self, collection: str, key: str) -> dict[str, object]:
        if collection == "sast_projects":
            return {"key": key, "name": key, "qualifier": "PROJECT", "main_branch": self.branch}
        if collection == "dast_projects":
            return {
                "name": key,
                "target_url": self.target,
                # Nothing is known of it: it is not treated as one that may be attacked.
                "environment": "PRODUCTION",
                "auth_method": "NONE",
                "ownership_verified": False,
            }
        return {"key": key, "name": key, "status": "ACTIVE", "criticality": "MEDIUM"}
