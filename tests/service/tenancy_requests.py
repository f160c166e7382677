"""A tenant that has one of each thing, and for each method a request that it may make."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message

from mesh.contract.catalogue import Method
from secmesh.tenancy.v1 import (
    account_pb2,
    api_key_pb2,
    provider_pb2,
    schedule_pb2,
    service_credential_pb2,
    tenant_pb2,
)
from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import api_key_service_pb2 as api_keys
from secmesh.tenancy.v1 import cost_service_pb2 as costs
from secmesh.tenancy.v1 import credential_service_pb2 as credentials
from secmesh.tenancy.v1 import execution_service_pb2 as executions
from secmesh.tenancy.v1 import onboarding_service_pb2 as onboarding
from secmesh.tenancy.v1 import provider_service_pb2 as providers
from secmesh.tenancy.v1 import scan_result_service_pb2 as results
from secmesh.tenancy.v1 import schedule_service_pb2 as schedules
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as offboarding
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1 import token_service_pb2 as tokens
from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from services.tenancy.scan_results import published
from tests.service.credential_story import Story, key_story
from tests.service.security_records import rules_of
from tests.service.tenancy_world import World, role_account

MARK = "planted-and-not-to-be-seen"
BEFORE = {
    "DeleteProvider": ["CreateProvider"],
    "GetTenantOffboarding": ["DeleteTenant", "OffboardTenant"],
    "OffboardTenant": ["DeleteTenant"],
    "ResumeAccount": ["SuspendAccount"],
    "ResumeSchedule": ["PauseSchedule"],
    "RetryExecution": ["CancelExecution"],
    "UndeleteAccount": ["DeleteAccount"],
    "UndeleteCredential": ["DeleteCredential"],
    "UndeleteProvider": ["CreateProvider", "DeleteProvider"],
    "UndeleteSchedule": ["DeleteSchedule"],
    "UndeleteTenant": ["DeleteTenant"],
}
"""What must be done so that there is something to do."""


@dataclass(frozen=True)
class Furnished:
    """Names of what a tenant has."""

    world: World
    story: Story
    schedule: str
    execution: str
    result: str
    page_token: str
    request_id: str
    api_key: str
    service_credential: str

    @property
    def tenant(self) -> str:
        return self.story.tenant

    @property
    def parent(self) -> str:
        return f"tenants/{self.tenant}"

    @property
    def provider(self) -> str:
        return f"{self.parent}/providers/aws"

    @property
    def names(self) -> list[str]:
        """The resource names, the tenant's first."""
        story = self.story
        own = [self.parent, f"{self.parent}/quotas", self.provider, story.account.name]
        made = [self.schedule, self.execution, self.result, self.api_key, self.service_credential]
        return [*own, story.name, *made]


async def furnished(world: World) -> Furnished:
    """Make a tenant with a provider, an account, a credential, a schedule and what ran by it."""
    story = await key_story(world)
    await story.store(story.new_key(), metadata={"owner": MARK})
    await story.verify()
    parent = f"tenants/{story.tenant}"
    await world.account(story.tenant, 2)
    request_id = str(uuid.uuid4())
    stub: Any = ScheduleServiceStub(world.channel(story.tenant))
    given = schedule_pb2.Schedule(
        account_id=story.account_id, schedule_name=MARK, expression="@daily"
    )
    made = await stub.CreateSchedule(
        schedules.CreateScheduleRequest(parent=parent, schedule=given, request_id=request_id)
    )
    run = await stub.TriggerSchedule(schedules.TriggerScheduleRequest(name=made.name))
    result = ScanResult(account_id=story.account_id, execution=run.name, fence=1)
    name, action = published(result, story.tenant, run.name.rsplit("/", 1)[-1], world.clock.now())
    await world.parts.store.write(action)
    listed = await world.accounts(story.tenant).ListAccounts(
        accounts.ListAccountsRequest(parent=parent, page_size=1)
    )
    return Furnished(
        world=world,
        story=story,
        schedule=made.name,
        execution=run.name,
        result=name,
        page_token=listed.next_page_token,
        request_id=request_id,
        api_key=(
            await world.api_keys(story.tenant).CreateApiKey(_new_key(world, parent))
        ).api_key.name,
        service_credential=await _service_credential(world, story.tenant),
    )


def _new_key(world: World, parent: str) -> api_keys.CreateApiKeyRequest:
    given = api_key_pb2.ApiKey(display_name=MARK, roles=["viewer"])
    given.expire_time.seconds = world.clock.now() // 1_000_000 + 86_400
    return api_keys.CreateApiKeyRequest(parent=parent, api_key=given)


async def _service_credential(world: World, tenant: str) -> str:
    stub: Any = TokenServiceStub(world.channel(tenant))
    issued = await stub.CreateServiceCredential(_new_client(f"tenants/{tenant}"))
    name: str = issued.service_credential.name
    return name


def _new_client(parent: str) -> tokens.CreateServiceCredentialRequest:
    given = service_credential_pb2.ServiceCredential(
        display_name=MARK, permissions=["inventory.syncs.*"]
    )
    return tokens.CreateServiceCredentialRequest(parent=parent, service_credential=given)


def request_of(own: Furnished, method: Method) -> Message:
    """Give a request that a tenant may make, or one that has the names alone."""
    known = requests_of(own).get(method.path.rpartition("/")[2])
    if known is not None:
        return known
    made: Any = message_factory.GetMessageClass(method.descriptor.input_type)()
    for each in made.DESCRIPTOR.fields:
        pattern = rules_of(each).string.pattern
        if pattern.startswith("^tenants/") and not each.is_repeated:
            fits = (name for name in own.names if re.search(pattern, name))
            setattr(made, each.name, next(fits, ""))
    request: Message = made
    return request


def requests_of(own: Furnished) -> Mapping[str, Message]:
    """Give requests by the names of methods, with what it takes to be let in."""
    parts = (
        _of_tenants(own),
        _of_accounts(own),
        _of_credentials(own),
        _of_schedules(own),
        _of_executions(own),
        _of_callers(own),
    )
    return {name: request for part in parts for name, request in part.items()}


def _of_tenants(own: Furnished) -> dict[str, Message]:
    name: dict[str, Any] = {"name": own.parent}
    tenant = tenant_pb2.Tenant(tenant_name="New", description="what it is")
    renamed = tenant_pb2.Tenant(name=own.parent, tenant_name="Other", description="other")
    quotas = tenant_pb2.TenantQuotas(name=f"{own.parent}/quotas", max_accounts=9)
    return {
        "CreateTenant": tenants.CreateTenantRequest(tenant=tenant, tenant_id="new-tenant"),
        "GetTenant": tenants.GetTenantRequest(**name),
        "ListTenants": tenants.ListTenantsRequest(),
        "LookupTenant": tenants.LookupTenantRequest(tenant_name="New"),
        "UpdateTenant": tenants.UpdateTenantRequest(tenant=renamed),
        "DeleteTenant": tenants.DeleteTenantRequest(**name),
        "UndeleteTenant": tenants.UndeleteTenantRequest(**name),
        "OffboardTenant": offboarding.OffboardTenantRequest(confirm_tenant_id=own.tenant, **name),
        "GetTenantQuotas": tenants.GetTenantQuotasRequest(name=quotas.name),
        "UpdateTenantQuotas": tenants.UpdateTenantQuotasRequest(quotas=quotas),
        "EstimateCost": costs.EstimateCostRequest(**name),
    }


def _of_accounts(own: Furnished) -> dict[str, Message]:
    parent = own.parent
    name: dict[str, Any] = {"name": own.story.account.name}
    cloud: dict[str, Any] = {"provider_type": provider_pb2.PROVIDER_TYPE_AWS}
    renamed = provider_pb2.Provider(name=own.provider, provider_name="Other", description="x")
    changed = account_pb2.Account(account_name="Other", description="x", **name)
    return {
        "CreateProvider": providers.CreateProviderRequest(
            parent=parent,
            provider=provider_pb2.Provider(provider_name="New", **cloud),
            provider_id="new",
        ),
        "GetProvider": providers.GetProviderRequest(name=own.provider),
        "ListProviders": providers.ListProvidersRequest(parent=parent),
        "UpdateProvider": providers.UpdateProviderRequest(provider=renamed),
        "DeleteProvider": providers.DeleteProviderRequest(name=own.provider),
        "UndeleteProvider": providers.UndeleteProviderRequest(name=own.provider),
        "CreateAccount": accounts.CreateAccountRequest(
            parent=parent, account=role_account(own.tenant, 77)
        ),
        "GetAccount": accounts.GetAccountRequest(**name),
        "ListAccounts": accounts.ListAccountsRequest(parent=parent, provider=own.provider),
        "LookupAccount": accounts.LookupAccountRequest(
            parent=parent, cloud_account_id=own.story.account.cloud_account_id, **cloud
        ),
        "UpdateAccount": accounts.UpdateAccountRequest(account=changed),
        "SuspendAccount": accounts.SuspendAccountRequest(reason="why", **name),
        "ResumeAccount": accounts.ResumeAccountRequest(**name),
        "DeleteAccount": accounts.DeleteAccountRequest(**name),
        "UndeleteAccount": accounts.UndeleteAccountRequest(**name),
        "GetOnboarding": onboarding.GetOnboardingRequest(
            format=onboarding.ONBOARDING_FORMAT_CLOUDFORMATION, **name
        ),
        "VerifyAccount": onboarding.VerifyAccountRequest(**name),
    }


def _of_credentials(own: Furnished) -> dict[str, Message]:
    name: dict[str, Any] = {"name": own.story.name}
    key: dict[str, Any] = {"aws_access_key": own.story.new_key()}
    return {
        "StoreCredential": credentials.StoreCredentialRequest(**name, **key),
        "GetCredential": credentials.GetCredentialRequest(**name),
        "RetrieveCredential": credentials.RetrieveCredentialRequest(purpose="scan", **name),
        "VendCredentials": credentials.VendCredentialsRequest(
            name=own.story.account.name, purpose="scan"
        ),
        "ListCredentialVersions": credentials.ListCredentialVersionsRequest(**name),
        "RotateCredential": credentials.RotateCredentialRequest(**name, **key),
        "RollbackCredential": credentials.RollbackCredentialRequest(version=1, **name),
        "DeleteCredential": credentials.DeleteCredentialRequest(**name),
        "UndeleteCredential": credentials.UndeleteCredentialRequest(**name),
        "ListCredentialAccesses": credentials.ListCredentialAccessesRequest(parent=own.parent),
    }


def _of_schedules(own: Furnished) -> dict[str, Message]:
    parent = own.parent
    name: dict[str, Any] = {"name": own.schedule}
    given = schedule_pb2.Schedule(
        account_id=own.story.account_id, schedule_name="New", expression="0 3 * * *"
    )
    changed = schedule_pb2.Schedule(schedule_name="Other", expression="0 4 * * *", **name)
    backfill = schedules.BackfillScheduleRequest(**name)
    now = own.world.clock.now() // 1_000_000
    backfill.start_time.seconds, backfill.end_time.seconds = now - 3600, now
    return {
        "CreateSchedule": schedules.CreateScheduleRequest(parent=parent, schedule=given),
        "GetSchedule": schedules.GetScheduleRequest(**name),
        "ListSchedules": schedules.ListSchedulesRequest(parent=parent),
        "UpdateSchedule": schedules.UpdateScheduleRequest(schedule=changed),
        "DeleteSchedule": schedules.DeleteScheduleRequest(**name),
        "UndeleteSchedule": schedules.UndeleteScheduleRequest(**name),
        "PauseSchedule": schedules.PauseScheduleRequest(reason="why", **name),
        "ResumeSchedule": schedules.ResumeScheduleRequest(**name),
        "PreviewSchedule": schedules.PreviewScheduleRequest(parent=parent, schedule=given),
        "ListDueSchedules": schedules.ListDueSchedulesRequest(),
        "TriggerSchedule": schedules.TriggerScheduleRequest(**name),
        "BackfillSchedule": backfill,
    }


def _of_executions(own: Furnished) -> dict[str, Message]:
    name: dict[str, Any] = {"name": own.execution}
    return {
        "GetExecution": executions.GetExecutionRequest(**name),
        "ListExecutions": executions.ListExecutionsRequest(parent=own.schedule),
        "CancelExecution": executions.CancelExecutionRequest(**name),
        "RetryExecution": executions.RetryExecutionRequest(**name),
        "GetScanResult": results.GetScanResultRequest(name=own.result),
        "ListScanResults": results.ListScanResultsRequest(parent=own.parent),
    }


def _of_callers(own: Furnished) -> dict[str, Message]:
    """Keys and credentials of services; who asks with a wrong secret is told so."""
    named = api_key_pb2.ApiKey(name=own.api_key, display_name="Other")
    return {
        "CreateApiKey": _new_key(own.world, own.parent),
        "UpdateApiKey": api_keys.UpdateApiKeyRequest(api_key=named),
        "ResolveApiKey": api_keys.ResolveApiKeyRequest(key_id="a" * 16, secret_sha256="0" * 64),
        "CreateServiceCredential": _new_client(own.parent),
        "IssueToken": tokens.IssueTokenRequest(client_id="acme.none", client_secret="wrong"),
    }
