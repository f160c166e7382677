"""Accounts: kept, found, deleted for a time, and led from status to status."""

import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

from mesh.errors import EtagMismatch, ResourceNotFound
from secmesh.tenancy.v1 import account_pb2 as pb
from secmesh.tenancy.v1 import provider_pb2
from services.tenancy import account_rules
from services.tenancy.account_status import (
    DELETED,
    ENTERED,
    FOLLOWING,
    OUTCOMES,
    PENDING,
    SUSPENDED,
    VERIFIABLE,
    Status,
    word_of,
)
from services.tenancy.clock import Clock
from services.tenancy.errors import (
    AccountStatusUnfit,
    ResourceDeleted,
    ResourceNotDeleted,
    ValueTaken,
)
from services.tenancy.gate import ACCOUNTS, Gate
from services.tenancy.names import id_within, ids_in, last_of
from services.tenancy.providers import ACTIVE, Providers, csp_of
from services.tenancy.providers import COLLECTION as PROVIDERS
from services.tenancy.resources import created, updated
from services.tenancy.retention import (
    claim_free,
    expiry,
    free,
    is_gone,
    purge_time,
    timestamp,
)
from services.tenancy.store.conditions import Equals
from services.tenancy.store.guards import OWNER, owner_of
from services.tenancy.store.items import (
    VERSION,
    ItemCodec,
    changes,
    text,
    version_of,
    version_of_etag,
)
from services.tenancy.store.keys import PlatformScope, TenantScope
from services.tenancy.store.port import Key, Put, Query, Remove, Set, Store, Update
from services.tenancy.store.tables import EXPIRES_AT
from services.tenancy.store.values import Item, Value
from services.tenancy.writing import NamedRequest, Write

COLLECTION = "accounts"
ACCOUNT = ItemCodec(pb.Account)
_MAX_REASON = 1024


def name_of(tenant: str, account: str) -> str:
    """Give the resource name of an account."""
    return f"tenants/{tenant}/accounts/{account}"


class AccountSecrets(Protocol):
    """What must happen to the secrets of an account that goes or comes back.

    Both may be asked for again, and do nothing where there is no secret.
    """

    async def follow(self, tenant: str, account: str) -> None:
        """Have them deleted for 30 days if the account is, and there if it is there."""

    async def delete(self, tenant: str, account: str) -> None:
        """Have them deleted in 30 days, whatever the account is."""


class NoSecrets:
    """See ``AccountSecrets``: there are none."""

    async def follow(self, tenant: str, account: str) -> None:
        """Do nothing."""

    async def delete(self, tenant: str, account: str) -> None:
        """Do nothing."""


class Accounts:
    """What is done with accounts."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        gate: Gate,
        providers: Providers,
        secrets: AccountSecrets,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """``new_id`` gives ids in no order, so that DynamoDB can split a large tenant."""
        self._store = store
        self._clock = clock
        self._gate = gate
        self._providers = providers
        self._secrets = secrets
        self._new_id = new_id

    async def create(self, tenant: str, given: pb.Account, request: NamedRequest) -> pb.Account:
        """Store an account.

        Raises ResourceNotFound for another tenant's provider or one there is none of,
        ResourceDeleted, ValueTaken, QuotaExceeded, TenantInactive, FieldInvalid.
        """
        scope, now, account = TenantScope(tenant), self._clock.now(), self._new_id()
        made = created(given, name_of(tenant, account), "account")
        provider = await self._provider(tenant, made.provider)
        made.provider_type = provider.provider_type
        account_rules.check(made, "account")
        made.external_id = account_rules.new_external_id()
        made.status = PENDING
        made.create_time.CopyFrom(timestamp(now))
        made.update_time.CopyFrom(timestamp(now))
        item = _item(made, 1)
        taking = await self._gate.take(scope, ACCOUNTS)
        write = request.remember(Write(self._store), made.name)
        write.add(taking, lambda there: self._gate.refusal(scope, there, ACCOUNTS))
        write.add(
            claim_free(_guard(scope, made), account, now),
            lambda _there: ValueTaken("account.cloud_account_id"),
        )
        write.add(Put(scope.account(account), item, free(now)), lambda _: EtagMismatch(made.name))
        self._providers.add_account(tenant, last_of(made.provider), write)
        await write.carry_out()
        return ACCOUNT.message(item)

    async def get(self, tenant: str, account: str) -> pb.Account:
        """Give an account, a deleted one too until it is purged; ResourceNotFound."""
        return ACCOUNT.message(await self._stored(tenant, account))

    async def lookup(
        self, tenant: str, provider_type: provider_pb2.ProviderType.ValueType, cloud_id: str
    ) -> pb.Account:
        """Give the account that the vendor knows by an id; ResourceNotFound."""
        guard = TenantScope(tenant).account_guard(csp_of(provider_type), cloud_id)
        owner = owner_of(await self._store.get(guard))
        if not owner:
            problem = f"tenants/{tenant} has no account {cloud_id} of this provider_type"
            raise ResourceNotFound(name_of(tenant, "-"), problem)
        return await self.get(tenant, owner)

    async def enterable(self, tenant: str, account: str) -> pb.Account:
        """Give an account that scans and sessions may enter.

        Raises ResourceNotFound, AccountStatusUnfit, and TenantInactive.
        """
        found = await self.get(tenant, account)
        if found.status not in ENTERED:
            raise AccountStatusUnfit(found.name, word_of(found.status))
        await self._gate.require_open(TenantScope(tenant))
        return found

    def listed(self, tenant: str, provider: str = "", status: Status | None = None) -> Query:
        """Give the query of a tenant's accounts, or of those of a provider in a status."""
        scope = TenantScope(tenant)
        if not provider:
            return scope.accounts()
        return scope.accounts_of_provider(provider, word_of(status).upper() if status else "")

    async def update(
        self, given: pb.Account, paths: Sequence[str], request: NamedRequest
    ) -> pb.Account:
        """Change an account; ResourceNotFound, ResourceDeleted, EtagMismatch, FieldInvalid."""
        tenant, account = ids_in(given.name, COLLECTION)
        before = await self._stored(tenant, account, given.etag)
        old = ACCOUNT.message(before)
        if old.status == DELETED:
            raise ResourceDeleted(given.name)
        made = updated(old, given, paths, "account")
        account_rules.check(made, "account")
        if account_rules.way_in(made) != account_rules.way_in(old) and old.status != SUSPENDED:
            made.status = PENDING
            made.ClearField("status_reason")
        return await self._changed(before, made, request)

    async def suspend(
        self, tenant: str, account: str, reason: str, etag: str, request: NamedRequest
    ) -> pb.Account:
        """Stop an account; ResourceNotFound, AccountStatusUnfit, EtagMismatch."""
        return await self._led(tenant, account, SUSPENDED, reason, etag, request)

    async def resume(
        self, tenant: str, account: str, etag: str, request: NamedRequest
    ) -> pb.Account:
        """Let a suspended account be verified; ResourceNotFound, AccountStatusUnfit."""
        before = await self._stored(tenant, account, etag)
        made = ACCOUNT.message(before)
        if made.status != SUSPENDED:
            raise AccountStatusUnfit(made.name, word_of(made.status))
        _lead(made, PENDING, "")
        return await self._changed(before, made, request)

    async def verified(
        self, tenant: str, verified: pb.Account, outcome: Status, reason: str = ""
    ) -> pb.Account:
        """Keep what a verification of an account, as it was read before, came to.

        ``outcome`` is VERIFIED, ACTIVE or FAILED, ``reason`` is for FAILED. EtagMismatch if the
        account changed meanwhile: then it says nothing about it. AccountStatusUnfit.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"no outcome of a verification: {word_of(outcome)}")
        before = await self._stored(tenant, last_of(verified.name), verified.etag)
        made = ACCOUNT.message(before)
        if made.status not in VERIFIABLE:
            raise AccountStatusUnfit(made.name, word_of(made.status))
        _lead(made, outcome, reason)
        made.verify_time.CopyFrom(timestamp(self._clock.now()))
        return await self._changed(before, made, None)

    async def delete(
        self, tenant: str, account: str, etag: str, request: NamedRequest
    ) -> pb.Account:
        """Delete an account and its secrets for 30 days; ResourceDeleted, EtagMismatch."""
        try:
            made = await request.once(
                lambda: self._gone(tenant, account, etag, request),
                lambda _name: self.get(tenant, account),
            )
        except ResourceDeleted:
            # A process may have ended between the two.
            await self._secrets.follow(tenant, account)
            raise
        await self._secrets.follow(tenant, account)
        return made

    async def undelete(
        self, tenant: str, account: str, etag: str, request: NamedRequest
    ) -> pb.Account:
        """Bring an account and its secrets back; ResourceNotDeleted, QuotaExceeded."""
        try:
            made = await request.once(
                lambda: self._back(tenant, account, etag, request),
                lambda _name: self.get(tenant, account),
            )
        except ResourceNotDeleted:
            await self._secrets.follow(tenant, account)
            raise
        await self._secrets.follow(tenant, account)
        return made

    async def _gone(
        self, tenant: str, account: str, etag: str, request: NamedRequest
    ) -> pb.Account:
        scope, now = TenantScope(tenant), self._clock.now()
        before = await self._stored(tenant, account, etag)
        made = ACCOUNT.message(before)
        if made.status == DELETED:
            raise ResourceDeleted(made.name)
        ends = purge_time(now)
        _lead(made, DELETED, "")
        made.delete_time.CopyFrom(timestamp(now))
        made.purge_time.CopyFrom(timestamp(ends))
        write = request.remember(Write(self._store), made.name)
        after = self._replace(write, before, made, {EXPIRES_AT: expiry(ends)})
        expiring = Set(EXPIRES_AT, expiry(ends))
        held = Update(_guard(scope, made), [expiring], Equals(OWNER, account))
        write.add(held, lambda _there: EtagMismatch(made.name))
        giving = self._gate.give_back(scope, ACCOUNTS)
        write.add(giving, lambda there: self._gate.refusal(scope, there))
        self._providers.remove_account(tenant, last_of(made.provider), write)
        await write.carry_out()
        return ACCOUNT.message(after)

    async def _back(
        self, tenant: str, account: str, etag: str, request: NamedRequest
    ) -> pb.Account:
        scope = TenantScope(tenant)
        before = await self._stored(tenant, account, etag)
        made = ACCOUNT.message(before)
        if made.status != DELETED:
            raise ResourceNotDeleted(made.name)
        _lead(made, PENDING, "")
        made.ClearField("delete_time")
        made.ClearField("purge_time")
        taking = await self._gate.take(scope, ACCOUNTS)
        write = request.remember(Write(self._store), made.name)
        write.add(taking, lambda there: self._gate.refusal(scope, there, ACCOUNTS))
        after = self._replace(write, before, made, {})
        held = Update(_guard(scope, made), [Remove(EXPIRES_AT)], Equals(OWNER, account))
        write.add(held, lambda _there: EtagMismatch(made.name))
        self._providers.add_account(tenant, last_of(made.provider), write)
        await write.carry_out()
        return ACCOUNT.message(after)

    async def _provider(self, tenant: str, name: str) -> provider_pb2.Provider:
        found = await self._providers.get(tenant, id_within(tenant, name, PROVIDERS))
        if found.status != ACTIVE:
            raise ResourceDeleted(name)
        return found

    async def _stored(self, tenant: str, account: str, etag: str = "") -> Item:
        item = await self._store.get(TenantScope(tenant).account(account))
        if item is None or is_gone(item, self._clock.now()):
            raise ResourceNotFound(name_of(tenant, account))
        if etag and version_of_etag(etag) != version_of(item):
            raise EtagMismatch(name_of(tenant, account))
        return item

    async def _led(
        self,
        tenant: str,
        account: str,
        status: Status,
        reason: str,
        etag: str,
        request: NamedRequest,
    ) -> pb.Account:
        before = await self._stored(tenant, account, etag)
        made = ACCOUNT.message(before)
        _lead(made, status, reason)
        return await self._changed(before, made, request)

    async def _changed(
        self, before: Item, made: pb.Account, request: NamedRequest | None
    ) -> pb.Account:
        """Write an account that neither goes nor comes."""
        scope = TenantScope(text(before, "tenant_id"))
        write = Write(self._store)
        if request is not None:
            request.remember(write, made.name)
        after = self._replace(write, before, made, {})
        write.add(self._gate.check(scope), lambda there: self._gate.refusal(scope, there))
        await write.carry_out()
        return ACCOUNT.message(after)

    def _replace(
        self, write: Write, before: Item, made: pb.Account, more: dict[str, Value]
    ) -> Item:
        version = version_of(before)
        made.update_time.CopyFrom(timestamp(self._clock.now()))
        after = _item(made, version + 1) | more
        action = Update(_key(made.name), changes(before, after), Equals(VERSION, version))
        write.add(action, lambda _there: EtagMismatch(made.name))
        return after


def _lead(made: pb.Account, status: Status, reason: str) -> None:
    """Give an account the status; AccountStatusUnfit if it does not follow its own."""
    if status not in FOLLOWING[made.status]:
        raise AccountStatusUnfit(made.name, word_of(made.status))
    made.status = status
    made.status_reason = reason[:_MAX_REASON]


def _item(made: pb.Account, version: int) -> Item:
    """Give the item of an account with its places in the indexes."""
    tenant, account = ids_in(made.name, COLLECTION)
    item = ACCOUNT.item(made, version=version)
    provider, status = last_of(made.provider), word_of(made.status).upper()
    item |= TenantScope(tenant).by_provider(provider, status, account)
    return item | PlatformScope().by_account_id(account)


def _guard(scope: TenantScope, made: pb.Account) -> Key:
    return scope.account_guard(csp_of(made.provider_type), made.cloud_account_id)


def _key(name: str) -> Key:
    tenant, account = ids_in(name, COLLECTION)
    return TenantScope(tenant).account(account)
