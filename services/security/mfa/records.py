"""The records of users, their devices and backup codes, read and written within a transaction.

The row of the user is locked first, whatever is done to one of their second factors: what one
call counts and takes, another one sees.
"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.records.hashed import HashedFields
from mesh.records.moments import Clock
from mesh.records.writing import RecordWriter
from mesh.sql.references import ID
from mesh.sql.rows import Rows
from mesh.sql.store import Store
from secmesh.security.v1.mfa_device_pb2 import BACKUP_CODE_STATUS_UNUSED, MFA_DEVICE_STATUS_ACTIVE
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from services.security.audit.guard import AuditGuard
from services.security.guards import Guards

DEVICES, CODES = "mfa_devices", "mfa_backup_codes"
_USER, _STATUS, _HASH = "user_id", "status", "code_hash"


class MfaRecords:
    """Finds and writes; nobody's second factor is a refusal here."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock) -> None:
        self._store = store
        self._rows = Rows(store)
        self._writer = RecordWriter(store, catalogue.record_kinds, clock, Guards([AuditGuard()]))
        self._hashed = HashedFields(store.tables.keys)
        self._ids = store.target(DEVICES).table.c[ID]

    async def user(self, connection: AsyncConnection, name: str) -> Any:
        """Give a user with their secrets, whose second factors are ours then; ResourceNotFound."""
        return await self._find(connection, name)

    async def device(self, connection: AsyncConnection, name: str) -> tuple[Any, Any]:
        """Give the user of a device and the device, secrets included; ResourceNotFound."""
        tenant, device = self._store.target(DEVICES).codec.ids(name).values()
        # Looked up before it is locked: users are locked before their devices.
        owner = self._store.select(DEVICES, tenant, [_USER])
        found = await self._store.fetch(owner.where(self._ids == device), connection)
        if not found:
            raise ResourceNotFound(name)
        user = await self.user(connection, f"tenants/{tenant}/users/{found[0][0]}")
        return user, await self._find(connection, name)

    async def devices_of(self, connection: AsyncConnection, user: str, status: int) -> list[Any]:
        """Give a user's devices of one status, with their secrets."""
        return await self._of_user(connection, DEVICES, user, status)

    async def has_active_device(self, connection: AsyncConnection, user: str) -> bool:
        """Tell whether a user has a second factor that counts."""
        return bool(await self.devices_of(connection, user, MFA_DEVICE_STATUS_ACTIVE))

    async def unused_codes(self, connection: AsyncConnection, user: str) -> list[Any]:
        """Give a user's backup codes that were not used, with their hashes."""
        return await self._of_user(connection, CODES, user, BACKUP_CODE_STATUS_UNUSED)

    async def code(self, connection: AsyncConnection, user: str, text: str) -> Any | None:
        """Give the record of a user's backup code in its normal form, whatever its status.

        Its hash is by the present key, to be saved with whatever is done to it.
        """
        target = self._store.target(CODES)
        hashes = self._hashed.known(target.kind, user, _HASH, text)
        found = await self._select(connection, CODES, user, target.table.c[_HASH].in_(hashes))
        for each in found:
            each.mfa_backup_code.code_hash = hashes[0]
        return found[0] if found else None

    async def add(
        self, connection: AsyncConnection, tenant: str, collection: str, body: Any
    ) -> Any:
        """Add a record with this body and give it, without secrets."""
        field = self._store.target(collection).kind.body_field or ""
        record = Record()
        getattr(record, field).CopyFrom(body)
        request = CreateRecordRequest(
            parent=f"tenants/{tenant}/{collection}", record=record, record_id=new_uuid()
        )
        return await self._writer.create(connection, request)

    async def save(self, connection: AsyncConnection, record: Any) -> Any:
        """Write a record that was found here anew, and give it without secrets."""
        target = self._store.target(collection_of(record.name) or "")
        moment = self._writer.stamp(target.kind, record)
        await self._rows.replace(connection, target, record, moment)
        return self.shown(record)

    def shown(self, record: Any) -> Any:
        """Give a record as it is read: without secrets, times to the microsecond."""
        codec = self._store.target(collection_of(record.name) or "").codec
        return codec.message(codec.row(record))

    async def _find(self, connection: AsyncConnection, name: str) -> Any:
        target = self._store.target(collection_of(name) or "")
        found = await self._rows.find(connection, target, name)
        if found is None:
            raise ResourceNotFound(name)
        return found

    async def _of_user(
        self, connection: AsyncConnection, collection: str, user: str, status: int
    ) -> list[Any]:
        column = self._store.target(collection).table.c[_STATUS]
        return await self._select(connection, collection, user, column == status)

    async def _select(
        self, connection: AsyncConnection, collection: str, user: str, condition: Any
    ) -> list[Any]:
        table = self._store.target(collection).table
        statement = self._store.select(collection, tenant_of(user) or "").where(
            table.c[_USER] == user.rpartition("/")[2], condition
        )
        return await self._store.messages(
            collection, statement.with_for_update(), connection=connection, secrets=True
        )
