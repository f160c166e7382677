"""Each process does its work by its own policy: all calls it makes are allowed, all rights used."""

import argparse
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from mesh.embedded.aws import AwsEndpoint
from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import cost_service_pb2 as costs
from secmesh.tenancy.v1 import credential_service_pb2 as credentials
from secmesh.tenancy.v1 import execution_service_pb2 as executions
from secmesh.tenancy.v1 import onboarding_service_pb2 as onboarding
from secmesh.tenancy.v1 import provider_service_pb2 as providers
from secmesh.tenancy.v1 import scan_result_service_pb2 as results
from secmesh.tenancy.v1 import schedule_service_pb2 as schedules
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.account_pb2 import CREDENTIAL_TYPE_AWS_ACCESS_KEY, Account
from secmesh.tenancy.v1.credential_pb2 import AwsAccessKey
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from services.tenancy.assembly import open_parts, servicers
from services.tenancy.clock import MICROSECONDS, SystemClock
from services.tenancy.kms_command import SETUP_KMS
from services.tenancy.parts import Parts
from services.tenancy.policy.calls import Account as AwsAccount
from services.tenancy.policy.calls import Call
from services.tenancy.scan_results import published
from services.tenancy.scheduling.attempt import ExecutorPace
from services.tenancy.scheduling.executor import Executor
from services.tenancy.scheduling.scheduler import Scheduler, SchedulerPace
from services.tenancy.scheduling.work import Assignment, Published
from services.tenancy.settings import TenancySettings
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Store
from services.tenancy.tables_command import CREATE_TABLES, TABLE_COMMANDS
from tests.tenancy_calls import recorded, refused, requests, tags_of
from tests.tenancy_templates import policy

SET_UP_REGION, REGION = "eu-west-1", "sa-east-1"
"""Of these tests alone: the names in them are those of the policies."""
TENANT = "recorded"
PARENT = f"tenants/{TENANT}"


def settings_of(aws: AwsEndpoint, region: str) -> TenancySettings:
    given: dict[str, Any] = {"aws_region": region, "aws_endpoint_url": aws.url}
    return TenancySettings(**given)


async def test_set_up_needs_all_of_its_policy_and_no_more(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(aws, SET_UP_REGION)
    with recorded(monkeypatch) as calls:
        for command in (SETUP_KMS, *TABLE_COMMANDS):
            await command.run(settings, argparse.Namespace())
    asked = requests(calls, AwsAccount(region=SET_UP_REGION))
    rights = policy("setup")
    assert len(calls) > 20
    assert refused(rights, asked) == []
    assert rights.unused(asked) == set()


class AheadClock(SystemClock):
    """So many seconds ahead, so that what is to come is due."""

    def __init__(self, seconds: int) -> None:
        self._ahead = seconds * MICROSECONDS

    def now(self) -> int:
        return super().now() + self._ahead


class ShortWork:
    """Reads and publishes as ``ScanWork`` does, without the services that it asks."""

    def __init__(self, store: Store, clock: AheadClock) -> None:
        self._store = store
        self._clock = clock

    async def run(self, assignment: Assignment) -> Published:
        scope = TenantScope(assignment.tenant)
        assert await self._store.get(scope.account(assignment.account_id)) is not None
        result = ScanResult(account_id=assignment.account_id, fence=assignment.fence)
        name, action = published(
            result, assignment.tenant, assignment.execution_id, self._clock.now()
        )
        return Published(name, [action])

    async def abort(self, assignment: Assignment) -> None:
        """There is nothing to end."""


class Service:
    """Calls methods of the service's servicers by name."""

    def __init__(self, parts: Parts) -> None:
        self._servicers = [servicer for _, servicer in servicers(parts)]

    async def call(self, method: str, request: Any) -> Any:
        servicer = next(each for each in self._servicers if hasattr(type(each), method))
        return await getattr(servicer, method)(request, None)


@pytest.fixture
async def parts(aws: AwsEndpoint) -> AsyncIterator[Parts]:
    settings = settings_of(aws, REGION)
    await CREATE_TABLES.run(settings, argparse.Namespace())
    made = open_parts(settings)
    yield made
    await made.close()


async def own_account(service: Service, number: int, **more: Any) -> Account:
    given = Account(
        provider=f"{PARENT}/providers/aws",
        cloud_account_id=f"{number:012d}",
        account_name=f"Account {number}",
        **more,
    )
    made: Account = await service.call(
        "CreateAccount", accounts.CreateAccountRequest(parent=PARENT, account=given)
    )
    return made


async def tell_of_tenants(service: Service) -> None:
    """What the platform does; the rest is within a tenant."""
    given = Tenant(tenant_name="Recorded")
    await service.call("CreateTenant", tenants.CreateTenantRequest(tenant=given, tenant_id=TENANT))
    await service.call("ListTenants", tenants.ListTenantsRequest())
    await service.call("LookupTenant", tenants.LookupTenantRequest(tenant_name="Recorded"))
    await service.call("ListDueSchedules", schedules.ListDueSchedulesRequest())


async def tell_of_accounts(service: Service) -> tuple[Account, Account]:
    """Two accounts: one with a key, one with a role."""
    await service.call("GetTenant", tenants.GetTenantRequest(name=PARENT))
    await service.call("EstimateCost", costs.EstimateCostRequest(name=PARENT))
    cloud = Provider(provider_type=PROVIDER_TYPE_AWS, provider_name="Amazon")
    await service.call(
        "CreateProvider",
        providers.CreateProviderRequest(parent=PARENT, provider=cloud, provider_id="aws"),
    )
    await service.call("ListProviders", providers.ListProvidersRequest(parent=PARENT))
    keyed = await own_account(service, 7, credential_type=CREDENTIAL_TYPE_AWS_ACCESS_KEY)
    role = await own_account(
        service, 8, credential_type=2, role_arn="arn:aws:iam::000000000008:role/scan"
    )
    listing = accounts.ListAccountsRequest(parent=PARENT)
    await service.call("ListAccounts", listing)
    listing.provider = keyed.provider
    await service.call("ListAccounts", listing)
    await service.call("GetAccount", accounts.GetAccountRequest(name=keyed.name))
    return keyed, role


async def tell_of_credentials(service: Service, keyed: Account, role: Account) -> None:
    name = f"{keyed.name}/credential"
    key = AwsAccessKey(access_key_id="AKIA" + "A" * 16, secret_access_key="s" * 40)
    await service.call(
        "StoreCredential", credentials.StoreCredentialRequest(name=name, aws_access_key=key)
    )
    await service.call(
        "RetrieveCredential", credentials.RetrieveCredentialRequest(name=name, purpose="test")
    )
    await service.call("DeleteCredential", credentials.DeleteCredentialRequest(name=name))
    await service.call("UndeleteCredential", credentials.UndeleteCredentialRequest(name=name))
    await service.call("VerifyAccount", onboarding.VerifyAccountRequest(name=role.name))


async def tell_of_schedules(service: Service, account: Account) -> str:
    given = Schedule(
        account_id=account.name.rpartition("/")[2],
        schedule_name="Scan",
        expression="rate(30 minutes)",
        time_zone="UTC",
    )
    made: Schedule = await service.call(
        "CreateSchedule", schedules.CreateScheduleRequest(parent=PARENT, schedule=given)
    )
    listing = schedules.ListSchedulesRequest(parent=PARENT)
    await service.call("ListSchedules", listing)
    listing.account_id = given.account_id
    await service.call("ListSchedules", listing)
    return made.name


async def work(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Call], list[Call]]:
    """What a scheduler and an executor ask for, for what is due."""
    clock, later, chance = AheadClock(3_600), AheadClock(3_700), Random(1)
    with recorded(monkeypatch) as of_scheduler:
        pace = SchedulerPace(shards=parts.settings.index_shards)
        assert await Scheduler(parts.store, clock, chance, pace=pace).tick() == 1
    with recorded(monkeypatch) as of_executor:
        executor = Executor(
            parts.store,
            later,
            chance,
            ShortWork(parts.store, later),
            "one",
            pace=ExecutorPace(shards=parts.settings.index_shards),
        )
        (attempt,) = await executor.poll()
        await attempt.run()
        assert executor.counts.succeeded == 1
    return of_scheduler, of_executor


async def test_each_process_needs_all_of_its_policy_and_no_more(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(parts)
    with recorded(monkeypatch) as of_platform:
        await tell_of_tenants(service)
    with recorded(monkeypatch) as of_tenant:
        keyed, role = await tell_of_accounts(service)
        await tell_of_credentials(service, keyed, role)
        schedule = await tell_of_schedules(service, keyed)
    of_scheduler, of_executor = await work(parts, monkeypatch)
    with recorded(monkeypatch) as later:
        of_schedule = executions.ListExecutionsRequest(parent=schedule)
        await service.call("ListExecutions", of_schedule)
        for narrower in ("", keyed.name.rpartition("/")[2]):
            listing = executions.ListExecutionsRequest(
                parent=f"{PARENT}/schedules/-", account_id=narrower
            )
            await service.call("ListExecutions", listing)
        await service.call("ListScanResults", results.ListScanResultsRequest(parent=PARENT))
    with recorded(monkeypatch) as of_issuer:
        assert parts.issuing is not None
        signer = await parts.issuing.keys.signer()
        await parts.issuing.keys.revoke(signer.kid)
    tags = tags_of(of_tenant)
    assert set(tags) == {f"threat-engine/account/{keyed.name.rpartition('/')[2]}"}
    account = AwsAccount("123456789012", REGION, tags)
    within = requests([*of_tenant, *later], account)
    everything = [*requests(of_platform, account), *within, *requests(of_issuer, account)]
    for name, asked in (
        ("serve", everything),
        ("scheduler", requests(of_scheduler, account)),
        ("executor", requests(of_executor, account)),
    ):
        rights = policy(name)
        assert refused(rights, asked) == [], name
        assert rights.unused(asked) == set(), name
    tag = {"aws:principaltag/tenant_id": (TENANT,)}
    rights = policy("tenant")
    own = [each.also(tag) for each in within if not each.action.startswith("sts:")]
    assert refused(rights, own) == []
    assert rights.unused(own) == set()
    other = {"aws:principaltag/tenant_id": ("recorde",)}
    assert not [
        each
        for each in within
        if each.action.split(":")[0] in ("dynamodb", "secretsmanager")
        and rights.allows(each.also(other))
    ]
