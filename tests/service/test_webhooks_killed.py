"""Processes that send webhooks are killed in the middle, and tenants leave in the middle of it."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.client import CallRefused, open_channel
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key, sign_token
from mesh.sealing.keyring import create_keys
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import webhook_service_pb2 as api
from secmesh.inventory.v1.tenant_removal_service_pb2_grpc import TenantRemovalServiceStub
from secmesh.inventory.v1.webhook_pb2 import Webhook, WebhookDelivery
from secmesh.inventory.v1.webhook_service_pb2_grpc import WebhookServiceStub
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest
from services.inventory.__main__ import open_store
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.settings import InventorySettings
from services.inventory.webhooks.tables import DELIVERIES, SECRETS, WEBHOOKS
from tests.service.collect_world import CATALOGUE
from tests.service.compliance_world import NOW
from tests.service.sync_process import service
from tests.service.webhook_receiver import OK, Receiver

LEAVING, STAYING = "acme", "beta"
LOOPBACK = "127.0.0.0/8"
FOUND = 12
"""Contradictions of one assessment."""
pytestmark = pytest.mark.timeout(600)


@dataclass
class Place:
    """A home and a database in which processes serve, and a connection of the test's own."""

    home: Path
    database: str
    store: Store
    assessments: int = 0

    @property
    def keys(self) -> str:
        return str(self.home / "sealing.keys")

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Process"]:
        """Run the service as a process."""
        begun = service(
            self.home,
            AwsEndpoint(Faults()),  # nothing is collected here
            DATABASE_URL=self.database,
            SECMESH_INVENTORY_SEALING_KEYS=self.keys,
            SECMESH_INVENTORY_WEBHOOK_NETWORKS=LOOPBACK,
        )
        with ExitStack() as stack:
            # Receivers answer meanwhile.
            process, address = await asyncio.to_thread(stack.enter_context, begun)
            yield Process(self.home, process, address)

    async def find(self, tenant: str, prefix: str = "c") -> None:
        """Let an assessment contradict claims that none before it did."""
        self.assessments += 1
        name = f"tenants/{tenant}/assessments/a{self.assessments}"
        ssp = f"tenants/{tenant}/ssps/main"
        made = pb.Assessment(name=name, ssp=ssp)
        made.evaluate_time.FromDatetime(NOW + timedelta(hours=self.assessments))
        verdicts = [
            pb.ClaimVerdict(
                name=f"{name}/verdicts/{prefix}{number}",
                claim=f"{ssp}/claims/{prefix}{number}",
                control_id="ac-2",
                verdict=pb.VERDICT_CONTRADICTED,
            )
            for number in range(FOUND)
        ]
        await AssessmentStore(self.store).add(made, verdicts)

    async def deliveries(self, tenant: str) -> list[WebhookDelivery]:
        rows = await self.store.messages(DELIVERIES, self.store.select(DELIVERIES, tenant))
        return [each for each in rows if isinstance(each, WebhookDelivery)]

    async def all_taken(self, tenant: str) -> bool:
        found = await self.deliveries(tenant)
        return bool(found) and all(each.state == WebhookDelivery.STATE_DELIVERED for each in found)

    async def let_leases_end(self, tenant: str) -> None:
        """Let the minute pass for which a process that fell silent keeps others away."""
        columns = self.store.target(DELIVERIES).table.c
        leased = self.store.update(DELIVERIES, tenant).where(columns.lease_expire_time.is_not(None))
        async with self.store.upkeep(tenant) as connection:
            await connection.execute(leased.values(lease_expire_time=0))

    async def rows_of(self, tenant: str) -> Counter[str]:
        """Count what a tenant has of webhooks."""
        found: Counter[str] = Counter()
        async with self.store.whole() as connection:
            for collection in (WEBHOOKS, SECRETS, DELIVERIES):
                table = self.store.target(collection).table
                counted = sa.select(sa.func.count()).where(table.c.tenant_id == tenant)
                found[collection] = await connection.scalar(counted) or 0
        return found


@dataclass
class Process:
    """The service as a process that may be killed."""

    home: Path
    process: Any
    address: str

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    async def create(self, tenant: str, url: str) -> str:
        """Make the tenant's webhook; gives its secret."""
        request = api.CreateWebhookRequest(
            parent=f"tenants/{tenant}", webhook_id="ops", webhook=Webhook(url=url)
        )
        answer = await self._asked(WebhookServiceStub, "CreateWebhook", request, tenant)
        return str(answer.secret)

    async def remove(self, tenant: str) -> None:
        request = RemoveTenantRequest(name=f"tenants/{tenant}", confirm_tenant_id=tenant)
        while not (
            await self._asked(
                TenantRemovalServiceStub, "RemoveTenant", request, "platform", tenants=[tenant]
            )
        ).done:
            pass

    async def _asked(self, stub: Any, call: str, request: Any, tenant: str, **claims: Any) -> Any:
        role = "platform" if tenant == "platform" else "admin"
        token = sign_token(self.home / "keys", subject="ann", tenant=tenant, roles=[role], **claims)
        async with open_channel(self.address, package=CATALOGUE.package, token=token) as channel:
            return await getattr(stub(channel), call)(request)


@pytest.fixture
async def place(tmp_path: Path, database: str) -> AsyncIterator[Place]:
    create_signing_key(tmp_path / "keys")
    create_keys(tmp_path / "sealing.keys")
    settings = InventorySettings(
        home=tmp_path, database_url=database, sealing_keys=str(tmp_path / "sealing.keys")
    )
    store = await open_store(settings, CATALOGUE)
    try:
        yield Place(tmp_path, database, store)
    finally:
        await store.engine.dispose()


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait for what will be so."""
    async with asyncio.timeout(120):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.05)


async def test_processes_killed_while_they_send_lose_nothing(place: Place) -> None:
    secret, silenced = "", []
    async with Receiver() as receiver:
        for taken in (2, 0, 3):
            # Some are taken; while the next one waits for its answer, the process is killed.
            known = len(receiver.received) + taken
            receiver.answers = [OK] * taken + [None]
            async with place.served() as process:
                if not secret:
                    secret = await process.create(LEAVING, receiver.url)
                    await place.find(LEAVING)
                await until(partial(_more_than, receiver, known))
                process.kill()
            silenced.append(receiver.received[known])
            await place.let_leases_end(LEAVING)
        async with place.served():
            await until(partial(place.all_taken, LEAVING))
        received = list(receiver.received)
    deliveries = await place.deliveries(LEAVING)
    assert {each.id for each in received} == {each.name.rpartition("/")[2] for each in deliveries}
    assert len(deliveries) == FOUND
    told = {each.message["data"]["claim"].rpartition("/")[2] for each in received}
    assert told == {f"c{number}" for number in range(FOUND)}
    times = Counter(each.id for each in received)
    assert all(times[each.id] > 1 for each in silenced)
    assert len({(each.id, each.body) for each in received}) == FOUND
    assert all(each.is_signed_by(secret) for each in received)


def _more_than(receiver: Receiver, known: int) -> bool:
    return len(receiver.received) > known


async def test_a_tenant_that_leaves_takes_its_webhooks_along(place: Place) -> None:
    async with Receiver([None] * FOUND) as left, Receiver() as kept, place.served() as process:
        await process.create(LEAVING, left.url)
        await process.create(STAYING, kept.url)
        for tenant in (LEAVING, STAYING):
            await place.find(tenant)
        await until(partial(_more_than, left, 0))
        await until(partial(place.all_taken, STAYING))
        # One is being sent, the others wait.
        await process.remove(LEAVING)
        assert sum((await place.rows_of(LEAVING)).values()) == 0
        assert await place.rows_of(STAYING) == {WEBHOOKS: 1, SECRETS: 1, DELIVERIES: FOUND}
        with pytest.raises(CallRefused) as refused:
            await process.create(LEAVING, left.url)
        assert refused.value.reason == "TENANT_INACTIVE"
        for later in ("d", "e"):
            # What was under way when it left has arrived by the end of the first round.
            gone = len(left.received)
            await place.find(STAYING, later)
            await until(partial(place.all_taken, STAYING))
        assert len(left.received) == gone
        assert len({each.id for each in kept.received}) == 3 * FOUND
