"""What a restore puts back is none of the work that processes were in the middle of."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mesh.contract.digest import contract_digest
from mesh.embedded.postgres import Access
from mesh.errors import RevisionGone
from mesh.identifiers import new_uuid
from mesh.records.moments import now
from mesh.sql.backup.progress import Progress
from mesh.sql.backup.tenant import TenantBackup
from mesh.sql.changes import ChangeFeed, Revision
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.workflow_run_pb2 import WorkflowRun
from services.security.workflows.engine import LEASE
from services.security.workflows.run_store import RUNS, LeaseLost, RunStore
from tests.service.audit_world import Tenant, audited_tables, tenant_of
from tests.service.security_world import CATALOGUE


@pytest.fixture
async def tenant(audited_database: Access) -> AsyncIterator[Tenant]:
    async with tenant_of(audited_database, f"t-{new_uuid()[:18]}") as made:
        yield made


def backup_of(tenant: Tenant) -> TenantBackup:
    return TenantBackup(tenant.owner.url, audited_tables(), contract_digest(CATALOGUE))


async def test_a_run_that_comes_back_is_nobodys(tenant: Tenant, tmp_path: Path) -> None:
    runs = RunStore(tenant.store, now, LEASE)
    run = WorkflowRun(name=f"{tenant.parent}/{RUNS}/{new_uuid()}")
    runs.take(run)
    with acting_for(tenant.name):
        async with tenant.store.transaction() as connection:
            await runs.add(connection, run)
        async with tenant.store.transaction() as connection:
            assert (await runs.hold(connection, run.name)).owner == runs.owner
    backup, progress, file = backup_of(tenant), Progress(), tmp_path / "tenant.zip"
    await progress.in_thread(backup.dump, tenant.name, file, progress)

    def load() -> None:
        backup.load(tenant.name, file, progress, replace=True)

    await progress.in_thread(load)
    with acting_for(tenant.name):
        async with tenant.store.transaction() as connection:
            with pytest.raises(LeaseLost):
                await runs.hold(connection, run.name)
    later = RunStore(tenant.store, lambda: now() + 2 * LEASE // timedelta(microseconds=1), LEASE)
    assert (tenant.name, run.name) in await later.due(1000), "another process goes on with it"


async def test_a_revision_of_before_a_restore_is_gone_whatever_its_numbers(
    tenant: Tenant, tmp_path: Path
) -> None:
    feed = ChangeFeed(tenant.store)
    await tenant.create("teams", "one")
    backup, progress, file = backup_of(tenant), Progress(), tmp_path / "tenant.zip"
    await progress.in_thread(backup.dump, tenant.name, file, progress)
    with acting_for(tenant.name):
        epochs = {(await feed.present(tenant.name)).epoch}
    for _ in range(2):

        def load() -> None:
            backup.load(tenant.name, file, progress, replace=True)

        await progress.in_thread(load)
        await tenant.create("teams", new_uuid())
        with acting_for(tenant.name):
            present = await feed.present(tenant.name)
            # As far on as the present, but of another server or of before.
            for epoch in epochs:
                with pytest.raises(RevisionGone):
                    await feed.page(tenant.name, present._replace(epoch=epoch))
            page = await feed.page(tenant.name, Revision.parse(str(present)))
            assert page.revision.epoch == present.epoch
        epochs.add(present.epoch)
    assert len(epochs) == 3
