"""Credentials: stored, retrieved, deleted for a time, put back to an older version."""

import uuid
from contextlib import suppress
from dataclasses import dataclass

from mesh.errors import (
    EtagMismatch,
    Refusal,
    RequestIdReused,
    ResourceExists,
    ResourceNotFound,
)
from secmesh.tenancy.v1 import account_pb2, credential_access_pb2, credential_pb2
from services.tenancy.account_status import DELETED
from services.tenancy.clock import Clock
from services.tenancy.credentials.accesses import Accesses, Use
from services.tenancy.credentials.credential_store import CredentialStore, Found
from services.tenancy.credentials.errors import CredentialTypeUnfit, CredentialVersionUnfit
from services.tenancy.credentials.secret_room import SecretRoom
from services.tenancy.credentials.secret_text import SecretText, type_word
from services.tenancy.credentials.versions import (
    PREVIOUS,
    USABLE,
    add,
    find,
    find_id,
    in_state,
    is_deleted,
    promote,
    roll_back,
)
from services.tenancy.errors import ResourceDeleted, ResourceNotDeleted, WritesCollided
from services.tenancy.retention import purge_time, timestamp
from services.tenancy.writing import Named

STORE = credential_access_pb2.CREDENTIAL_ACTION_STORE
RETRIEVE = credential_access_pb2.CREDENTIAL_ACTION_RETRIEVE
ROLL_BACK = credential_access_pb2.CREDENTIAL_ACTION_ROLL_BACK
DELETE = credential_access_pb2.CREDENTIAL_ACTION_DELETE
UNDELETE = credential_access_pb2.CREDENTIAL_ACTION_UNDELETE
_TRIES = 5
"""Against others that delete and undelete the same account at the same time."""


@dataclass(frozen=True)
class Retrieved:
    """A secret, and which version of it."""

    secret: SecretText
    version: int


def version_id_of(account_id: str, request_id: str) -> str:
    """Give the id of a version in Secrets Manager: a request that is sent again has the same."""
    if not request_id:
        return str(uuid.uuid4())
    return str(uuid.uuid5(uuid.UUID(request_id), account_id))


def require_type(account: account_pb2.Account, secret: SecretText) -> None:
    """Refuse a secret of another type than the account's: CredentialTypeUnfit."""
    wanted = type_word(account.credential_type)
    if wanted != secret.credential_type:
        raise CredentialTypeUnfit(wanted)


class CredentialKeeper:
    """What is done with credentials, but for putting a new one in place (``rotation.py``).

    Every method raises ResourceNotFound, and SecretStoreRefused, SecretStoreThrottled and
    DependencyUnavailable as Secrets Manager and the store have it.
    """

    def __init__(
        self, store: CredentialStore, room: SecretRoom, accesses: Accesses, clock: Clock
    ) -> None:
        self._store = store
        self._room = room
        self._accesses = accesses
        self._clock = clock

    async def store(
        self, tenant: str, account_id: str, secret: SecretText, request: Named, use: Use
    ) -> credential_pb2.Credential:
        """Store a first credential.

        Raises ResourceExists, ResourceDeleted, CredentialTypeUnfit, TooLarge, PendingDeletion,
        RequestIdReused.
        """
        found = await self._store.find(tenant, account_id)
        if found.account.status == DELETED:
            raise ResourceDeleted(found.account.name)
        require_type(found.account, secret)
        version_id = version_id_of(account_id, request.id)
        if found.credential is not None:
            return await self._stored_before(found, version_id, secret, request)
        now = self._clock.now()
        made = credential_pb2.Credential(
            name=found.name,
            credential_type=found.account.credential_type,
            metadata=secret.metadata,
            create_time=timestamp(now),
        )
        number = add(made, version_id, secret.key_id, use.subject, now).version
        promote(made, number, now, watch=False)
        await self._room.create(found, number, version_id, secret)
        try:
            written = await self._store.replace(found, made, request)
        except RequestIdReused:
            # By the same request at the same time, or by another that has its id.
            await request.was_done()
            return await self.describe(tenant, account_id)
        await self._accesses.record(found.scope, account_id, STORE, use, version=number)
        # The account may have been deleted meanwhile, when it had nothing to take along.
        await self.follow(tenant, account_id)
        return written.stored()

    async def describe(self, tenant: str, account_id: str) -> credential_pb2.Credential:
        """Say what is known of a credential, a deleted one too."""
        return (await self._store.find(tenant, account_id)).stored()

    async def retrieve(self, tenant: str, account_id: str, number: int, use: Use) -> Retrieved:
        """Give a secret, once the log holds who got it; CredentialVersionUnfit, ResourceDeleted."""
        found = await self._store.find(tenant, account_id)
        number = number or found.usable().current_version
        try:
            secret = await self.read(found, number)
        except Refusal:
            await self._accesses.record(
                found.scope, account_id, RETRIEVE, use, version=number, granted=False
            )
            raise
        await self._accesses.record(found.scope, account_id, RETRIEVE, use, version=number)
        return Retrieved(secret, number)

    async def read(self, found: Found, number: int) -> SecretText:
        """Give a version to this service itself; CredentialVersionUnfit."""
        version = find(found.usable(), number)
        if version is None or version.state not in USABLE:
            raise CredentialVersionUnfit(number)
        return await self._room.read(found, number, version.version_id)

    async def roll_back(
        self, tenant: str, account_id: str, number: int, etag: str, use: Use
    ) -> credential_pb2.Credential:
        """Put an older version back, the previous one by 0; CredentialVersionUnfit, EtagMismatch.

        What is current already is left so.
        """
        found = await self._store.find(tenant, account_id)
        credential = found.usable(etag)
        version = find(credential, number) if number else in_state(credential, PREVIOUS)
        if version is None or version.state not in USABLE:
            raise CredentialVersionUnfit(number)
        number = version.version
        if number != credential.current_version:
            roll_back(credential, number, self._clock.now())
            found = await self._store.replace(found, credential)
        await self._room.settle(found)
        await self._accesses.record(found.scope, account_id, ROLL_BACK, use, version=number)
        return found.stored()

    async def delete_credential(
        self, tenant: str, account_id: str, etag: str, use: Use
    ) -> credential_pb2.Credential:
        """Delete a credential for 30 days; one that is deleted stays so. EtagMismatch."""
        return await self._deleted(tenant, account_id, etag, use, with_account=False)

    async def _deleted(
        self, tenant: str, account_id: str, etag: str, use: Use, *, with_account: bool
    ) -> credential_pb2.Credential:
        found = await self._store.find(tenant, account_id)
        credential = found.stored(etag)
        # The secret first: what broke off between the two is finished by the same call again.
        await self._room.delete(tenant, account_id)
        if is_deleted(credential):
            return credential
        now = self._clock.now()
        credential.delete_time.CopyFrom(timestamp(now))
        credential.purge_time.CopyFrom(timestamp(purge_time(now)))
        credential.deleted_with_account = with_account
        credential.update_time.CopyFrom(timestamp(now))
        written = await self._store.replace(found, credential)
        await self._accesses.record(found.scope, account_id, DELETE, use)
        return written.stored()

    async def undelete_credential(
        self, tenant: str, account_id: str, etag: str, use: Use
    ) -> credential_pb2.Credential:
        """Bring a credential back; ResourceNotDeleted, ResourceDeleted for that of an account."""
        made = await self._brought_back(tenant, account_id, etag, use)
        await self.follow(tenant, account_id)
        return made

    async def _brought_back(
        self, tenant: str, account_id: str, etag: str, use: Use
    ) -> credential_pb2.Credential:
        found = await self._store.find(tenant, account_id)
        credential = found.stored(etag)
        if not is_deleted(credential):
            raise ResourceNotDeleted(found.name)
        if found.account.status == DELETED:
            raise ResourceDeleted(found.account.name)
        if not await self._room.restore(tenant, account_id):
            raise ResourceNotFound(found.name)
        credential.ClearField("delete_time")
        credential.ClearField("purge_time")
        credential.ClearField("deleted_with_account")
        credential.update_time.CopyFrom(timestamp(self._clock.now()))
        written = await self._store.replace(found, credential)
        await self._accesses.record(found.scope, account_id, UNDELETE, use)
        return written.stored()

    async def delete(self, tenant: str, account: str) -> None:
        """Delete the credential of an account, if it has one: see ``AccountSecrets``."""
        found = await self._store.find(tenant, account)
        if found.credential is not None:
            use = Use(purpose="account deleted")
            await self._deleted(tenant, account, "", use, with_account=True)

    async def follow(self, tenant: str, account: str) -> None:
        """Delete the credential of an account that is deleted, or bring it back with it.

        One that was deleted by itself, before the account, stays so. Looks again after what it
        did: another call may have led the account elsewhere meanwhile. See ``AccountSecrets``.
        Raises WritesCollided.
        """
        done: bool | None = None
        for _ in range(_TRIES):
            found = await self._store.find(tenant, account)
            deleted = found.account.status == DELETED
            if found.credential is None or done == deleted:
                return
            with suppress(EtagMismatch, ResourceDeleted, ResourceNotDeleted):
                if deleted:
                    await self.delete(tenant, account)
                elif found.credential.deleted_with_account:
                    use = Use(purpose="account undeleted")
                    await self._brought_back(tenant, account, "", use)
                done = deleted
        raise WritesCollided

    async def _stored_before(
        self, found: Found, version_id: str, secret: SecretText, request: Named
    ) -> credential_pb2.Credential:
        credential = found.stored()
        await request.was_done()
        if is_deleted(credential):
            raise ResourceDeleted(found.name)
        version = find_id(credential, version_id)
        if version is None:
            raise ResourceExists(found.name)
        # The same request again: Secrets Manager tells whether it holds the same, too.
        await self._room.add(found, version.version, version_id, secret)
        await self._room.settle(found)
        return credential
