"""The tenancy service in this process on the exact store in memory, called as anybody."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import grpc

from mesh.contract.catalogue import load_catalogue
from mesh.identity.keys import JWKS_FILE, create_signing_key, sign_token
from mesh.server.interceptors.idempotency import HandlersKeep
from mesh.server.serve import Server
from mesh.server.trust import verifier_of
from secmesh.tenancy.v1 import (
    account_service_pb2_grpc,
    api_key_service_pb2_grpc,
    credential_service_pb2_grpc,
    onboarding_service_pb2_grpc,
    provider_service_pb2_grpc,
    tenant_service_pb2_grpc,
)
from secmesh.tenancy.v1.account_pb2 import CREDENTIAL_TYPE_AWS_IAM_ROLE, Account
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest
from secmesh.tenancy.v1.provider_pb2 import PROVIDER_TYPE_AWS, Provider
from secmesh.tenancy.v1.provider_service_pb2 import CreateProviderRequest
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from secmesh.tenancy.v1.tenant_service_pb2 import CreateTenantRequest
from secmesh_client.aio import connect
from services.tenancy.accounts import AccountSecrets
from services.tenancy.assembly import open_others, servicers
from services.tenancy.credentials.parts import Custody
from services.tenancy.parts import Parts
from services.tenancy.settings import PACKAGE, TenancySettings
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.memory_faults import Faults
from services.tenancy.store.recorder import Recorder
from tests.ports import free_port
from tests.unit.fake_access_keys import FakeAccessKeys
from tests.unit.fake_prober import FakeProber
from tests.unit.fake_secrets import FakeSecrets
from tests.unit.fake_sts import FakeSecurityTokens

CATALOGUE = load_catalogue(PACKAGE)
OPERATOR = "platform"
"""The tenant of the platform's own people."""
START = 1_800_000_000_000_000
"""Microseconds since 1970; when each world begins."""


@dataclass
class TurnedClock:
    """Stands still until a test turns it; whoever sleeps turns it, too."""

    moment: int = START

    def now(self) -> int:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.turn(seconds)

    def turn(self, seconds: float) -> None:
        self.moment += int(seconds * 1_000_000)


@dataclass
class World:
    """A served store, and callers of it."""

    home: Path
    parts: Parts
    clock: TurnedClock
    recorder: Recorder
    faults: Faults
    """What goes wrong in the store; nothing unless a test says so."""
    secrets: FakeSecrets
    tokens: FakeSecurityTokens
    prober: FakeProber
    access_keys: FakeAccessKeys
    address: str = ""
    made: int = 0
    _channels: dict[tuple[object, ...], grpc.aio.Channel] = field(default_factory=dict)

    def channel(
        self,
        tenant: str,
        *,
        roles: Sequence[str] = ("admin",),
        tenants: Sequence[str] = (),
        permissions: Sequence[str] = (),
    ) -> grpc.aio.Channel:
        """Give a channel of somebody of a tenant, who may act for others, too."""
        key = (tenant, *roles, "for", *tenants, "may", *permissions)
        if key not in self._channels:
            token = sign_token(
                self.home,
                subject="ann",
                tenant=tenant,
                roles=roles,
                tenants=tenants,
                permissions=permissions,
            )
            self._channels[key] = connect(self.address, token=token)
        return self._channels[key]

    def platform(self, *tenants: str) -> Any:
        """Give TenantService as the platform calls it for these tenants."""
        channel = self.channel(OPERATOR, roles=["platform", "admin"], tenants=tenants)
        return tenant_service_pb2_grpc.TenantServiceStub(channel)

    def tenants(self, tenant: str, **who: Any) -> Any:
        """Give TenantService as a tenant's people call it."""
        return tenant_service_pb2_grpc.TenantServiceStub(self.channel(tenant, **who))

    def providers(self, tenant: str, **who: Any) -> Any:
        """Give ProviderService."""
        return provider_service_pb2_grpc.ProviderServiceStub(self.channel(tenant, **who))

    def accounts(self, tenant: str, **who: Any) -> Any:
        """Give AccountService."""
        return account_service_pb2_grpc.AccountServiceStub(self.channel(tenant, **who))

    def api_keys(self, tenant: str, **who: Any) -> Any:
        """Give ApiKeyService."""
        return api_key_service_pb2_grpc.ApiKeyServiceStub(self.channel(tenant, **who))

    def edge(self) -> Any:
        """Give ApiKeyService as gateways call it."""
        return self.api_keys("gateway", permissions=["platform.api_keys.resolve"], roles=[])

    def credentials(self, tenant: str, **who: Any) -> Any:
        """Give CredentialService."""
        return credential_service_pb2_grpc.CredentialServiceStub(self.channel(tenant, **who))

    def onboarding(self, tenant: str, **who: Any) -> Any:
        """Give OnboardingService."""
        return onboarding_service_pb2_grpc.OnboardingServiceStub(self.channel(tenant, **who))

    async def tenant(self) -> str:
        """Make a tenant of its own for a test; give its id."""
        self.made += 1
        tenant = f"tenant-{self.made}"
        given = Tenant(tenant_name=f"Tenant No {self.made}")
        await self.platform().CreateTenant(CreateTenantRequest(tenant=given, tenant_id=tenant))
        return tenant

    async def provider(self, tenant: str, provider: str = "aws") -> Provider:
        """Make a provider of AWS."""
        given = Provider(provider_type=PROVIDER_TYPE_AWS, provider_name=f"Cloud {provider}")
        made: Provider = await self.providers(tenant).CreateProvider(
            CreateProviderRequest(parent=f"tenants/{tenant}", provider=given, provider_id=provider)
        )
        return made

    async def account(self, tenant: str, number: int = 1, provider: str = "aws") -> Account:
        """Make an account that a role leads into."""
        made: Account = await self.accounts(tenant).CreateAccount(
            CreateAccountRequest(
                parent=f"tenants/{tenant}", account=role_account(tenant, number, provider)
            )
        )
        return made

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


def role_account(tenant: str, number: int = 1, provider: str = "aws") -> Account:
    """Give an account of AWS to be created; ``number`` makes its id."""
    cloud_id = f"{number:012d}"
    return Account(
        provider=f"tenants/{tenant}/providers/{provider}",
        cloud_account_id=cloud_id,
        account_name=f"Account {number}",
        credential_type=CREDENTIAL_TYPE_AWS_IAM_ROLE,
        role_arn=f"arn:aws:iam::{cloud_id}:role/audit",
    )


def own_issuer() -> dict[str, str]:
    """Give settings of a world that believes the tokens it issues itself."""
    address = f"127.0.0.1:{free_port()}"
    return {"listen": address, "issuers": f"secmesh-tenancy=grpc://{address}"}


def settings_of(**values: Any) -> TenancySettings:
    """Give settings of a world, which asks no AWS."""
    return TenancySettings(AWS_REGION="eu-west-1", page_key="k" * 16, admin="", **values)


@asynccontextmanager
async def tenancy_world(
    home: Path,
    *,
    secrets: AccountSecrets | None = None,
    custody: Custody | None = None,
    with_others: bool = False,
    **values: Any,
) -> AsyncIterator[World]:
    """Serve an empty store with these settings; ``custody`` is fakes unless it is given.

    ``with_others`` asks the services of the settings when a tenant leaves.
    """
    create_signing_key(home)
    settings = settings_of(jwks=str(home / JWKS_FILE), **values)
    clock, recorder = TurnedClock(), Recorder()
    faults = Faults(Random(1))
    store = MemoryStore(clock=clock, faults=faults, observe=recorder.observe)
    # The clock stands still, so that seconds hold all writes of a test.
    held, tokens, prober = (
        FakeSecrets(clock.now, 10_000),
        FakeSecurityTokens(clock.now),
        FakeProber(),
    )
    access_keys = FakeAccessKeys(tokens)
    parts = Parts(
        settings=settings,
        store=store,
        clock=clock,
        key=b"k" * 32,
        secrets=secrets,
        custody=custody or Custody(held, tokens, prober, access_keys),
        others=open_others(settings) if with_others else (),
    )

    def register(target: grpc.aio.Server) -> None:
        for add, servicer in servicers(parts):
            add(servicer, target)

    async def ready() -> bool:
        return True

    verifier = verifier_of(settings)
    server = Server(settings, CATALOGUE, verifier, register, ready, parts.close, HandlersKeep())
    await server.start()
    world = World(home, parts, clock, recorder, faults, held, tokens, prober, access_keys)
    world.address = server.address
    try:
        yield world
    finally:
        await world.close()
        await server.stop()
