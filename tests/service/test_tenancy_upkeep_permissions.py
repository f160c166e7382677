"""The upkeep needs no right that the policy of ``serve`` does not give, and others have not all."""

import argparse
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from mesh.embedded.aws import AwsEndpoint
from secmesh.tenancy.v1 import account_service_pb2 as accounts
from secmesh.tenancy.v1 import credential_service_pb2 as credentials
from secmesh.tenancy.v1 import onboarding_service_pb2 as onboarding
from secmesh.tenancy.v1 import provider_service_pb2 as providers
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as offboarding
from secmesh.tenancy.v1 import tenant_service_pb2 as tenants
from secmesh.tenancy.v1.account_pb2 import (
    CREDENTIAL_TYPE_AWS_ACCESS_KEY,
    CREDENTIAL_TYPE_AWS_IAM_ROLE,
    Account,
)
from secmesh.tenancy.v1.credential_pb2 import AwsAccessKey
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from services.tenancy.assembly import open_parts
from services.tenancy.parts import Parts
from services.tenancy.policy.calls import Account as AwsAccount
from services.tenancy.tables_command import CREATE_TABLES
from services.tenancy.upkeep.claims import DONE, FAILED
from services.tenancy.upkeep.jobs import OFFBOARD, ROTATE, VERIFY, upkeep_of
from tests.service.test_tenancy_permissions import AheadClock, Service, settings_of
from tests.tenancy_calls import recorded, refused, requests, tags_of
from tests.tenancy_templates import policy

REGION = "ap-east-1"
"""Of these tests alone: the names in them are those of the policies."""
DAY = 86_400


@dataclass
class Elsewhere:
    """Another service, which does not answer until it is let."""

    answers: bool = False

    async def leave(self, _tenant: str, *, count: bool = False) -> offboarding.OffboardedStore:  # noqa: ARG002 - either way
        told = offboarding.OffboardedStore(store="inventory")
        told.state = offboarding.OFFBOARDED_STATE_UNKNOWN
        if self.answers:
            told.state = offboarding.OFFBOARDED_STATE_REMOVED
        return told

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def parts(aws: AwsEndpoint) -> AsyncIterator[Parts]:
    settings = settings_of(aws, REGION)
    await CREATE_TABLES.run(settings, argparse.Namespace())
    made = open_parts(settings, [Elsewhere()])
    yield made
    await made.close()


async def new_tenant(service: Service) -> str:
    tenant = f"t{uuid.uuid4().hex[:16]}"
    given = Tenant(tenant_name=tenant)
    await service.call("CreateTenant", tenants.CreateTenantRequest(tenant=given, tenant_id=tenant))
    cloud = Provider(provider_type=PROVIDER_TYPE_AWS, provider_name="Amazon")
    await service.call(
        "CreateProvider",
        providers.CreateProviderRequest(
            parent=f"tenants/{tenant}", provider=cloud, provider_id="aws"
        ),
    )
    return tenant


async def account(service: Service, tenant: str, number: int, *, role: bool) -> str:
    given = Account(
        provider=f"tenants/{tenant}/providers/aws",
        cloud_account_id=f"{number:012d}",
        account_name=f"Account {number}",
        credential_type=CREDENTIAL_TYPE_AWS_IAM_ROLE if role else CREDENTIAL_TYPE_AWS_ACCESS_KEY,
        role_arn=f"arn:aws:iam::{number:012d}:role/scan" if role else "",
    )
    request = accounts.CreateAccountRequest(parent=f"tenants/{tenant}", account=given)
    made = await service.call("CreateAccount", request)
    return str(made.name)


async def furnish(service: Service, tenant: str) -> None:
    """An account of a role and one of a key, both of them due in a day."""
    key = AwsAccessKey(access_key_id="AKIA" + "A" * 16, secret_access_key="s" * 40)
    names = [await account(service, tenant, number, role=number == 8) for number in (7, 8)]
    name = f"{names[0]}/credential"
    await service.call(
        "StoreCredential", credentials.StoreCredentialRequest(name=name, aws_access_key=key)
    )
    rotation = credentials.SetCredentialRotationRequest(name=name, interval_days=1)
    await service.call("SetCredentialRotation", rotation)
    for each in names:
        await service.call("VerifyAccount", onboarding.VerifyAccountRequest(name=each))


async def test_the_upkeep_works_by_the_policy_of_the_service(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(parts)
    with recorded(monkeypatch) as before:
        kept, left = [await new_tenant(service) for _ in range(2)]
        for tenant in (kept, left):
            await furnish(service, tenant)
        name = f"tenants/{left}"
        await service.call("DeleteTenant", tenants.DeleteTenantRequest(name=name))
        leaving = offboarding.OffboardTenantRequest(name=name, confirm_tenant_id=left, shred=True)
        await service.call("OffboardTenant", leaving)
    later = replace(parts, clock=AheadClock(DAY + 60), others=[Elsewhere(answers=True)])
    with recorded(monkeypatch) as calls:
        standings = await upkeep_of(later).once()
    assert standings[VERIFY].outcome == DONE
    assert standings[VERIFY].done + standings[VERIFY].failed >= 2
    # Nobody knows the key: it was read, and AWS was asked.
    assert standings[ROTATE].outcome in (DONE, FAILED)
    assert standings[OFFBOARD].done >= 1
    asked = {(each.service, each.operation) for each in calls}
    assert {
        ("dynamodb", "Query"),
        ("dynamodb", "UpdateItem"),
        ("secretsmanager", "GetSecretValue"),
        ("sts", "AssumeRole"),
    } <= asked
    here = AwsAccount("123456789012", REGION, tags_of(before))
    assert refused(policy("serve"), requests(calls, here)) == []
    # Schedulers and executors could not do it.
    for other in ("scheduler", "executor"):
        assert refused(policy(other), requests(calls, here))
