"""The life of a tenant on the embedded store, whose expressions are those of DynamoDB."""

from collections.abc import Iterator

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.errors import ResourceNotFound, ResourceReferenced
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.tenant_pb2 import TENANT_STATUS_OFFBOARDED, Tenant, TenantQuotas
from services.tenancy.account_status import ACTIVE, DELETED, PENDING, SUSPENDED
from services.tenancy.accounts import NoSecrets
from services.tenancy.errors import QuotaExceeded, ValueTaken
from services.tenancy.parts import Parts
from services.tenancy.store.dynamodb import DynamoDbStore
from services.tenancy.writing import NamedRequest
from tests.service.tenancy_stores import embedded_store, made_tables, new_tenant
from tests.service.tenancy_world import TurnedClock, role_account, settings_of


@pytest.fixture
def store(aws: AwsEndpoint) -> Iterator[DynamoDbStore]:
    with embedded_store(aws.url, made_tables(aws.url)) as opened:
        yield opened


async def test_a_tenant_from_its_beginning_to_its_end(store: DynamoDbStore) -> None:
    clock = TurnedClock()
    parts = Parts(
        settings=settings_of(max_providers=1),
        store=store,
        clock=clock,
        key=b"k" * 32,
        secrets=NoSecrets(),
    )
    tenant = new_tenant()
    # Nameless: each is another request.
    request: NamedRequest = parts.named(tenant, "", Tenant())
    name = f"tenants/{tenant}"
    await parts.tenants.create(Tenant(tenant_name=tenant), tenant, request)
    given = Provider(provider_type=PROVIDER_TYPE_AWS, provider_name="Cloud")
    await parts.providers.create(tenant, "aws", given, request)
    with pytest.raises(QuotaExceeded):
        await parts.providers.create(tenant, "more", given, request)
    await parts.tenants.update_quotas(
        TenantQuotas(name=f"{name}/quotas", max_providers=2), (), request
    )
    with pytest.raises(ValueTaken):
        await parts.providers.create(tenant, "more", given, request)
    named = parts.named(tenant, "9f2f4c5e-1c2b-4a57-9f1a-0d6a5e0f1d11", Tenant())
    made = await named.once(
        lambda: parts.accounts.create(tenant, role_account(tenant), named),
        lambda found: parts.accounts.get(tenant, found.rpartition("/")[2]),
    )
    account = made.name.rpartition("/")[2]
    with pytest.raises(ValueTaken):
        await parts.accounts.create(tenant, role_account(tenant), request)
    active = await parts.accounts.verified(tenant, made, ACTIVE)
    changed = Account(name=made.name, description="Live", etag=active.etag)
    assert (await parts.accounts.update(changed, (), request)).status == ACTIVE
    suspended = await parts.accounts.suspend(tenant, account, "attacked", "", request)
    assert suspended.status == SUSPENDED
    assert (await parts.accounts.resume(tenant, account, "", request)).status == PENDING
    with pytest.raises(ResourceReferenced):
        await parts.providers.delete(tenant, "aws", "", request)
    assert (await parts.accounts.delete(tenant, account, "", request)).status == DELETED
    await parts.providers.delete(tenant, "aws", "", request)
    await parts.providers.undelete(tenant, "aws", "", request)
    assert (await parts.accounts.undelete(tenant, account, "", request)).status == PENDING
    quotas = await parts.tenants.quotas(tenant)
    assert (quotas.providers, quotas.accounts) == (1, 1)
    await parts.tenants.delete(tenant, "", request)
    await parts.tenants.undelete(tenant, "", request)
    await parts.tenants.delete(tenant, "", request)
    told = await parts.offboarding.offboard(tenant, tenant, shred=True)
    assert {each.store: each.removed for each in told.stores if each.removed} == {
        "tenancy.accounts": 2,
        "tenancy.providers": 2,
        "tenancy.tenants": 1,
    }
    assert (await parts.tenants.get(tenant)).status == TENANT_STATUS_OFFBOARDED
    with pytest.raises(ResourceNotFound):
        await parts.accounts.get(tenant, account)
