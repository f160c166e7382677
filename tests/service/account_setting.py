"""A tenant with a provider, and stores of secrets and items to try accounts with."""

from dataclasses import dataclass, field
from typing import Any

from mesh.errors import DependencyUnavailable
from secmesh.tenancy.v1 import account_pb2 as messages
from secmesh.tenancy.v1 import account_service_pb2 as pb
from secmesh.tenancy.v1.provider_service_pb2 import GetProviderRequest
from secmesh.tenancy.v1.tenant_service_pb2 import GetTenantQuotasRequest
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Action, Item, Key, Store, StoreUnavailable
from tests.service.tenancy_world import World


@dataclass
class RememberedSecrets:
    """Keeps what it was asked for; refuses it while it is broken."""

    asked: list[str] = field(default_factory=list)
    broken: bool = False

    async def delete(self, tenant: str, account: str) -> None:
        self._ask(f"delete {tenant} {account}")

    async def follow(self, tenant: str, account: str) -> None:
        self._ask(f"follow {tenant} {account}")

    def _ask(self, what: str) -> None:
        if self.broken:
            raise DependencyUnavailable("secrets")
        self.asked.append(what)


class LosingStore(MemoryStore):
    """Does what another store does, and loses the answers to writes."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        return await self._store.get(key, consistent=consistent)

    async def write(self, *actions: Action, token: str = "") -> None:
        await self._store.write(*actions, token=token)
        raise StoreUnavailable("no answer")


@dataclass
class Setting:
    """A world, a tenant with a provider in it, and its people's calls."""

    world: World
    tenant: str
    secrets: RememberedSecrets

    @property
    def stub(self) -> Any:
        return self.world.accounts(self.tenant)

    async def get(self, name: str) -> Any:
        return await self.stub.GetAccount(pb.GetAccountRequest(name=name))

    async def counts(self) -> tuple[int, int]:
        """Give the accounts that the quota counts, and those that the provider does."""
        quotas = await self.world.tenants(self.tenant).GetTenantQuotas(
            GetTenantQuotasRequest(name=f"tenants/{self.tenant}/quotas")
        )
        provider = await self.world.providers(self.tenant).GetProvider(
            GetProviderRequest(name=f"tenants/{self.tenant}/providers/aws")
        )
        return quotas.accounts, provider.account_count


def create(tenant: str, account: messages.Account, request_id: str = "") -> pb.CreateAccountRequest:
    return pb.CreateAccountRequest(
        parent=f"tenants/{tenant}", account=account, request_id=request_id
    )
