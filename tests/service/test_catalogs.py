"""CatalogService over gRPC: catalogs are loaded, read, replaced, deleted; others see nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.api.httpbody_pb2 import HttpBody

from mesh.client import CallRefused, open_channel
from mesh.identity.keys import sign_token
from mesh.sql.tenant_removal import TenantRemoval
from secmesh.inventory.v1 import catalog_service_pb2 as api
from secmesh.inventory.v1 import catalog_service_pb2_grpc as stubs
from secmesh.inventory.v1.catalog_pb2 import Catalog
from services.inventory import light_page
from services.inventory.catalog_servicer import CatalogServicer
from services.inventory.catalogs.catalog_reading import read_catalog
from services.inventory.catalogs.catalog_store import SP_800_53, CatalogStore
from tests.service.compliance_world import CATALOGUE, NOW, World, new_world
from tests.service.server_fixtures import PACKAGE, Running, running
from tests.unit.oscal_catalog import catalog, written

SAMPLES = Path(__file__).parents[2].parent / "shared" / "samples" / "oscal"


@dataclass
class Site:
    """The service over one store, called by people of two tenants."""

    world: World
    server: Running
    stub: "stubs.CatalogServiceAsyncStub"
    now: datetime = NOW

    def by(self, tenant: str, role: str) -> Any:
        token = sign_token(self.server.keys, subject="ann", tenant=tenant, roles=[role])
        return (("authorization", f"Bearer {token}"),)

    async def load(
        self, content: bytes, tenant: str = "acme", role: str = "admin", **more: Any
    ) -> Catalog:
        half = len(content) // 2
        first = api.UploadCatalogRequest(
            parent=f"tenants/{tenant}",
            catalog_id=SP_800_53,
            file=HttpBody(data=content[:half]),
            **more,
        )
        rest = api.UploadCatalogRequest(file=HttpBody(data=content[half:]))
        return await self.stub.UploadCatalog(iter([first, rest]), metadata=self.by(tenant, role))

    async def get(self, tenant: str = "acme", role: str = "viewer") -> Catalog:
        request = api.GetCatalogRequest(name=name_of(tenant))
        return await self.stub.GetCatalog(request, metadata=self.by(tenant, role))

    async def delete(self, tenant: str = "acme", role: str = "admin", etag: str = "") -> None:
        request = api.DeleteCatalogRequest(name=name_of(tenant), etag=etag)
        await self.stub.DeleteCatalog(request, metadata=self.by(tenant, role))

    async def titles(self, tenant: str = "acme", **more: Any) -> list[str]:
        """Give the titles of the controls, page by page."""
        found: list[str] = []
        request = api.ListCatalogControlsRequest(parent=name_of(tenant), **more)
        while True:
            page = await self.stub.ListCatalogControls(request, metadata=self.by(tenant, "viewer"))
            found += [each.title for each in page.controls]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


def name_of(tenant: str) -> str:
    return f"tenants/{tenant}/catalogs/{SP_800_53}"


@pytest.fixture
async def site(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    async with new_world(tmp_path, database) as world:
        sites: list[Site] = []

        def register(server: grpc.aio.Server) -> None:
            servicer = CatalogServicer(CatalogStore(world.store), lambda: sites[0].now)
            stubs.add_CatalogServiceServicer_to_server(servicer, server)

        async with (
            running(tmp_path, catalogue=CATALOGUE, register=register) as server,
            open_channel(server.address, package=PACKAGE) as channel,
        ):
            sites.append(Site(world, server, stubs.CatalogServiceStub(channel)))
            yield sites[0]


async def refusal(call: Any) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        await call
    return refused.value


ALL = [
    "Of a Later Release",
    "Account Management",
    "Disable Accounts",
    "Supervision",
    "Protection of Information at Rest",
]


async def test_a_catalog_is_loaded_read_replaced_and_deleted(site: Site) -> None:
    assert (await refusal(site.get())).reason == "RESOURCE_NOT_FOUND"
    tried = await site.load(written(catalog()), validate_only=True)
    assert (tried.controls, tried.etag) == (5, "")
    assert (await refusal(site.titles())).reason == "RESOURCE_NOT_FOUND"

    made = await site.load(written(catalog()))
    assert await site.get() == made
    assert (made.name, made.controls) == (name_of("acme"), 5)
    assert made.create_time.ToDatetime() == NOW.replace(tzinfo=None)
    assert await site.titles() == await site.titles(page_size=2) == ALL
    assert await site.titles(filter="withdrawn") == ["Supervision"]
    request = api.GetCatalogControlRequest(name=f"{made.name}/controls/ac-2.3")
    control = await site.stub.GetCatalogControl(request, metadata=site.by("acme", "viewer"))
    assert control.parts[0].text.startswith(
        "Switch accounts off within [Assignment: organization-defined time period]"
    )

    # The same document once more changes nothing; another one replaces all of it.
    site.now = NOW + timedelta(days=1)
    assert await site.load(written(catalog())) == made
    shorter = catalog()
    del shorter["catalog"]["controls"]
    assert (await refusal(site.load(written(shorter), etag="0"))).reason == "ETAG_MISMATCH"
    assert await site.get() == made
    changed = await site.load(yaml.safe_dump(shorter).encode(), etag=made.etag)
    assert changed.etag != made.etag
    assert changed.create_time == made.create_time
    assert changed.update_time.ToDatetime() == site.now.replace(tzinfo=None)
    assert await site.titles() == ALL[1:]

    assert (await refusal(site.delete(etag=made.etag))).reason == "ETAG_MISMATCH"
    await site.delete(etag=changed.etag)
    assert (await refusal(site.titles())).reason == "RESOURCE_NOT_FOUND"
    assert (await refusal(site.delete())).reason == "RESOURCE_NOT_FOUND"
    # What is loaded anew holds nothing of what was there.
    await site.load(written(shorter))
    assert await site.titles() == ALL[1:]


async def test_a_broken_document_leaves_what_was_loaded(site: Site) -> None:
    made = await site.load(written(catalog()))
    broken = catalog()
    broken["catalog"]["groups"][1]["controls"][0]["title"] = 7
    refused = await refusal(site.load(written(broken)))
    assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "CATALOG_INVALID")
    assert refused.metadata["pointer"] == "/catalog/groups/1/controls/0/title"
    assert await site.get() == made
    assert await site.titles() == ALL


async def test_of_two_documents_at_once_one_is_there_whole(site: Site) -> None:
    catalogs = CatalogStore(site.world.store)
    shorter = catalog()
    del shorter["catalog"]["groups"]
    shorter["catalog"]["controls"].append({"id": "at-2", "title": "Awareness"})
    texts = [read_catalog(name_of("acme"), written(each)) for each in (catalog(), shorter)]
    for _ in range(3):
        await asyncio.gather(*(catalogs.replace(text, "", NOW) for text in texts))
        there = await site.get()
        of = next(text for text in texts if text.catalog.document_sha256 == there.document_sha256)
        assert await site.titles() == [each.title for each in of.controls]


async def test_other_tenants_see_and_lose_nothing(site: Site) -> None:
    await site.load(written(catalog()))
    theirs = catalog()
    del theirs["catalog"]["groups"]
    theirs["catalog"]["controls"].append({"id": "at-2", "title": "Theirs"})
    await site.load(written(theirs), tenant="beta")
    assert await site.titles("beta") == ["Of a Later Release", "Theirs"]
    request = api.GetCatalogRequest(name=name_of("acme"))
    crossing = site.stub.GetCatalog(request, metadata=site.by("beta", "admin"))
    assert (await refusal(crossing)).reason == "RESOURCE_NOT_FOUND"
    await site.delete("beta")
    assert await site.titles() == ALL


async def test_a_tenant_that_leaves_takes_its_catalog_along(site: Site) -> None:
    await site.load(written(catalog()))
    await site.load(written(catalog()), tenant="beta")
    done = await TenantRemoval(site.world.store).remove("acme", 600)
    assert (done.removed["catalogs"], done.removed["catalog_controls"]) == (1, 5)
    assert await site.titles("beta") == ALL
    store = site.world.store
    assert not (await store.page("catalogs", "tenants/acme")).items
    assert not (await store.page("catalog_controls", name_of("acme"))).items


@pytest.mark.parametrize("role", ["viewer", "auditor", "operator"])
async def test_only_administrators_load_and_delete(site: Site, role: str) -> None:
    await site.load(written(catalog()))
    refused = await refusal(site.load(written(catalog()), role=role))
    assert (refused.reason, refused.metadata["permission"]) == (
        "PERMISSION_MISSING",
        "inventory.catalogs.create",
    )
    assert (await refusal(site.delete(role=role))).reason == "PERMISSION_MISSING"
    assert (await site.get(role=role)).controls == 5


async def test_pages_of_long_texts_are_shorter_and_none_is_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.load(written(catalog()))
    monkeypatch.setattr(light_page, "MAX_PAGE_BYTES", 1500)
    assert await site.titles() == ALL


async def test_a_catalog_of_another_framework_is_refused(site: Site) -> None:
    sample = SAMPLES / "examples/catalog/json/basic-catalog.json"
    if not sample.is_file():
        pytest.skip("OSCAL's samples are not there")
    refused = await refusal(site.load(sample.read_bytes()))
    assert refused.reason == "CATALOG_INVALID"
    assert "no control of SP 800-53" in str(refused)


async def test_a_framework_that_is_not_known_is_refused(site: Site) -> None:
    request = api.UploadCatalogRequest(parent="tenants/acme", catalog_id="iso-27001-2022")
    upload = site.stub.UploadCatalog(iter([request]), metadata=site.by("acme", "admin"))
    assert (await refusal(upload)).reason == "FIELD_INVALID"
