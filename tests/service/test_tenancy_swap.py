"""No RPC of the tenancy service tells or changes what is another tenant's, nor do its logs.

The methods come from the server by reflection, the requests from descriptors: an RPC that is added
is attacked by that.
"""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.contract.catalogue import Kind
from mesh.contract.names import NamePattern
from mesh.identity.keys import sign_token
from secmesh.options.v1.kind_pb2 import Kind as KindOption
from secmesh.tenancy.v1 import (
    account_pb2,
    account_service_pb2,
    provider_pb2,
    provider_service_pb2,
    schedule_pb2,
    schedule_service_pb2,
)
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh.tenancy.v1.tenant_service_pb2 import CreateTenantRequest
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.tables import Table
from services.tenancy.store.values import Item
from tests.service.callers import LIFETIME
from tests.service.tenancy_world import CATALOGUE, World, role_account, tenancy_world
from tests.service.tenant_swap import (
    MARK,
    OTHER,
    OWN,
    Answered,
    Planted,
    Swap,
    Writer,
    attacked,
    served_methods,
)

UNIQUE = "7d6ed1a4-6a3c-4f0c-9a55-0c6f2f6f1b11"
MESSAGES: dict[str, Any] = {
    "providers": provider_pb2.Provider,
    "accounts": account_pb2.Account,
    "schedules": schedule_pb2.Schedule,
}
"""What the other tenant has, by collection."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


async def plant(world: World) -> Planted:
    """Give both tenants a provider of one id, and the other one an account; all marked."""
    names, etags, tokens = {}, {}, {}
    for tenant in (OTHER, OWN):
        mark = MARK if tenant == OTHER else "own"
        given = Tenant(tenant_name=mark, description=mark)
        await world.platform().CreateTenant(CreateTenantRequest(tenant=given, tenant_id=tenant))
        provider = provider_pb2.Provider(
            provider_type=provider_pb2.PROVIDER_TYPE_AWS, provider_name=mark
        )
        made = await world.providers(tenant).CreateProvider(
            provider_service_pb2.CreateProviderRequest(
                parent=f"tenants/{tenant}", provider=provider, provider_id="aws", request_id=UNIQUE
            )
        )
        if tenant == OTHER:
            names["providers"], etags["providers"] = made.name, made.etag
    account = role_account(OTHER)
    account.account_name = account.description = MARK
    for number in (1, 2):
        account.cloud_account_id = f"{number:012d}"
        account.role_arn = f"arn:aws:iam::{number:012d}:role/{MARK}"
        created = await world.accounts(OTHER).CreateAccount(
            account_service_pb2.CreateAccountRequest(parent=f"tenants/{OTHER}", account=account)
        )
        names["accounts"], etags["accounts"] = created.name, created.etag
    asked = account_service_pb2.ListAccountsRequest(parent=f"tenants/{OTHER}", page_size=1)
    tokens["accounts"] = (await world.accounts(OTHER).ListAccounts(asked)).next_page_token
    await plant_schedules(world, created.name, names, etags, tokens)
    return Planted(names, tokens, etags, UNIQUE)


async def plant_schedules(
    world: World, account: str, names: dict[str, str], etags: dict[str, str], tokens: dict[str, str]
) -> None:
    """Give the other tenant schedules of its account, one of them with an execution."""
    stub: Any = ScheduleServiceStub(world.channel(OTHER))
    given = schedule_pb2.Schedule(
        account_id=account.rpartition("/")[2],
        schedule_name=MARK,
        description=MARK,
        expression="@daily",
    )
    for _ in range(2):
        made = await stub.CreateSchedule(
            schedule_service_pb2.CreateScheduleRequest(parent=f"tenants/{OTHER}", schedule=given)
        )
    await stub.TriggerSchedule(schedule_service_pb2.TriggerScheduleRequest(name=made.name))
    names["schedules"] = made.name
    etags["schedules"] = (
        await stub.GetSchedule(schedule_service_pb2.GetScheduleRequest(name=made.name))
    ).etag
    asked = schedule_service_pb2.ListSchedulesRequest(parent=f"tenants/{OTHER}", page_size=1)
    tokens["schedules"] = (await stub.ListSchedules(asked)).next_page_token


def kept_of(world: World, tenant: str) -> list[Item]:
    """Give every item of a tenant's partitions, and those that lead to it."""
    store = world.parts.store
    assert isinstance(store, MemoryStore)
    items = [item for table in Table for item in store.items(table)]
    return [
        item
        for item in items
        if str(item["pk"]).partition("#")[0] == tenant or item.get("owner") == tenant
    ]


def collection(name: str) -> Kind:
    """Give a collection as what writes requests knows it."""
    pattern = NamePattern(f"tenants/{{tenant}}/{name}/{{{name}}}")
    descriptor = MESSAGES[name].DESCRIPTOR
    return Kind(descriptor, KindOption(module="tenancy", collection=name), pattern)


def judge(answers: list[Answered]) -> None:
    """Hold each answer against what it may tell."""
    # What was written into one's own is shown again.
    written = b"".join(each.request for each in answers)
    for each in answers:
        what = f"{each.method.path} ({each.label})"
        leaks = [found for found in each.leaks() if found.encode() not in written]
        assert not leaks, f"{what}: {leaks}"
        assert each.code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), what
        names_other = f"tenants/{OTHER}".encode() in each.request
        if each.label.startswith(Swap.ALL.value) and names_other:
            assert each.reason in ("RESOURCE_NOT_FOUND", "PERMISSION_MISSING"), (what, each.reason)


async def test_no_call_reaches_another_tenant(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    planted = await plant(world)
    before = kept_of(world, OTHER)
    assert MARK in repr(before)
    methods = await served_methods(world.address, CATALOGUE)
    assert {each.path for each in methods} == {*CATALOGUE.methods}
    calls = [
        (method, f"{swap.value} {name}", request)
        for name in MESSAGES
        for swap in Swap
        for method in methods
        for request in Writer(CATALOGUE, planted, collection(name), swap).requests(method)
    ]
    token = sign_token(world.home, subject="eve", tenant=OWN, roles=["admin"], lifetime=LIFETIME)
    with caplog.at_level(logging.INFO):
        answers = await attacked(world.address, token, iter(calls))
    judge(answers)
    assert kept_of(world, OTHER) == before
    assert any(each.code is grpc.StatusCode.OK and each.seen for each in answers)
    assert MARK not in repr([vars(each) for each in caplog.records])


async def test_one_that_exists_elsewhere_and_one_that_does_not_are_refused_alike(
    world: World,
) -> None:
    planted = await plant(world)
    token = sign_token(world.home, subject="eve", tenant=OWN, roles=["admin"], lifetime=LIFETIME)
    methods = await served_methods(world.address, CATALOGUE)
    for name, there in planted.names.items():
        absent = Planted({name: f"tenants/{OTHER}/{name}/none"})
        told = []
        for plan, shown in ((planted, there), (absent, absent.names[name])):
            writer = Writer(CATALOGUE, plan, collection(name), Swap.ALL)
            calls = [
                (each, "all", request)
                for each in methods
                if any("name" in each for each in each.names)
                for request in writer.requests(each)
            ]
            answers = await attacked(world.address, token, iter(calls))
            identity = b"/" + shown.rpartition("/")[2].encode()
            told.append(
                [(each.method.path, each.reason, identity in each.request) for each in answers]
            )
        assert told[0] == told[1]
