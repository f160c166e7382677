"""What each RPC of the tenancy service costs: calls of DynamoDB, Secrets Manager and STS.

The methods come from the server's reflection: one that is added is held to the limit by that.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from mesh.contract.catalogue import Method
from mesh.identity.keys import sign_token
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1 import credential_service_pb2 as credentials
from secmesh.tenancy.v1 import onboarding_service_pb2 as onboarding
from secmesh.tenancy.v1 import provider_service_pb2 as providers
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as offboarding
from secmesh.tenancy.v1 import token_service_pb2 as tokens
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest
from services.tenancy.cost.budgets import CALLS_PER_RPC
from tests.service.callers import LIFETIME
from tests.service.rewound import Rewound
from tests.service.tenancy_requests import BEFORE, Furnished, furnished, request_of
from tests.service.tenancy_world import CATALOGUE, OPERATOR, World, role_account, tenancy_world
from tests.service.tenant_swap import Answered, attacked, served_methods

MORE = {
    # The account's secret follows it, and both are looked at again: they may change at one time.
    "DeleteAccount": 10,
    "UndeleteAccount": 9,
    # A secret is read only after its tags say whose it is, and each access is logged first.
    "StoreCredential": 9,
    "RetrieveCredential": 4,
    "RotateCredential": 11,
    "RollbackCredential": 3,
    "SetCredentialRotation": 3,
    "DeleteCredential": 5,
    "UndeleteCredential": 7,
    # A session is made by STS, and logged.
    "VendCredentials": 4,
    "VerifyAccount": 8,
    # An execution that somebody else may be running.
    "CancelExecution": 3,
    "TriggerSchedule": 3,
    "RetryExecution": 5,
    # Each shard of the index is asked.
    "ListDueSchedules": 16,
    # What makes the issuer's first key makes its secret, too.
    "GetKeySet": 4,
    "RotateSigningKey": 4,
    # Removes page by page whatever the tenant has.
    "OffboardTenant": 90,
}
"""Calls of AWS, in all, of methods that need more than an ordinary one."""
REFUSED = {
    "GetOnboarding": "PRINCIPAL_UNKNOWN",
    "IssueToken": "CLIENT_CREDENTIALS_INVALID",
    "LookupTenant": "RESOURCE_NOT_FOUND",
    "RevokeSigningKey": "SIGNING_KEY_UNKNOWN",
}
"""Methods whose calls are counted though they find nothing."""


@dataclass(frozen=True)
class Caller:
    """Somebody who may do everything, and a world that is put back before each call."""

    own: Furnished
    methods: Mapping[str, Method]
    requests: Mapping[str, Message]
    token: str
    rewind: Rewound

    async def call(self, name: str) -> Answered:
        method = self.methods[name]
        request = self.requests.get(name) or request_of(self.own, method)
        attack = iter([(method, name, request)])
        return (await attacked(self.own.world.address, self.token, attack))[0]

    async def cost(self, name: str) -> tuple[Answered, int]:
        """Call a method; give its answer and how many calls of AWS it took."""
        self.rewind()
        for before in BEFORE.get(name, []):
            assert (await self.call(before)).code is grpc.StatusCode.OK, before
        world = self.own.world
        began = len(world.recorder.calls), world.secrets.calls.total(), world.tokens.calls.total()
        answer = await self.call(name)
        ended = len(world.recorder.calls), world.secrets.calls.total(), world.tokens.calls.total()
        return answer, sum(ended) - sum(began)


async def unkeyed(world: World, tenant: str) -> str:
    """Make an account that waits for its access key; give its name."""
    given = role_account(tenant, 3)
    given.credential_type = account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY
    given.ClearField("role_arn")
    request = CreateAccountRequest(parent=f"tenants/{tenant}", account=given)
    made: account_pb2.Account = await world.accounts(tenant).CreateAccount(request)
    return made.name


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    async with tenancy_world(tmp_path) as world:
        own = await furnished(world)
        role = await world.account(own.tenant, 4)
        waits = await unkeyed(world, own.tenant)
        token = sign_token(
            world.home,
            subject="ann",
            tenant=OPERATOR,
            roles=["platform", "admin"],
            permissions=["platform.api_keys.resolve"],
            tenants=[own.tenant, "new-tenant"],
            lifetime=LIFETIME,
        )
        found = await served_methods(world.address, CATALOGUE)
        gone = f"{own.parent}/providers/new"
        requests: dict[str, Message] = {
            "DeleteProvider": providers.DeleteProviderRequest(name=gone),
            "UndeleteProvider": providers.UndeleteProviderRequest(name=gone),
            "GetOnboarding": onboarding.GetOnboardingRequest(
                name=role.name, format=onboarding.ONBOARDING_FORMAT_CLOUDFORMATION
            ),
            "OffboardTenant": offboarding.OffboardTenantRequest(
                name=own.parent, confirm_tenant_id=own.tenant, shred=True
            ),
            "GetTenantOffboarding": offboarding.GetTenantOffboardingRequest(
                name=f"{own.parent}/offboarding"
            ),
            "RevokeSigningKey": tokens.RevokeSigningKeyRequest(kid="none"),
            "StoreCredential": credentials.StoreCredentialRequest(
                name=f"{waits}/credential", aws_access_key=own.story.new_key(f"{3:012d}")
            ),
        }
        methods = {each.path.rpartition("/")[2]: each for each in found}
        yield Caller(own, methods, requests, token, Rewound(world))


async def test_each_call_of_any_method_takes_no_more_calls_than_are_allowed(caller: Caller) -> None:
    wrong = []
    for name in caller.methods:
        answer, calls = await caller.cost(name)
        if answer.reason != REFUSED.get(name, ""):
            wrong.append(f"{name} answered {answer.code.name} {answer.reason}")
        if calls > MORE.get(name, CALLS_PER_RPC):
            wrong.append(f"{name} took {calls} calls")
        if name in MORE and calls <= CALLS_PER_RPC:
            wrong.append(f"{name} took {calls} calls only: it is an ordinary one")
    assert not wrong, "\n".join(wrong)
    assert caller.methods.keys() >= MORE.keys() | REFUSED.keys() | BEFORE.keys()
    assert "Scan" not in {each.operation for each in caller.own.world.recorder.calls}


async def test_a_credential_that_is_remembered_is_read_without_a_call_of_its_secret(
    caller: Caller,
) -> None:
    secrets = caller.own.world.secrets
    assert (await caller.cost("RetrieveCredential"))[0].code is grpc.StatusCode.OK
    before = secrets.calls["get"]
    assert (await caller.call("RetrieveCredential")).code is grpc.StatusCode.OK
    assert secrets.calls["get"] == before
