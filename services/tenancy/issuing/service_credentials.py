"""Service credentials: made, given other secrets, revoked and removed."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.errors import EtagMismatch, FieldInvalid, ResourceExists, ResourceNotFound
from mesh.identity.caller import Caller
from mesh.identity.roles import ROLES
from secmesh.tenancy.v1 import service_credential_pb2 as pb
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.errors import ScopeExceeded, ServiceCredentialRevoked, WritesCollided
from services.tenancy.gate import SERVICE_CREDENTIALS, Gate
from services.tenancy.issuing.client_secret import digest_of, new_client_secret
from services.tenancy.issuing.scopes import exceeding, methods_exceeding, patterns_of
from services.tenancy.resources import created
from services.tenancy.retention import timestamp
from services.tenancy.store.conditions import Equals, Missing
from services.tenancy.store.items import VERSION, ItemCodec, text, version_of, version_of_etag
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Delete, Put, Query, Store
from services.tenancy.store.values import Item, Value
from services.tenancy.writing import Named, OwnRequest, Write

COLLECTION = "serviceCredentials"
CREDENTIAL = ItemCodec(pb.ServiceCredential)
ACTIVE, EXPIRED, REVOKED = (
    pb.SERVICE_CREDENTIAL_STATE_ACTIVE,
    pb.SERVICE_CREDENTIAL_STATE_EXPIRED,
    pb.SERVICE_CREDENTIAL_STATE_REVOKED,
)
SECRET, PREVIOUS_SECRET = "secret_sha256", "previous_secret_sha256"
ALL_TENANTS = "*"
LIFETIME_DAYS, MAX_LIFETIME_DAYS = 365, 731
_DAY = 86_400 * MICROSECONDS
_FOR_ALL = "platform.service_credentials.create"
"""What who gives a credential for all tenants must hold."""


def name_of(tenant: str, credential: str) -> str:
    """Give the resource name of a credential."""
    return f"tenants/{tenant}/{COLLECTION}/{credential}"


def client_id_of(tenant: str, credential: str) -> str:
    """Give what a credential calls itself: no tenant's id holds a dot."""
    return f"{tenant}.{credential}"


@dataclass(frozen=True)
class Issued:
    """A credential with the secret that was just made."""

    credential: pb.ServiceCredential
    secret: str

    def __repr__(self) -> str:
        return f"Issued({self.credential.name!r})"


class ServiceCredentials:
    """What is done with service credentials."""

    def __init__(self, store: Store, clock: Clock, gate: Gate) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate

    async def create(
        self,
        tenant: str,
        credential: str,
        given: pb.ServiceCredential,
        by: Caller,
        request: Named,
    ) -> Issued:
        """Make a credential.

        Raises ResourceExists, ScopeExceeded, QuotaExceeded, TenantInactive, FieldInvalid,
        RequestIdReused, and ResourceNotFound for a tenant there is none of.
        """
        now, name = self._clock.now(), name_of(tenant, credential)
        made = created(given, name, "service_credential")
        self._settle(made, now)
        _require_within(made, by)
        made.client_id = client_id_of(tenant, credential)
        made.created_by = by.subject
        secret = new_client_secret()
        item = CREDENTIAL.item(made) | {SECRET: digest_of(secret)}
        scope = TenantScope(tenant)
        taking = await self._gate.take(scope, SERVICE_CREDENTIALS)
        write = request.remember(Write(self._store), name)
        write.add(taking, lambda there: self._gate.refusal(scope, there, SERVICE_CREDENTIALS))
        put = Put(scope.service_credential(credential), item, Missing())
        await write.add(put, lambda _: ResourceExists(name)).carry_out()
        return Issued(self.message(item), secret)

    async def get(self, tenant: str, credential: str) -> pb.ServiceCredential:
        """Give a credential; ResourceNotFound."""
        return self.message(await self._item(tenant, credential))

    def listed(self, tenant: str) -> Query:
        """Give the query of a tenant's credentials."""
        return TenantScope(tenant).service_credentials()

    async def rotate(
        self,
        tenant: str,
        credential: str,
        overlap_seconds: int,
        etag: str,
        by: Caller,
        request: Named,
    ) -> Issued:
        """Make another secret.

        Raises ResourceNotFound, ServiceCredentialRevoked, EtagMismatch, RequestIdReused, and
        ScopeExceeded for who may do less than the credential: its secret would lend him the rest.
        """
        now, before = self._clock.now(), await self._item(tenant, credential)
        made = self.message(before)
        if made.state == REVOKED:
            raise ServiceCredentialRevoked(made.name)
        _require_within(made, by)
        secret = new_client_secret()
        made.secret_time.CopyFrom(timestamp(now))
        more: dict[str, Value] = {SECRET: digest_of(secret)}
        made.ClearField("previous_secret_end_time")
        if overlap_seconds:
            ends = timestamp(now + overlap_seconds * MICROSECONDS)
            made.previous_secret_end_time.CopyFrom(ends)
            more[PREVIOUS_SECRET] = text(before, SECRET)
        return Issued(await self._replace(before, made, more, etag, request), secret)

    async def revoke(self, tenant: str, credential: str, etag: str) -> pb.ServiceCredential:
        """End a credential; ResourceNotFound, EtagMismatch."""
        before = await self._item(tenant, credential)
        made = self.message(before)
        if made.HasField("revoke_time"):
            return made
        made.revoke_time.CopyFrom(timestamp(self._clock.now()))
        made.ClearField("previous_secret_end_time")
        # Without its digest no secret is the right one, whatever else goes wrong.
        return await self._replace(before, made, {}, etag)

    async def delete(self, tenant: str, credential: str, etag: str) -> None:
        """Remove a credential; ResourceNotFound, EtagMismatch."""
        scope, name = TenantScope(tenant), name_of(tenant, credential)
        key = scope.service_credential(credential)
        before, quotas = await self._store.get_many([key, scope.quota()])
        if before is None or quotas is None:
            raise ResourceNotFound(name)
        _require_etag(before, etag, name)
        condition = Equals(VERSION, version_of(before))
        write = Write(self._store).add(Delete(key, condition), lambda _: EtagMismatch(name))
        write.add(
            self._gate.uncount(scope, quotas, SERVICE_CREDENTIALS), lambda _: WritesCollided()
        )
        await write.carry_out()

    def message(self, item: Mapping[str, Value]) -> pb.ServiceCredential:
        """Give the credential of an item, with the state that it has now."""
        made = CREDENTIAL.message(item)
        made.state = self.state_of(made)
        return made

    def state_of(self, made: pb.ServiceCredential) -> "pb.ServiceCredentialState.ValueType":
        """Give the state that a credential has now."""
        if made.HasField("revoke_time"):
            return REVOKED
        return EXPIRED if made.expire_time.ToMicroseconds() <= self._clock.now() else ACTIVE

    def _settle(self, made: pb.ServiceCredential, now: int) -> None:
        for moment in (made.create_time, made.update_time, made.secret_time):
            moment.CopyFrom(timestamp(now))
        if not made.HasField("expire_time"):
            made.expire_time.CopyFrom(timestamp(now + LIFETIME_DAYS * _DAY))
        _require_bounded(made.expire_time, now)
        if not (made.roles or made.permissions):
            raise FieldInvalid.of(
                "service_credential.permissions", "needs roles or permissions", "REQUIRED"
            )
        if unknown := set(made.roles) - ROLES.keys():
            problem = f"{min(unknown)!r} is no role"
            raise FieldInvalid.of("service_credential.roles", problem, "INVALID")

    async def _item(self, tenant: str, credential: str) -> Item:
        item = await self._store.get(TenantScope(tenant).service_credential(credential))
        if item is None:
            raise ResourceNotFound(name_of(tenant, credential))
        return item

    async def _replace(
        self,
        before: Item,
        made: pb.ServiceCredential,
        more: Mapping[str, Value],
        etag: str,
        request: Named = OwnRequest(),  # noqa: B008 - it never changes
    ) -> pb.ServiceCredential:
        _require_etag(before, etag, made.name)
        made.update_time.CopyFrom(timestamp(self._clock.now()))
        made.ClearField("state")
        version = version_of(before)
        after = CREDENTIAL.item(made, version=version + 1) | dict(more)
        _, tenant, _, credential = made.name.split("/")
        key = TenantScope(tenant).service_credential(credential)
        put = Put(key, after, Equals(VERSION, version))
        write = request.remember(Write(self._store), made.name)
        await write.add(put, lambda _: EtagMismatch(made.name)).carry_out()
        return self.message(after)


def _require_bounded(expires: Timestamp, now: int) -> None:
    last = now + MAX_LIFETIME_DAYS * _DAY
    if not now < expires.ToMicroseconds() <= last:
        problem = f"is not within {MAX_LIFETIME_DAYS} days from now"
        raise FieldInvalid.of("service_credential.expire_time", problem, "OUT_OF_RANGE")


def _require_within(made: pb.ServiceCredential, by: Caller) -> None:
    """Refuse what its maker may not do himself; ScopeExceeded."""
    wanted = patterns_of((each for each in made.roles if each in ROLES), made.permissions, ROLES)
    if beyond := exceeding(wanted, by.permissions):
        raise ScopeExceeded(beyond)
    for tenant in made.tenants:
        allowed = by.permits(_FOR_ALL) if tenant == ALL_TENANTS else by.acts_for(tenant)
        if not allowed:
            raise ScopeExceeded(f"tenants/{tenant}")
    if beyond := methods_exceeding(made.methods, by.methods):
        raise ScopeExceeded(beyond)


def _require_etag(item: Item, etag: str, name: str) -> None:
    if etag and version_of_etag(etag) != version_of(item):
        raise EtagMismatch(name)
