"""The SQL of catalogs: each with the text of its controls, written together."""

from collections.abc import Collection
from datetime import datetime
from typing import cast

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import EtagMismatch, ResourceNotFound
from mesh.sql.paging import Page
from mesh.sql.store import Store
from secmesh.inventory.v1.catalog_pb2 import Catalog, CatalogControl
from services.inventory.catalogs.catalog_reading import Text
from services.inventory.light_page import light_page

CATALOGS = "catalogs"
CATALOG_CONTROLS = "catalog_controls"
SP_800_53 = "nist-sp-800-53-rev5"
"""Id of the catalog of NIST SP 800-53 rev 5."""
IN_ORDER = "position"
_CHUNK = 500
"""Ids of one IN list; SQLite takes 32,766 parameters."""


class CatalogStore:
    """Keeps catalogs."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def replace(self, text: Text, etag: str, now: datetime) -> Catalog:
        """Store a catalog in place of what had its name; EtagMismatch if that has another etag.

        The same document again leaves the catalog as it was.
        """
        made = Catalog()
        made.CopyFrom(text.catalog)
        async with self.store.transaction() as connection:
            known = await self._known(made.name, connection)
            if etag and (known is None or known.etag != etag):
                raise EtagMismatch(made.name)
            made.create_time.FromDatetime(now)
            made.update_time.FromDatetime(now)
            made.etag = made.document_sha256[:32]
            if known is not None:
                made.create_time.CopyFrom(known.create_time)
                if known.etag == made.etag:
                    made.update_time.CopyFrom(known.update_time)
            await self.store.upsert(connection, CATALOGS, [made])
            await self.store.delete_under(connection, CATALOG_CONTROLS, made.name)
            await self.store.insert(connection, CATALOG_CONTROLS, text.controls)
        return made

    async def delete(self, name: str, etag: str) -> None:
        """Remove a catalog and its text; EtagMismatch, ResourceNotFound."""
        async with self.store.transaction() as connection:
            known = await self.catalog(name, connection)
            if etag and known.etag != etag:
                raise EtagMismatch(name)
            await self.store.delete_under(connection, CATALOG_CONTROLS, name)
            tenant, catalog_id = name.split("/")[1::2]
            table = self.store.target(CATALOGS).table
            statement = self.store.delete(CATALOGS, tenant).where(table.c.id == catalog_id)
            await connection.execute(statement)

    async def catalog(self, name: str, connection: AsyncConnection | None = None) -> Catalog:
        """Give a catalog; ResourceNotFound."""
        return cast("Catalog", await self.store.get(CATALOGS, name, connection=connection))

    async def _known(self, name: str, connection: AsyncConnection) -> Catalog | None:
        try:
            return await self.catalog(name, connection)
        except ResourceNotFound:
            return None

    async def page(
        self,
        parent: str,
        *,
        filter: str,  # noqa: A002  # AIP-132's own name
        page_size: int,
        page_token: str,
    ) -> Page:
        """Give a page of a tenant's catalogs, by id."""
        return await light_page(
            self.store,
            CATALOGS,
            parent,
            filter=filter,
            order_by="",
            page_size=page_size,
            page_token=page_token,
        )

    async def control(self, name: str) -> CatalogControl:
        """Give the text of a control; ResourceNotFound."""
        return cast("CatalogControl", await self.store.get(CATALOG_CONTROLS, name))

    async def controls(
        self,
        parent: str,
        *,
        filter: str,  # noqa: A002  # AIP-132's own name
        page_size: int,
        page_token: str,
    ) -> Page:
        """Give a page of a catalog's text, in the order of the document; ResourceNotFound."""
        await self.catalog(parent)
        return await light_page(
            self.store,
            CATALOG_CONTROLS,
            parent,
            filter=filter,
            order_by=IN_ORDER,
            page_size=page_size,
            page_token=page_token,
        )

    async def texts(self, tenant: str, control_ids: Collection[str]) -> dict[str, CatalogControl]:
        """Give the text of those of these controls of SP 800-53 that a tenant loaded, by id."""
        table = self.store.target(CATALOG_CONTROLS).table
        wanted = sorted(control_ids)
        texts: dict[str, CatalogControl] = {}
        for start in range(0, len(wanted), _CHUNK):
            statement = self.store.select(CATALOG_CONTROLS, tenant).where(
                table.c.catalog_id == SP_800_53, table.c.id.in_(wanted[start : start + _CHUNK])
            )
            found = await self.store.messages(CATALOG_CONTROLS, statement)
            for each in cast("list[CatalogControl]", found):
                texts[each.name.rpartition("/")[2]] = each
        return texts
