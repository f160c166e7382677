"""The SQL of controls: each with its versions, written together."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import EtagMismatch, FieldInvalid, ResourceExists, ResourceNotFound
from mesh.records.etag import bytes_of
from mesh.sql import engine as dialect
from mesh.sql.paging import Page
from mesh.sql.store import Store
from secmesh.inventory.v1 import control_pb2
from services.inventory.controls.tenant_checks import CONTROLS, VERSIONS

MAX_CONTROLS = 1000
"""Controls of a tenant: each evaluation weighs all that its plan claims."""
BY_NUMBER = "version desc"
Edit = Callable[[control_pb2.Control], control_pb2.Control]


class ControlStore:
    """Keeps controls."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def create(
        self, connection: AsyncConnection, control: control_pb2.Control, stamp: Timestamp
    ) -> control_pb2.Control:
        """Store a new control as version 1; ResourceExists, FieldInvalid if there are too many."""
        tenant = tenant_of(control.name) or ""
        await dialect.take_turn(connection, f"{CONTROLS}/{tenant}")
        counted = self.store.select(CONTROLS, tenant, ("id",)).subquery()
        number = await connection.scalar(sa.select(sa.func.count()).select_from(counted))
        if (number or 0) >= MAX_CONTROLS:
            raise FieldInvalid.of("parent", f"has {MAX_CONTROLS} controls and may have no more")
        control.create_time.CopyFrom(stamp)
        return await self._write(connection, control, 1, stamp)

    async def update(
        self,
        connection: AsyncConnection,
        old: control_pb2.Control,
        new: control_pb2.Control,
        stamp: Timestamp,
    ) -> control_pb2.Control:
        """Store the next version of a control; the old one is given if nothing changed."""
        if same(old, new):
            return old
        new.create_time.CopyFrom(old.create_time)
        return await self._write(connection, new, old.version + 1, stamp)

    async def delete(self, connection: AsyncConnection, name: str, etag: str) -> None:
        """Remove a control and its versions; EtagMismatch, ResourceNotFound."""
        held(await self.control(name, connection), etag)
        tenant, control_id = name.split("/")[1::2]
        table = self.store.target(CONTROLS).table
        await self.store.delete_under(connection, VERSIONS, name)
        statement = self.store.delete(CONTROLS, tenant).where(table.c.id == control_id)
        await connection.execute(statement)

    async def control(
        self, name: str, connection: AsyncConnection | None = None
    ) -> control_pb2.Control:
        """Give a control; ResourceNotFound."""
        found = await self.store.get(CONTROLS, name, connection=connection)
        return cast("control_pb2.Control", found)

    async def version(self, name: str) -> control_pb2.ControlVersion:
        """Give a version of a control; ResourceNotFound."""
        found = await self.store.get(VERSIONS, name)
        return cast("control_pb2.ControlVersion", found)

    async def all(self, tenant: str) -> list[control_pb2.Control]:
        """Give a tenant's controls, by id."""
        table = self.store.target(CONTROLS).table
        statement = self.store.select(CONTROLS, tenant).order_by(table.c.id)
        found = await self.store.messages(CONTROLS, statement)
        return cast("list[control_pb2.Control]", found)

    async def page(
        self,
        parent: str,
        *,
        filter: str,  # noqa: A002  # AIP-132's own name
        page_size: int,
        page_token: str,
    ) -> Page:
        """Give a page of a tenant's controls, by id."""
        return await self.store.page(
            CONTROLS, parent, filter=filter, page_size=page_size, page_token=page_token
        )

    async def versions(
        self,
        parent: str,
        *,
        filter: str,  # noqa: A002  # AIP-132's own name
        page_size: int,
        page_token: str,
    ) -> Page:
        """Give a page of a control's versions, the newest first; ResourceNotFound."""
        await self.control(parent)
        return await self.store.page(
            VERSIONS,
            parent,
            filter=filter,
            order_by=BY_NUMBER,
            page_size=page_size,
            page_token=page_token,
        )

    async def existing(
        self, connection: AsyncConnection, names: Sequence[str]
    ) -> dict[str, control_pb2.Control]:
        """Give those of these controls that there are, by name."""
        found: dict[str, control_pb2.Control] = {}
        for name in names:
            try:
                found[name] = await self.control(name, connection)
            except ResourceNotFound:
                continue
        return found

    async def _write(
        self,
        connection: AsyncConnection,
        control: control_pb2.Control,
        version: int,
        stamp: Timestamp,
    ) -> control_pb2.Control:
        control.version = version
        control.update_time.CopyFrom(stamp)
        control.etag = f"v{version}"
        kept = control_pb2.ControlVersion(
            name=f"{control.name}/versions/{version}", version=version, control=control
        )
        kept.create_time.CopyFrom(stamp)
        # The version is new or the write fails: of two writers one is refused.
        try:
            await self.store.insert(connection, VERSIONS, [kept])
        except ResourceExists:
            raise (ResourceExists if version == 1 else EtagMismatch)(control.name) from None
        await self.store.upsert(connection, CONTROLS, [control])
        return control


def held(control: control_pb2.Control, etag: str) -> None:
    """Raise EtagMismatch unless a control has the etag, if there is one."""
    if etag and etag != control.etag:
        raise EtagMismatch(control.name)


def same(old: control_pb2.Control, new: control_pb2.Control) -> bool:
    """Tell whether two controls say the same, whenever they were stored."""
    return bytes_of(content(old)) == bytes_of(content(new))


def content(control: control_pb2.Control) -> control_pb2.Control:
    """Give what callers write of a control."""
    kept = control_pb2.Control(
        check=control.check, description=control.description, disabled=control.disabled
    )
    kept.fixtures.extend(control.fixtures)
    return kept


def names_of(controls: Iterable[control_pb2.Control]) -> list[str]:
    """Give the names of controls."""
    return [each.name for each in controls]
