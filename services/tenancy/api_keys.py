"""API keys: made, changed, revoked, and found again by their hash.

Two items each: what is known of a key among those of its tenant, and under the key's hash
what leads there. Neither holds the key.
"""

from collections.abc import Mapping, Sequence

from mesh.errors import (
    EtagMismatch,
    FieldInvalid,
    ResourceExists,
    ResourceNotFound,
)
from mesh.identity.api_key import ApiKey
from mesh.identity.caller import Caller
from mesh.identity.roles import ROLES
from secmesh.tenancy.v1 import api_key_pb2 as pb
from secmesh.tenancy.v1 import api_key_service_pb2 as service_pb
from services.tenancy.api_key_hash import ApiKeyHash
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.errors import ApiKeyRevoked, ScopeExceeded
from services.tenancy.gate import API_KEYS, CLOSED, Gate
from services.tenancy.issuing.scopes import exceeding, methods_exceeding, patterns_of
from services.tenancy.names import ids_in
from services.tenancy.resources import created, updated
from services.tenancy.retention import expiry, is_gone, purge_time, timestamp
from services.tenancy.store.conditions import Any, AtMost, Equals, Missing
from services.tenancy.store.guards import OWNER, owner_of
from services.tenancy.store.items import (
    VERSION,
    ItemCodec,
    changes,
    integer,
    text,
    version_of,
    version_of_etag,
)
from services.tenancy.store.keys import PlatformScope, TenantScope
from services.tenancy.store.port import (
    ConditionFailed,
    Put,
    Query,
    Set,
    Store,
    StoreError,
    Update,
)
from services.tenancy.store.tables import EXPIRES_AT
from services.tenancy.store.values import Item, Value
from services.tenancy.writing import NamedRequest, Write

COLLECTION = "apiKeys"
API_KEY = ItemCodec(pb.ApiKey)
KEY_HASH = "key_hash"
LONGEST_SECONDS = 366 * 24 * 3600
"""From now to the expiry of a key."""
USE_SECONDS = 3600
"""After so long the use of a key is written down anew."""
_TENANT_ID, _API_KEY_ID = "tenant_id", "api_key_id"
_EXPIRES, _REVOKED, _USED = "expire_time", "revoke_time", "last_use_time"
_PLATFORM = PlatformScope()


def name_of(tenant: str, api_key: str) -> str:
    """Give the resource name of a key."""
    return f"tenants/{tenant}/{COLLECTION}/{api_key}"


class ApiKeys:
    """What is done with API keys."""

    def __init__(self, store: Store, clock: Clock, gate: Gate, hashed: ApiKeyHash) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._hash = hashed

    async def create(
        self, tenant: str, given: pb.ApiKey, caller: Caller, request: NamedRequest
    ) -> tuple[pb.ApiKey, ApiKey]:
        """Make a key; give what is known of it, and the key itself, which is kept nowhere.

        Raises FieldInvalid, ScopeExceeded for what the caller cannot do themselves,
        QuotaExceeded, TenantInactive, and ResourceNotFound for a tenant there is none of.
        """
        key, scope, now = ApiKey.generate(), TenantScope(tenant), self._clock.now()
        name = name_of(tenant, key.id)
        made = created(given, name, "api_key")
        _require_time(made, now)
        _require_held(made, caller)
        made.creator = caller.subject
        made.create_time.CopyFrom(timestamp(now))
        made.update_time.CopyFrom(timestamp(now))
        hashed = self._hash.of(key.id, key.digest())
        item = API_KEY.item(made) | {KEY_HASH: hashed}
        leading: Item = {OWNER: tenant, _API_KEY_ID: key.id}
        taking = await self._gate.take(scope, API_KEYS)
        write = request.remember(Write(self._store), name)
        write.add(taking, lambda there: self._gate.refusal(scope, there, API_KEYS))
        write.add(Put(scope.api_key(key.id), item, Missing()), lambda _: ResourceExists(name))
        lookup = Put(_PLATFORM.api_key_lookup(hashed), leading, Missing())
        await write.add(lookup, lambda _: ResourceExists(name)).carry_out()
        return shown(API_KEY.message(item), now), key

    async def get(self, tenant: str, api_key: str) -> pb.ApiKey:
        """Give what is known of a key, a revoked one too until it is purged; ResourceNotFound."""
        item = await self._item(tenant, api_key)
        return shown(API_KEY.message(item), self._clock.now())

    def listed(self, tenant: str) -> Query:
        """Give the query of a tenant's keys."""
        return TenantScope(tenant).api_keys()

    async def update(
        self, given: pb.ApiKey, paths: Sequence[str], request: NamedRequest
    ) -> pb.ApiKey:
        """Change a key; ResourceNotFound, ApiKeyRevoked, EtagMismatch, FieldInvalid."""
        tenant, api_key = ids_in(given.name, COLLECTION)
        scope, now = TenantScope(tenant), self._clock.now()
        before = await self._item(tenant, api_key)
        old = API_KEY.message(before)
        _require_etag(before, given.etag, given.name)
        if _REVOKED in before:
            raise ApiKeyRevoked(given.name)
        made = updated(old, given, paths, "api_key")
        if made.expire_time != old.expire_time:
            _require_time(made, now)
        made.update_time.CopyFrom(timestamp(now))
        write = request.remember(Write(self._store), given.name)
        after = self._change(write, before, made)
        write.add(self._gate.check(scope), lambda there: self._gate.refusal(scope, there))
        await write.carry_out()
        return shown(API_KEY.message(after), now)

    async def revoke(
        self, tenant: str, api_key: str, etag: str, request: NamedRequest
    ) -> pb.ApiKey:
        """End a key for good; ResourceNotFound, EtagMismatch, TenantInactive."""
        scope, now = TenantScope(tenant), self._clock.now()
        before = await self._item(tenant, api_key)
        made = API_KEY.message(before)
        _require_etag(before, etag, made.name)
        if _REVOKED in before:
            await request.was_done()
            return shown(made, now)
        ends = purge_time(now)
        made.update_time.CopyFrom(timestamp(now))
        made.revoke_time.CopyFrom(timestamp(now))
        made.purge_time.CopyFrom(timestamp(ends))
        write = request.remember(Write(self._store), made.name)
        after = self._change(write, before, made, {EXPIRES_AT: expiry(ends)})
        lookup = _PLATFORM.api_key_lookup(text(before, KEY_HASH))
        leaving = Update(lookup, [Set(EXPIRES_AT, expiry(ends))])
        write.add(leaving, lambda _there: EtagMismatch(made.name))
        giving = self._gate.give_back(scope, API_KEYS)
        write.add(giving, lambda there: self._gate.refusal(scope, there))
        await write.carry_out()
        return shown(API_KEY.message(after), now)

    async def resolve(self, key_id: str, secret_sha256: str) -> service_pb.ResolveApiKeyResponse:
        """Tell what a key is good for, and note that it is used."""
        now = self._clock.now()
        lookup = _PLATFORM.api_key_lookup(self._hash.of(key_id, secret_sha256))
        leading = await self._store.get(lookup)
        if leading is None or is_gone(leading, now):
            return _verdict(service_pb.API_KEY_VERDICT_UNKNOWN)
        scope = TenantScope(owner_of(leading))
        place = scope.api_key(text(leading, _API_KEY_ID))
        item, gate = await self._store.get_many([place, scope.quota()])
        if item is None or is_gone(item, now):
            return _verdict(service_pb.API_KEY_VERDICT_UNKNOWN)
        if _REVOKED in item:
            return _verdict(service_pb.API_KEY_VERDICT_REVOKED)
        if gate is None or CLOSED in gate:
            return _verdict(service_pb.API_KEY_VERDICT_TENANT_INACTIVE)
        if integer(item, _EXPIRES) <= now:
            return _verdict(service_pb.API_KEY_VERDICT_EXPIRED)
        await self._note_use(scope, item, now)
        answer = _verdict(service_pb.API_KEY_VERDICT_GOOD)
        answer.api_key.CopyFrom(shown(API_KEY.message(item), now))
        return answer

    async def _note_use(self, scope: TenantScope, item: Item, now: int) -> None:
        """Write down that a key is used, once an hour; a key is good without it."""
        latest = now - USE_SECONDS * MICROSECONDS
        if integer(item, _USED) > latest:
            return
        unnoted = Any(Missing(_USED), AtMost(_USED, latest))
        noting = Update(scope.api_key(text(item, _API_KEY_ID)), [Set(_USED, now)], unnoted)
        try:
            await self._store.write(noting)
        except ConditionFailed:
            return  # another replica was first
        except StoreError:
            return  # the next use is noted
        item[_USED] = now

    async def _item(self, tenant: str, api_key: str) -> Item:
        item = await self._store.get(TenantScope(tenant).api_key(api_key))
        if item is None or is_gone(item, self._clock.now()):
            raise ResourceNotFound(name_of(tenant, api_key))
        return item

    def _change(
        self,
        write: Write,
        before: Item,
        made: pb.ApiKey,
        more: Mapping[str, Value] | None = None,
    ) -> Item:
        version = version_of(before)
        after = API_KEY.item(made, version=version + 1) | {KEY_HASH: before[KEY_HASH]}
        after |= dict(more or {})
        place = TenantScope(text(before, _TENANT_ID)).api_key(text(before, _API_KEY_ID))
        action = Update(place, changes(before, after), Equals(VERSION, version))
        write.add(action, lambda _there: EtagMismatch(made.name))
        return after


def shown(key: pb.ApiKey, now: int) -> pb.ApiKey:
    """Have what is known of a key tell its state at a moment (microseconds since 1970)."""
    if key.HasField("revoke_time"):
        key.state = pb.API_KEY_STATE_REVOKED
    elif key.expire_time.ToNanoseconds() // 1000 <= now:
        key.state = pb.API_KEY_STATE_EXPIRED
    else:
        key.state = pb.API_KEY_STATE_ACTIVE
    return key


def _require_time(made: pb.ApiKey, now: int) -> None:
    field, ends = f"api_key.{_EXPIRES}", made.expire_time.ToNanoseconds() // 1000
    if ends <= now:
        raise FieldInvalid.of(field, "is over")
    if ends > now + LONGEST_SECONDS * MICROSECONDS:
        raise FieldInvalid.of(field, "is more than 366 days from now")


def _require_held(made: pb.ApiKey, caller: Caller) -> None:
    """Refuse a key that may do nothing, or more than who makes it."""
    if not (made.roles or made.permissions):
        raise FieldInvalid.of("api_key.roles", "a key needs roles or permissions", "REQUIRED")
    if unknown := [role for role in made.roles if role not in ROLES]:
        raise FieldInvalid.of("api_key.roles", f"{unknown[0]!r} is no role")
    wanted = patterns_of(made.roles, made.permissions, ROLES)
    if beyond := exceeding(wanted, caller.permissions):
        raise ScopeExceeded(beyond)
    if beyond := methods_exceeding(made.methods, caller.methods):
        raise ScopeExceeded(beyond)


def _require_etag(item: Item, etag: str, name: str) -> None:
    if etag and version_of_etag(etag) != version_of(item):
        raise EtagMismatch(name)


def _verdict(verdict: service_pb.ApiKeyVerdict.ValueType) -> service_pb.ResolveApiKeyResponse:
    return service_pb.ResolveApiKeyResponse(verdict=verdict)
