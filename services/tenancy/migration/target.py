"""Where rows go: through the service's own rules, with the ids and times that they had."""

from collections.abc import Mapping

from google.protobuf.message import Message

from mesh.errors import ResourceNotFound
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.provider_pb2 import Provider
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh.tenancy.v1.tenant_pb2 import Tenant
from services.tenancy.accounts import Accounts, NoSecrets
from services.tenancy.credentials.accesses import Use
from services.tenancy.credentials.parts import CredentialParts
from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.migration import mapping
from services.tenancy.migration.mapping import DISABLED, IMPORTED
from services.tenancy.migration.old_rows import OldAccount, OldProvider, OldSchedule, OldTenant
from services.tenancy.parts import Parts
from services.tenancy.schedule_resources import check_timing
from services.tenancy.schedules import ACTIVE, PAUSED
from services.tenancy.store.items import VERSION
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Add, Change, Key, Set, Update
from services.tenancy.store.values import Value
from services.tenancy.writing import NamedRequest, OwnRequest

_CREATED = "create_time"


class Target:
    """Creates what is missing. Raises refusals of the service, and StoreUnavailable."""

    def __init__(self, parts: Parts, credentials: CredentialParts) -> None:
        self._parts = parts
        self._credentials = credentials

    async def tenant(self, row: OldTenant) -> Tenant:
        """Have a tenant."""
        identity, wanted = mapping.tenant_id(row.tenant_id), mapping.tenant(row)
        tenants, scope = self._parts.tenants, TenantScope(identity)
        try:
            found = await tenants.get(identity)
        except ResourceNotFound:
            found = await tenants.create(wanted, identity, self._named(identity, wanted))
        if await self._amended(scope.tenant_key(), found, {_CREATED: _micros(row)}):
            found = await tenants.get(identity)
        return found

    async def provider(self, row: OldProvider) -> Provider:
        """Have a provider."""
        tenant, wanted = mapping.tenant_id(row.tenant_id), mapping.provider(row)
        identity = mapping.resource_id(row.provider_id)
        providers, key = self._parts.providers, TenantScope(tenant).provider(identity)
        try:
            found = await providers.get(tenant, identity)
        except ResourceNotFound:
            named = self._named(tenant, wanted)
            found = await providers.create(tenant, identity, wanted, named)
        if await self._amended(key, found, {_CREATED: _micros(row)}):
            found = await providers.get(tenant, identity)
        return found

    async def account(self, row: OldAccount, role: Mapping[str, str], external_id: str) -> Account:
        """Have an account; with the external id that its role asks for, if it is given."""
        tenant, wanted = mapping.tenant_id(row.tenant_id), mapping.account(row, role)
        identity = mapping.resource_id(row.account_id)
        parts, key = self._parts, TenantScope(tenant).account(identity)
        accounts = Accounts(
            parts.store, parts.clock, parts.gate, parts.providers, NoSecrets(), lambda: identity
        )
        try:
            found = await accounts.get(tenant, identity)
        except ResourceNotFound:
            found = await accounts.create(tenant, wanted, self._named(tenant, wanted))
        facts: dict[str, Value] = {_CREATED: _micros(row)}
        if external_id:
            facts["external_id"] = external_id
        if await self._amended(key, found, facts):
            found = await accounts.get(tenant, identity)
        return found

    async def schedule(self, row: OldSchedule) -> Schedule:
        """Have a schedule, paused; one that has no more times is left as it is."""
        tenant, wanted = mapping.tenant_id(row.tenant_id), mapping.schedule(row)
        identity = mapping.resource_id(row.schedule_id)
        schedules, key = self._parts.schedules, TenantScope(tenant).schedule(identity)
        try:
            found = await schedules.get(tenant, identity)
        except ResourceNotFound:
            named = self._named(tenant, wanted)
            found = await schedules.create(tenant, identity, wanted, named)
        if found.state == ACTIVE:
            named = self._named(tenant, found)
            why = IMPORTED if row.enabled else DISABLED
            found = await schedules.pause(found.name, why, "", named)
        if await self._amended(key, found, {_CREATED: _micros(row)}):
            found = await schedules.get(tenant, identity)
        return found

    def judge(self, schedule: Schedule) -> None:
        """Refuse what would never fire, and write nothing; FieldInvalid."""
        check_timing(schedule, self._parts.clock.now())

    async def activate(self, row: OldSchedule) -> bool:
        """Have a schedule fire that waits since its import; tell whether it did not yet."""
        tenant = mapping.tenant_id(row.tenant_id)
        found = await self._parts.schedules.get(tenant, mapping.resource_id(row.schedule_id))
        if not row.enabled or found.state != PAUSED or found.pause_reason != IMPORTED:
            return False
        await self._parts.schedules.resume(found.name, "", self._named(tenant, found))
        return True

    async def credential(self, row: OldAccount, secret: SecretText, request_id: str) -> None:
        """Have a credential; the same ``request_id`` again does nothing."""
        await self._credentials.keeper.store(
            mapping.tenant_id(row.tenant_id),
            row.account_id,
            secret,
            OwnRequest(request_id),
            Use(purpose="migration"),
        )

    async def _amended(self, key: Key, found: Message, facts: Mapping[str, Value]) -> bool:
        """Write what creation sets by itself; tell whether it was otherwise."""
        changes: list[Change] = [
            Set(name, value) for name, value in facts.items() if _fact(found, name) != value
        ]
        if changes:
            await self._parts.store.write(Update(key, [*changes, Add(VERSION, 1)]))
        return bool(changes)

    def _named(self, tenant: str, request: Message) -> NamedRequest:
        return self._parts.named(tenant, "", request)


def _micros(row: OldTenant | OldProvider | OldAccount | OldSchedule) -> int:
    # In whole seconds and microseconds: a float of today has no more than microseconds.
    return int(row.created_at.timestamp()) * 1_000_000 + row.created_at.microsecond


def _fact(found: Message, name: str) -> object:
    value = getattr(found, name)
    return value.ToMicroseconds() if name == _CREATED else value
