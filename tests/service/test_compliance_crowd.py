"""Many evaluations at once leave the store to other calls, and the service healthy."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.identity.keys import create_signing_key
from mesh.server import deployable
from mesh.sql.engine import Pool, open_engine
from secmesh.inventory.v1 import assessment_requests_pb2 as api
from services.inventory import __main__ as service
from services.inventory.compliance.assessor import EVALUATIONS, Assessor
from services.inventory.settings import InventorySettings
from tests.inventory_store import store_variables
from tests.service.compliance_world import (
    LISTINGS,
    NOW,
    SSP,
    TENANT,
    document,
    new_world,
    requirement,
    tenant_checks,
)

SECONDS = 60
POOL = 16
"""Connections that an engine opens at most."""


async def test_evaluations_take_turns_and_leave_connections_to_lists(tmp_path: Path) -> None:
    async with new_world(tmp_path) as world:
        await world.plan(document(requirement("ac-2")))
        await world.sync(LISTINGS)
        assessor = Assessor(world.store, tenant_checks(world.store), lambda: NOW)
        async with AsyncExitStack() as held, asyncio.timeout(SECONDS):
            running = [assessor.evaluate(SSP, ()) for _ in range(EVALUATIONS)]
            for events in running:
                await held.enter_async_context(aclosing(events))
                await anext(events)
            late = await held.enter_async_context(aclosing(assessor.evaluate(SSP, ())))
            first = asyncio.ensure_future(anext(late))
            done, _ = await asyncio.wait({first}, timeout=0.3)
            assert not done
            assert (await world.store.page("ssps", TENANT)).items
            await running[0].aclose()  # a caller leaves, the next one's turn comes
            assert isinstance(await first, api.EvaluateProgress)


async def test_an_evaluation_that_is_left_begins_no_more(tmp_path: Path) -> None:
    async with new_world(tmp_path) as world:
        await world.plan(document(requirement("ac-2"), requirement("ia-5.1")))
        await world.sync(LISTINGS)
        assessor = Assessor(world.store, tenant_checks(world.store), lambda: NOW)
        before = asyncio.all_tasks()
        async with asyncio.timeout(SECONDS), aclosing(assessor.evaluate(SSP, ())) as events:
            progress = [await anext(events), await anext(events)]
            assert asyncio.all_tasks() > before  # the next checks are prepared
        assert asyncio.all_tasks() == before
        assert isinstance(progress[1], api.EvaluateProgress)
        assert 0 < progress[1].checks_done < progress[1].checks
        again = await world.evaluate()
        assert again.progress[-1].checks_done == again.progress[-1].checks


async def test_a_service_whose_connections_are_all_in_use_stays_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[AsyncEngine] = []

    def open_and_remember(url: str, pool: Pool) -> AsyncEngine:
        engines.append(open_engine(url, pool))
        return engines[-1]

    monkeypatch.setattr(deployable, "open_engine", open_and_remember)
    create_signing_key(tmp_path / "keys")
    for name, value in store_variables(tmp_path).items():
        monkeypatch.setenv(name, value)
    settings = InventorySettings(home=tmp_path, readiness_seconds=0.7, drain_seconds=0)
    server = await service.build_server(settings)
    try:
        await server.start()
        async with AsyncExitStack() as held:
            for _ in range(POOL):
                await held.enter_async_context(engines[0].connect())
            await asyncio.sleep(3)  # several checks
            async with grpc.aio.insecure_channel(server.address) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                answer = await stub.Check(health_pb2.HealthCheckRequest())
                async with asyncio.timeout(SECONDS):
                    # A busy machine is late with some of them.
                    while answer.status != health_pb2.HealthCheckResponse.SERVING:
                        await asyncio.sleep(0.05)
                        answer = await stub.Check(health_pb2.HealthCheckRequest())
    finally:
        await server.stop()
