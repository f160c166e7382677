"""CatalogService: the text of controls over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import cast

from google.protobuf import empty_pb2

from mesh.server.upload import Uploads
from secmesh.inventory.v1 import catalog_service_pb2 as api
from secmesh.inventory.v1 import catalog_service_pb2_grpc
from secmesh.inventory.v1.catalog_pb2 import Catalog, CatalogControl
from services.inventory.catalogs.catalog_reading import read_catalog
from services.inventory.catalogs.catalog_store import CATALOGS, CatalogStore


def _now() -> datetime:
    return datetime.now(UTC)


class CatalogServicer(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Loads catalogs and shows their text."""

    def __init__(self, catalogs: CatalogStore, clock: Callable[[], datetime] = _now) -> None:
        self._catalogs = catalogs
        self._clock = clock
        self._uploads = Uploads()
        self._reading = asyncio.Semaphore(1)

    async def UploadCatalog(  # noqa: N802  # the contract's name
        self, requests: AsyncIterator[api.UploadCatalogRequest], _context: object
    ) -> Catalog:
        # Read one at a time: a document takes many times its size in memory.
        async with self._uploads.received(requests) as (first, file), self._reading:
            name = f"{first.parent}/{CATALOGS}/{first.catalog_id}"
            content = await asyncio.to_thread(file.read)
            # A catalog of megabytes takes seconds to read; other calls go on meanwhile.
            text = await asyncio.to_thread(read_catalog, name, content)
            if first.validate_only:
                return text.catalog
            return await self._catalogs.replace(text, first.etag, self._clock())

    async def GetCatalog(  # noqa: N802  # the contract's name
        self, request: api.GetCatalogRequest, _context: object
    ) -> Catalog:
        return await self._catalogs.catalog(request.name)

    async def ListCatalogs(  # noqa: N802  # the contract's name
        self, request: api.ListCatalogsRequest, _context: object
    ) -> api.ListCatalogsResponse:
        page = await self._catalogs.page(
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[Catalog]", page.items)
        return api.ListCatalogsResponse(catalogs=found, next_page_token=page.next_page_token)

    async def DeleteCatalog(  # noqa: N802  # the contract's name
        self, request: api.DeleteCatalogRequest, _context: object
    ) -> empty_pb2.Empty:
        await self._catalogs.delete(request.name, request.etag)
        return empty_pb2.Empty()

    async def GetCatalogControl(  # noqa: N802  # the contract's name
        self, request: api.GetCatalogControlRequest, _context: object
    ) -> CatalogControl:
        return await self._catalogs.control(request.name)

    async def ListCatalogControls(  # noqa: N802  # the contract's name
        self, request: api.ListCatalogControlsRequest, _context: object
    ) -> api.ListCatalogControlsResponse:
        page = await self._catalogs.controls(
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[CatalogControl]", page.items)
        return api.ListCatalogControlsResponse(controls=found, next_page_token=page.next_page_token)
