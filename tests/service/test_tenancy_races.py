"""Eight callers at once at the same few things: what must be counted, unique and guarded, is."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from secmesh.tenancy.v1 import account_pb2, provider_pb2, schedule_pb2
from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import credential_service_pb2 as credentials
from secmesh.tenancy.v1 import execution_service_pb2 as executions
from secmesh.tenancy.v1 import provider_service_pb2 as providers
from secmesh.tenancy.v1 import schedule_service_pb2 as schedules
from secmesh.tenancy.v1.execution_service_pb2_grpc import ExecutionServiceStub
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.tenant_service_pb2 import GetTenantQuotasRequest
from secmesh_client.refusal import CallRefused
from services.tenancy.account_fires import fires_of
from services.tenancy.store.guards import OWNER
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.tables import SK, Table
from tests.service.credential_story import Story, key_story
from tests.service.tenancy_world import World, role_account, tenancy_world

CALLERS, ROUNDS, SEEDS = 8, 12, 6
WORDS = ("red", "green", "blue")
EXPRESSIONS = ("0 3 * * *", "0,30 4 * * *", "@hourly")
DELETED = account_pb2.ACCOUNT_STATUS_DELETED


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path, max_accounts=6, max_providers=4, max_schedules=4) as opened:
        yield opened


class Crowd:
    """Callers of one tenant who choose at random what they do to the same few things."""

    def __init__(self, story: Story, chance: Random) -> None:
        self.story, self.chance = story, chance
        self.tenant, self.parent = story.tenant, f"tenants/{story.tenant}"
        self.accounts = story.world.accounts(self.tenant)
        self.providers = story.world.providers(self.tenant)
        channel = story.world.channel(self.tenant)
        self.schedules: Any = ScheduleServiceStub(channel)
        self.executions: Any = ExecutionServiceStub(channel)
        self.refused: Counter[str] = Counter()

    async def at_once(self) -> None:
        """Let all do something, again and again."""
        await asyncio.gather(*(self._caller() for _ in range(CALLERS)))

    async def _caller(self) -> None:
        for _ in range(ROUNDS):
            doing = self.chance.choice(
                [self.with_account, self.with_provider, self.with_schedule, self.with_schedule]
            )
            try:
                await doing()
            except CallRefused as refused:
                self.refused[refused.reason] += 1

    async def with_account(self) -> None:
        """Register, delete or bring back an account."""
        found = await self.every_account()
        name = self.chance.choice([self.story.account, *found]).name
        number = self.chance.randint(2, 4)
        await self._one_of(
            lambda: self.accounts.CreateAccount(
                accounts.CreateAccountRequest(
                    parent=self.parent, account=role_account(self.tenant, number)
                )
            ),
            lambda: self.accounts.DeleteAccount(accounts.DeleteAccountRequest(name=name)),
            lambda: self.accounts.UndeleteAccount(accounts.UndeleteAccountRequest(name=name)),
        )

    async def with_provider(self) -> None:
        """Make, rename, delete or bring back a provider."""
        word, other = self.chance.choice(WORDS), self.chance.choice(WORDS)
        name = f"{self.parent}/providers/{word}"
        given = provider_pb2.Provider(
            provider_type=provider_pb2.PROVIDER_TYPE_AWS, provider_name=other
        )
        await self._one_of(
            lambda: self.providers.CreateProvider(
                providers.CreateProviderRequest(
                    parent=self.parent, provider=given, provider_id=word
                )
            ),
            lambda: self.providers.UpdateProvider(
                providers.UpdateProviderRequest(
                    provider=provider_pb2.Provider(name=name, provider_name=other)
                )
            ),
            lambda: self.providers.DeleteProvider(providers.DeleteProviderRequest(name=name)),
            lambda: self.providers.UndeleteProvider(providers.UndeleteProviderRequest(name=name)),
        )

    async def with_schedule(self) -> None:
        """Make, change, run, pause, delete or bring back a schedule."""
        word, expression = self.chance.choice(WORDS), self.chance.choice(EXPRESSIONS)
        name = {"name": f"{self.parent}/schedules/{word}"}
        given = schedule_pb2.Schedule(
            account_id=self.story.account_id, schedule_name=word, expression=expression
        )
        changed = schedule_pb2.Schedule(expression=expression, name=name["name"])
        stub = self.schedules
        await self._one_of(
            lambda: stub.CreateSchedule(
                schedules.CreateScheduleRequest(
                    parent=self.parent, schedule=given, schedule_id=word
                )
            ),
            lambda: stub.UpdateSchedule(schedules.UpdateScheduleRequest(schedule=changed)),
            lambda: stub.DeleteSchedule(schedules.DeleteScheduleRequest(**name)),
            lambda: stub.UndeleteSchedule(schedules.UndeleteScheduleRequest(**name)),
            lambda: stub.PauseSchedule(schedules.PauseScheduleRequest(name=name["name"])),
            lambda: stub.ResumeSchedule(schedules.ResumeScheduleRequest(**name)),
            lambda: stub.TriggerSchedule(schedules.TriggerScheduleRequest(name=name["name"])),
            lambda: self._cancel(name["name"]),
        )

    async def _cancel(self, schedule: str) -> None:
        listed = await self.executions.ListExecutions(
            executions.ListExecutionsRequest(parent=schedule, triggered=True)
        )
        for each in listed.executions:
            await self.executions.CancelExecution(executions.CancelExecutionRequest(name=each.name))

    async def _one_of(self, *calls: Callable[[], Awaitable[Any]]) -> None:
        await self.chance.choice(calls)()

    async def every_account(self) -> list[account_pb2.Account]:
        listed = await self.accounts.ListAccounts(
            accounts.ListAccountsRequest(parent=self.parent, show_deleted=True)
        )
        return list(listed.accounts)


def guards(world: World, tenant: str, table: Table) -> dict[str, str]:
    """Give who owns each unique value of a tenant, by its key."""
    store: Any = world.parts.store
    own = [item for item in store.items(table) if item["pk"] == tenant]
    return {str(item[SK]): str(item[OWNER]) for item in own if str(item[SK]).startswith("U#")}


async def hold_accounts(crowd: Crowd) -> int:
    """Hold accounts against their guards, their provider and the tenant's quota."""
    world, scope = crowd.story.world, TenantScope(crowd.tenant)
    found = await crowd.every_account()
    wanted = {
        scope.account_guard("aws", each.cloud_account_id).sk: each.name.rpartition("/")[2]
        for each in found
    }
    assert len(wanted) == len(found)
    assert guards(world, crowd.tenant, Table.ACCOUNTS) == wanted
    living = sum(each.status != DELETED for each in found)
    provider = await crowd.providers.GetProvider(
        providers.GetProviderRequest(name=f"{crowd.parent}/providers/aws")
    )
    assert provider.account_count == living
    return living


async def hold_providers(crowd: Crowd) -> int:
    """Hold providers against their guards and give how many are there."""
    listed = await crowd.providers.ListProviders(
        providers.ListProvidersRequest(parent=crowd.parent, show_deleted=True)
    )
    scope = TenantScope(crowd.tenant)
    wanted = {
        scope.provider_guard("aws", each.provider_name).sk: each.name.rpartition("/")[2]
        for each in listed.providers
    }
    assert len(wanted) == len(listed.providers)
    assert guards(crowd.story.world, crowd.tenant, Table.PROVIDERS) == wanted
    return sum(each.status == provider_pb2.PROVIDER_STATUS_ACTIVE for each in listed.providers)


async def hold_schedules(crowd: Crowd) -> int:
    """Hold schedules against the fires that are counted of their account."""
    listed = await crowd.schedules.ListSchedules(
        schedules.ListSchedulesRequest(parent=crowd.parent)
    )
    key = TenantScope(crowd.tenant).account_fires(crowd.story.account_id)
    item = await crowd.story.world.parts.store.get(key) or {}
    counted = sum(fires_of(each.expression) for each in listed.schedules)
    assert item.get("hourly_fires", 0) == counted
    return len(listed.schedules)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_is_counted_unique_and_guarded_stays_so(world: World, seed: int) -> None:
    story = await key_story(world)
    await story.store(story.new_key())
    crowd = Crowd(story, Random(seed))
    await crowd.at_once()
    quotas = await world.tenants(story.tenant).GetTenantQuotas(
        GetTenantQuotasRequest(name=f"{crowd.parent}/quotas")
    )
    assert quotas.accounts == await hold_accounts(crowd)
    assert quotas.providers == await hold_providers(crowd)
    assert quotas.schedules == await hold_schedules(crowd)
    assert crowd.refused
    assert not crowd.refused["INTERNAL"]


async def with_its_secret(story: Story) -> tuple[bool, bool, bool]:
    """Tell whether the account, its credential and its secret are deleted."""
    account = await story.world.accounts(story.tenant).GetAccount(
        accounts.GetAccountRequest(name=story.account.name)
    )
    known = await story.calls.GetCredential(credentials.GetCredentialRequest(name=story.name))
    secret = await story.world.secrets.describe(story.secret_name)
    return account.status == DELETED, known.HasField("delete_time"), secret.deleted


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_secret_ends_as_its_account_does(world: World, seed: int) -> None:
    story, chance = await key_story(world), Random(seed)
    await story.store(story.new_key())
    stub = world.accounts(story.tenant)

    async def caller() -> None:
        for _ in range(ROUNDS):
            with suppress(CallRefused):
                if chance.random() < 0.5:
                    await stub.DeleteAccount(accounts.DeleteAccountRequest(name=story.account.name))
                else:
                    await stub.UndeleteAccount(
                        accounts.UndeleteAccountRequest(name=story.account.name)
                    )

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    deleted, *follow = await with_its_secret(story)
    assert follow == [deleted, deleted]
