"""What the new system holds, as rows of the old one: to verify it, and for the way back."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

from mesh.errors import ResourceNotFound
from services.tenancy.accounts import ACCOUNT
from services.tenancy.credentials.accesses import Use
from services.tenancy.credentials.parts import CredentialParts
from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.migration import mapping
from services.tenancy.migration.mapping import ROLE
from services.tenancy.migration.old_rows import (
    OldAccount,
    OldCredential,
    OldProvider,
    OldRow,
    OldSchedule,
    OldTenant,
)
from services.tenancy.migration.vault import OldVault
from services.tenancy.parts import Parts
from services.tenancy.providers import PROVIDER
from services.tenancy.schedules import CODEC
from services.tenancy.store.keys import PlatformScope, TenantScope
from services.tenancy.store.port import Key, Query
from services.tenancy.store.values import Item
from services.tenancy.tenants import TENANT

_ACTIVE = "ACTIVE"
_DELETED = "DELETED"


class Current:
    """Reads without changing anything but the log of who read a secret."""

    def __init__(self, parts: Parts, credentials: CredentialParts, vault: OldVault) -> None:
        self._store = parts.store
        self._credentials = credentials
        self._vault = vault

    async def row(self, old: OldRow, account: OldAccount | None = None) -> OldRow | None:
        """Give what stands for a row now; None if nothing does. A credential needs its account."""
        if isinstance(old, OldCredential):
            return None if account is None else await self._credential(account)
        scope = TenantScope(mapping.tenant_id(old.tenant_id))
        item = await self._store.get(_key(scope, old))
        return None if item is None else _row(type(old), item)

    async def rows(self) -> AsyncIterator[OldRow]:
        """Give all that is there, in an order in which it can be written."""
        async for item in self._items(PlatformScope().tenants(_ACTIVE)):
            tenant = mapping.old_tenant(TENANT.message(item))
            yield tenant
            scope = TenantScope(mapping.tenant_id(tenant.tenant_id))
            async for each in self._items(scope.providers()):
                yield _row(OldProvider, each)
            async for each in self._items(scope.accounts()):
                account = mapping.old_account(ACCOUNT.message(each))
                yield account
                credential = await self._credential(account)
                if credential is not None:
                    yield credential
            async for each in self._items(scope.schedules()):
                yield _row(OldSchedule, each)

    async def secret(self, tenant: str, account: str) -> SecretText | None:
        """Read the secret of an account as Secrets Manager has it; None if there is none."""
        keeper = self._credentials.keeper
        try:
            return (await keeper.retrieve(tenant, account, 0, Use(purpose="migration"))).secret
        except ResourceNotFound:
            return None

    async def _credential(self, account: OldAccount) -> OldCredential | None:
        tenant = mapping.tenant_id(account.tenant_id)
        if account.credential_type == ROLE:
            item = await self._store.get(TenantScope(tenant).account(account.account_id))
            if item is None:
                return None
            found = ACCOUNT.message(item)
            parts = {"role_arn": found.role_arn, "external_id": found.external_id}
        else:
            secret = await self.secret(tenant, account.account_id)
            if secret is None:
                return None
            parts = dict(secret.credentials)
        return OldCredential(account.account_id, self._vault.seal(json.dumps(parts)))

    async def _items(self, query: Query) -> AsyncIterator[Item]:
        """Give all items of a query that are not deleted."""
        while True:
            page = await self._store.query(query)
            for item in page.items:
                state = str(item.get("status") or item.get("state", ""))
                if not state.endswith(_DELETED):
                    yield item
            if page.next is None:
                return
            query = replace(query, start=page.next)


def _key(scope: TenantScope, old: OldRow) -> Key:
    match old:
        case OldProvider():
            return scope.provider(old.provider_id)
        case OldAccount():
            return scope.account(old.account_id)
        case OldSchedule():
            return scope.schedule(old.schedule_id)
        case _:
            return scope.tenant_key()


def _row(kind: type[OldRow], item: Item) -> OldRow:
    if kind is OldTenant:
        return mapping.old_tenant(TENANT.message(item))
    if kind is OldProvider:
        return mapping.old_provider(PROVIDER.message(item))
    if kind is OldAccount:
        return mapping.old_account(ACCOUNT.message(item))
    return mapping.old_schedule(CODEC.message(item))
