"""Where it stands what is known of credentials: one item beside each account."""

from dataclasses import dataclass

from mesh.errors import EtagMismatch, ResourceNotFound
from secmesh.tenancy.v1 import account_pb2, credential_pb2
from services.tenancy.clock import Clock
from services.tenancy.credentials.versions import is_deleted
from services.tenancy.errors import ResourceDeleted
from services.tenancy.retention import expiry, free, is_gone
from services.tenancy.store.conditions import Equals
from services.tenancy.store.items import VERSION, ItemCodec, version_of, version_of_etag
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Put, Store
from services.tenancy.store.tables import EXPIRES_AT
from services.tenancy.writing import Named, OwnRequest, Write

ACCOUNT = ItemCodec(account_pb2.Account)
CREDENTIAL = ItemCodec(credential_pb2.Credential)


def name_of(tenant: str, account: str) -> str:
    """Give the resource name of an account's credential."""
    return f"tenants/{tenant}/accounts/{account}/credential"


@dataclass(frozen=True)
class Found:
    """An account and what is known of its credential, as they stand."""

    scope: TenantScope
    account_id: str
    account: account_pb2.Account
    credential: credential_pb2.Credential | None
    """None: it has none, or had one that is gone."""
    version: int
    """Of the credential's item; 0 if there is none."""

    @property
    def name(self) -> str:
        """The resource name of the credential."""
        return name_of(self.scope.tenant, self.account_id)

    def stored(self, etag: str = "") -> credential_pb2.Credential:
        """Give a copy of the credential, deleted or not; ResourceNotFound, EtagMismatch."""
        if self.credential is None:
            raise ResourceNotFound(self.name)
        if etag and version_of_etag(etag) != self.version:
            raise EtagMismatch(self.name)
        copy = credential_pb2.Credential()
        copy.CopyFrom(self.credential)
        return copy

    def usable(self, etag: str = "") -> credential_pb2.Credential:
        """Give a copy of the credential; ResourceNotFound, ResourceDeleted, EtagMismatch."""
        copy = self.stored(etag)
        if is_deleted(copy):
            raise ResourceDeleted(self.name)
        return copy


class CredentialStore:
    """Reads and writes what is known of credentials."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def find(self, tenant: str, account_id: str) -> Found:
        """Read an account with its credential in one call; ResourceNotFound for the account."""
        scope, now = TenantScope(tenant), self._clock.now()
        keys = [scope.account(account_id), scope.credential(account_id)]
        account, credential = await self._store.get_many(keys)
        if account is None or is_gone(account, now):
            raise ResourceNotFound(f"tenants/{tenant}/accounts/{account_id}")
        found = None if credential is None or is_gone(credential, now) else credential
        return Found(
            scope,
            account_id,
            ACCOUNT.message(account),
            None if found is None else CREDENTIAL.message(found),
            0 if found is None else version_of(found),
        )

    async def replace(
        self,
        found: Found,
        credential: credential_pb2.Credential,
        request: Named = OwnRequest(),  # noqa: B008 - it never changes
    ) -> Found:
        """Write a credential in place of what was found, and remember the request it is done by.

        Raises EtagMismatch if another did, RequestIdReused.
        """
        item = CREDENTIAL.item(credential, version=found.version + 1)
        if is_deleted(credential):
            item[EXPIRES_AT] = expiry(credential.purge_time.ToMicroseconds())
        condition = Equals(VERSION, found.version) if found.version else free(self._clock.now())
        key = found.scope.credential(found.account_id)
        write = request.remember(Write(self._store), found.name)
        write.add(Put(key, item, condition), lambda _there: EtagMismatch(found.name))
        await write.carry_out()
        written = CREDENTIAL.message(item)
        return Found(found.scope, found.account_id, found.account, written, found.version + 1)
