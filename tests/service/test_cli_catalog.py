"""`secmesh compliance catalog` against the real service, and what reports make of it."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from mesh.client import open_channel
from secmesh.inventory.v1 import catalog_service_pb2_grpc as stubs
from secmesh.inventory.v1 import compliance_service_pb2_grpc
from services.inventory.catalog_servicer import CatalogServicer
from services.inventory.catalogs.catalog_store import CatalogStore
from services.inventory.compliance_servicer import ComplianceServicer
from tests.service.compliance_served import Served, estate
from tests.service.compliance_world import (
    CATALOGUE,
    NOW,
    SSP,
    document,
    new_world,
    requirement,
    tenant_checks,
)
from tests.service.crypto_command import Command
from tests.service.server_fixtures import PACKAGE, running
from tests.unit.oscal_catalog import catalog, written

COMMAND = ("compliance", "catalog")


@dataclass
class Site:
    """Both services over one store, and the command."""

    served: Served
    run: Command


@pytest.fixture
async def site(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    async with new_world(tmp_path, database) as world:

        def register(server: grpc.aio.Server) -> None:
            stubs.add_CatalogServiceServicer_to_server(
                CatalogServicer(CatalogStore(world.store), lambda: NOW), server
            )
            servicer = ComplianceServicer(world.store, tenant_checks(world.store), lambda: NOW)
            compliance_service_pb2_grpc.add_ComplianceServiceServicer_to_server(servicer, server)

        async with (
            running(tmp_path, catalogue=CATALOGUE, register=register) as server,
            open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
        ):
            stub = compliance_service_pb2_grpc.ComplianceServiceStub(channel)
            yield Site(Served(world, server, stub), Command(server.address, server.keys, "acme"))


async def test_a_catalog_is_imported_shown_listed_and_removed(site: Site, tmp_path: Path) -> None:
    run = site.run
    file = tmp_path / "catalog.json"
    file.write_bytes(written(catalog()))
    tried = await run.run("-o", "json", *COMMAND, "import", str(file), "--dry-run")
    assert tried.exit_code == 0, tried.output
    told = " ".join(tried.stderr.split())
    assert "Unknown to this release: 1, such as si-99" in told
    assert "Parameters without a label: 1, such as ac-02_odp.05" in told
    assert "/catalog/controls/1/id: 'local-1' is no id of a control" in told
    assert (await run.run(*COMMAND, "show")).exit_code != 0
    made = await run.json(*COMMAND, "import", str(file))
    assert made == await run.json(*COMMAND, "show")
    assert made["controls"] == 5

    for name in ("ac-2", "AC-2", "ac-02"):
        text = (await run.run(*COMMAND, "show", name)).stdout
        assert text.startswith("AC-2 Account Management\n  a. Say which accounts there may be;\n")
        assert "\n    1. Look monthly;\n" in text
        assert "\nGuidance\nAccounts are of many kinds.\n" in text
        assert "\nEnhancements: ac-2.3\n" in text
    assert (await run.json(*COMMAND, "show", "AC-02 (03)"))["label"] == "AC-2(3)"
    gone = (await run.run(*COMMAND, "show", "ac-13")).stdout
    assert gone.startswith("AC-13 Supervision\nWithdrawn: see ac-2, au-6_smt.a\n")
    listed = await run.json(*COMMAND, "ls", "--filter", "withdrawn")
    assert [each["label"] for each in listed] == ["AC-13"]

    await run.json(*COMMAND, "rm", "--etag", made["etag"])
    assert (await run.run(*COMMAND, "show", "ac-2")).exit_code != 0


async def test_a_file_that_is_no_catalog_is_refused(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text("profile: {}\n")
    refused = await site.run.run(*COMMAND, "import", str(file))
    assert refused.exit_code != 0
    assert "model is profile, not catalog" in " ".join(re.sub("│", "", refused.stderr).split())


async def test_reports_show_the_words_once_they_are_loaded(site: Site, tmp_path: Path) -> None:
    await estate(site.served)
    await site.served.assessment()
    report = ("compliance", "report", "--format")
    before = {form: (await site.run.run(*report, form)).stdout for form in ("md", "html")}
    loaded = catalog()
    loaded["catalog"]["groups"][1]["controls"] = [
        {
            "id": "sc-28.1",
            "title": "Cryptographic Protection",
            "parts": [{"id": "sc-28.1_smt", "name": "statement", "prose": "Encrypt what rests."}],
        }
    ]
    file = tmp_path / "catalog.json"
    file.write_bytes(written(loaded))
    await site.run.json(*COMMAND, "import", str(file))
    for form, old in before.items():
        done = await site.run.run(*report, form)
        assert done.exit_code == 0, done.output
        assert "Encrypt what rests." in done.stdout
        assert "Encrypt what rests." not in old
        assert SSP in old


async def test_statements_that_the_catalog_does_not_have_are_issues_of_a_plan(
    site: Site, tmp_path: Path
) -> None:
    wanted = requirement("ac-2")
    statements = [
        {"statement-id": each, "uuid": uuid, "by-components": wanted["by-components"]}
        for each, uuid in (
            ("ac-2_smt.b.1", "40000000-0000-4000-8000-000000000001"),
            ("ac-2_stmt.q", "40000000-0000-4000-8000-000000000002"),
            ("ac-3_smt.q", "40000000-0000-4000-8000-000000000003"),
        )
    ]
    plan = document(
        {"uuid": wanted["uuid"], "control-id": "ac-2", "statements": statements},
        requirement("sc-8"),
    )
    before = [each.problem for each in (await site.served.import_ssp(plan)).issues]
    file = tmp_path / "catalog.json"
    file.write_bytes(written(catalog()))
    await site.run.json(*COMMAND, "import", str(file))
    made = await site.served.import_ssp(plan)
    (new,) = [each for each in made.issues if each.problem not in before]
    assert new.problem == "ac-2_smt.q is no statement of ac-2 in the catalog"
    assert new.pointer.startswith("/system-security-plan/control-implementation/")
    assert made.claims == 4
