"""A SQLite store with a row of everything, to be moved, and what is asked of it."""

import asyncio
import atexit
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings

from mesh.contract.catalogue import Kind
from mesh.errors import ResourceExists
from mesh.identity.keys import sign_token
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.inventory.v1 import (
    assessment_requests_pb2,
    compliance_service_pb2_grpc,
    control_service_pb2_grpc,
    record_service_pb2_grpc,
    ssp_requests_pb2,
    sync_service_pb2_grpc,
)
from secmesh.inventory.v1 import control_service_pb2 as controls
from secmesh.inventory.v1 import sync_service_pb2 as syncs
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from secmesh.records.v1 import record_requests_pb2 as records
from tests.derived import tables_of
from tests.service.collect_world import CATALOGUE, TENANT
from tests.service.compliance_world import SSP, document, requirement
from tests.service.controls_site import control
from tests.service.store_world import Kept, fill, kept
from tests.unit.sql_messages import messages

TENANTS = ("acme", "beta", "gamma")
ALL = "gamma"
"""The tenant that has rows of every kind."""
PAGE_KEY = "the same key for both servers"


@asynccontextmanager
async def served_at(url: str, home: Path) -> AsyncIterator[Kept]:
    """Serve one of the two stores."""
    async with kept(url, home, page_key=PAGE_KEY) as world:
        yield world


@cache
def filled_file() -> Path:
    """Make the file of such a store, once for each process of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="secmesh-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    async def make() -> None:
        async with served_at(f"sqlite:///{folder}/store.db", folder) as world:
            await fill_all(world)

    with ThreadPoolExecutor(1) as thread:
        # The test that asks first has a loop of its own.
        thread.submit(asyncio.run, make()).result()
    return folder / "store.db"


async def fill_all(world: Kept) -> None:
    """Write a plan, its assessment, a control, accounts with history, and rows of every kind."""
    await fill(world)
    async with world.channel(_token(world)) as channel:
        plans = compliance_service_pb2_grpc.ComplianceServiceStub(channel)
        plan = document(requirement("sc-28.1"), requirement("ac-2"), requirement("at-2"))
        await plans.ImportSsp(
            ssp_requests_pb2.ImportSspRequest(parent=TENANT, ssp_id="main", document=plan)
        )
        await control_service_pb2_grpc.ControlServiceStub(channel).CreateControl(
            controls.CreateControlRequest(
                parent=TENANT,
                control_id="kms-only",
                control=control(),
                request_id="11111111-1111-4111-8111-111111111111",
            )
        )
        async for _ in plans.Evaluate(assessment_requests_pb2.EvaluateRequest(ssp=SSP)):
            pass
    for kind in CATALOGUE.kinds.values():
        for message in drawn(kind):
            with contextlib.suppress(ResourceExists):
                await world.put(kind.collection, message)


def drawn(kind: Kind) -> list[Message]:
    """Give some messages of a kind with anything in them that it may hold."""
    found: list[Message] = []

    @settings(
        max_examples=3,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(kind, ALL))
    def keep(message: Any) -> None:
        # No server takes them for runs that it is to go on with.
        if isinstance(message, Sync):
            message.state = Sync.STATE_SUCCEEDED
        elif isinstance(message, SyncUnit):
            message.ClearField("owner")
            message.ClearField("lease_expire_time")
        found.append(message)

    keep()
    return found


async def messages_of(url: str) -> dict[tuple[str, str], list[bytes]]:
    """Read every message of every tenant, and the answers that were kept."""
    engine = open_engine(url)
    store = Store(engine, tables_of(CATALOGUE), page_key=b"k" * 32)
    found: dict[tuple[str, str], list[bytes]] = {}
    try:
        for collection in store.tables:
            for tenant in TENANTS:
                chosen = store.select(collection, tenant, past=True)
                read = await store.messages(collection, chosen)
                found[collection, tenant] = sorted(
                    each.SerializeToString(deterministic=True) for each in read
                )
        assert store.tables.answers is not None
        async with store.connection() as connection:
            rows = await connection.execute(sa.select(store.tables.answers))
            found["answers", ""] = sorted(repr(tuple(row)).encode() for row in rows)
    finally:
        await engine.dispose()
    return found


async def answers_of(world: Kept) -> dict[str, Any]:
    """Ask the server all that callers ask of what is stored."""
    async with world.channel(_token(world)) as channel:
        read = record_service_pb2_grpc.RecordServiceStub(channel)
        plans = compliance_service_pb2_grpc.ComplianceServiceStub(channel)
        own = control_service_pb2_grpc.ControlServiceStub(channel)
        runs = sync_service_pb2_grpc.SyncServiceStub(channel)
        made = await plans.ListAssessments(
            assessment_requests_pb2.ListAssessmentsRequest(parent=TENANT)
        )
        (assessment,) = made.assessments
        user = f"{TENANT}/iam_users/a"
        asked: dict[str, Any] = {
            "users": read.ListRecords(
                records.ListRecordsRequest(parent=f"{TENANT}/iam_users", page_size=1)
            ),
            "versions": read.ListRecordVersions(records.ListRecordVersionsRequest(parent=user)),
            "record": read.GetRecord(records.GetRecordRequest(name=user)),
            "runs": runs.ListSyncs(syncs.ListSyncsRequest(parent=TENANT)),
            "manifest": runs.ListManifestEntries(
                syncs.ListManifestEntriesRequest(parent=f"{TENANT}/syncs/s1")
            ),
            "plan": plans.GetSsp(ssp_requests_pb2.GetSspRequest(name=SSP)),
            "passages": plans.ListPassages(ssp_requests_pb2.ListPassagesRequest(parent=SSP)),
            "verdicts": plans.ListVerdicts(
                assessment_requests_pb2.ListVerdictsRequest(parent=assessment.name)
            ),
            "controls": own.ListControls(controls.ListControlsRequest(parent=TENANT)),
        }
        return {"assessments": made} | {name: await call for name, call in asked.items()}


def _token(world: Kept) -> str:
    return sign_token(world.home / "keys", subject="ann", tenant="acme", roles=["admin"])
