"""Access keys that follow one another by themselves: made by the key before, tested, used.

There is no leader: whoever finds a credential due claims it by moving its next time on, under
the version that was read. What breaks off is due again when the claim ends. A user has two
keys at most, so the key before is deleted half a day later, when no session of it is left.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum

from mesh.errors import EtagMismatch, Refusal, ResourceNotFound
from secmesh.tenancy.v1 import account_pb2, credential_access_pb2, credential_pb2
from services.tenancy.account_status import DELETED, SUSPENDED
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.credentials.access_keys import AccessKeys, AccessKeysError
from services.tenancy.credentials.accesses import SERVICE, Accesses, Use
from services.tenancy.credentials.credential_store import CredentialStore, Found
from services.tenancy.credentials.errors import (
    CredentialRefused,
    ProviderUnsupported,
    tokens_refusal,
)
from services.tenancy.credentials.keeper import CredentialKeeper
from services.tenancy.credentials.rotation import Rotation
from services.tenancy.credentials.secret_text import SecretText, type_word
from services.tenancy.credentials.sts import AwsKeys, SecurityTokens, TokensError
from services.tenancy.credentials.telemetry import rotated
from services.tenancy.credentials.versions import CURRENT, PENDING, find, is_deleted, retire
from services.tenancy.retention import timestamp
from services.tenancy.scheduling.backoff import Backoff
from services.tenancy.writing import OwnRequest

ROTATE = credential_access_pb2.CREDENTIAL_ACTION_ROTATE
SET_ROTATION = credential_access_pb2.CREDENTIAL_ACTION_SET_ROTATION
DAY = 86_400 * MICROSECONDS
CLAIM = 600 * MICROSECONDS
"""After which a rotation that broke off is taken up by whoever comes first."""
SKEW = 60 * MICROSECONDS
"""By which the clocks of IAM and of this process may differ."""
_TRIES = 8
_BACKOFF = Backoff(first=1_800, most=86_400)
_USE = Use(purpose="scheduled rotation")
_USER = ":user/"
_KEY = account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY


class Outcome(Enum):
    """What came of one credential."""

    NOTHING = "nothing"
    """It is not due, or another process has it."""
    ROTATED = "rotated"
    RETIRED = "retired"
    """The key before was deleted."""
    FAILED = "failed"


class _NoUser(AccessKeysError):
    """The key belongs to no user of IAM, as that of the root."""

    word = "no_user"


class ScheduledRotation:
    """Says how often keys change, and changes those that are due."""

    def __init__(
        self,
        store: CredentialStore,
        keeper: CredentialKeeper,
        rotation: Rotation,
        tokens: SecurityTokens,
        keys: AccessKeys,
        accesses: Accesses,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._rotation = rotation
        self._tokens = tokens
        self._keys = keys
        self._accesses = accesses
        self._clock = clock
        self._chance = chance

    async def set_interval(
        self, tenant: str, account_id: str, days: int, etag: str, use: Use
    ) -> credential_pb2.Credential:
        """Have a key change every so many days, or by itself no more (0).

        Raises ResourceNotFound, EtagMismatch, ProviderUnsupported, DependencyUnavailable.
        """
        found = await self._store.find(tenant, account_id)
        credential = found.usable(etag)
        if found.account.credential_type != _KEY:
            raise ProviderUnsupported(type_word(found.account.credential_type).partition("_")[0])
        now = self._clock.now()
        if days:
            used = find(credential, credential.current_version)
            since = used.create_time.ToMicroseconds() if used is not None else now
            credential.rotation.interval_days = days
            credential.rotation.next_time.CopyFrom(timestamp(max(now, since + days * DAY)))
        else:
            credential.ClearField("rotation")
        credential.update_time.CopyFrom(timestamp(now))
        written = await self._store.replace(found, credential)
        await self._accesses.record(
            found.scope, account_id, SET_ROTATION, use, version=credential.current_version
        )
        return written.stored()

    async def run(self, tenant: str, account_id: str) -> Outcome:
        """Do what is due for one credential; other processes may try the same.

        Raises ResourceNotFound and DependencyUnavailable; then it is due again.
        """
        found = await self._store.find(tenant, account_id)
        if not self._may_change(found):
            return Outcome.NOTHING
        plan, now = found.usable().rotation, self._clock.now()
        if _changes(plan, now):
            return await self._counted(self._attempt, found)
        if _retires(plan, now):
            return await self._counted(self._retire, found)
        return Outcome.NOTHING

    def _may_change(self, found: Found) -> bool:
        credential = found.credential
        if credential is None or is_deleted(credential) or not credential.HasField("rotation"):
            return False
        if found.account.status in (DELETED, SUSPENDED):
            return False
        # One that somebody asked for is under way.
        return credential.rotation_end_time.ToMicroseconds() <= self._clock.now()

    async def _counted(self, do: Callable[[Found], Awaitable[Outcome]], found: Found) -> Outcome:
        outcome = Outcome.FAILED
        try:
            outcome = await do(found)
        except (AccessKeysError, Refusal) as problem:
            await self._failed(found, problem)
        finally:
            rotated(outcome.value)
        return outcome

    async def _attempt(self, found: Found) -> Outcome:
        credential, now = found.usable(), self._clock.now()
        plan, used = credential.rotation, find(credential, credential.current_version)
        began = plan.attempt_time.ToMicroseconds() if plan.HasField("attempt_time") else 0
        if used is None:
            raise ResourceNotFound(found.name)
        if began and used.created_by == SERVICE and used.create_time.ToMicroseconds() >= began:
            # It was done, and broke off before it could say so.
            return await self._settled(found)
        secret = await self._keeper.read(found, used.version)
        keys = secret.aws_keys()
        user = await self._user(keys)
        if began:
            await self._drop_orphan(found, keys, user, began)
        plan.attempt_time.CopyFrom(timestamp(now))
        plan.next_time.CopyFrom(timestamp(now + CLAIM))
        try:
            claimed = await self._store.replace(found, credential)
        except EtagMismatch:
            return Outcome.NOTHING
        await self._drop_older(claimed, keys, user)
        new = await self._keys.create(keys, user)
        await self._put(claimed, secret, new, user)
        return await self._settled(claimed)

    async def _put(self, found: Found, secret: SecretText, new: AwsKeys, user: str) -> None:
        """Have a new key tested and used; one that fails is deleted at once."""
        parts = {
            **secret.credentials,
            "access_key_id": new.access_key_id,
            "secret_access_key": new.secret_access_key,
        }
        made = SecretText(secret.credential_type, parts, secret.metadata)
        try:
            await self._rotation.rotate(
                found.scope.tenant, found.account_id, made, "", OwnRequest(), _USE
            )
        except CredentialRefused:
            with suppress(AccessKeysError):
                await self._keys.delete(secret.aws_keys(), user, new.access_key_id)
            raise

    async def _retire(self, found: Found) -> Outcome:
        used = found.usable().current_version
        keys = (await self._keeper.read(found, used)).aws_keys()
        await self._drop_older(found, keys, await self._user(keys))

        def forget(plan: credential_pb2.CredentialRotation) -> None:
            plan.ClearField("retire_time")

        await self._noted(found, forget)
        return Outcome.RETIRED

    async def _settled(self, found: Found) -> Outcome:
        now = self._clock.now()

        def settle(plan: credential_pb2.CredentialRotation) -> None:
            plan.last_time.CopyFrom(timestamp(now))
            plan.next_time.CopyFrom(timestamp(now + plan.interval_days * DAY))
            plan.retire_time.CopyFrom(timestamp(now + DAY // 2))
            for field in ("attempt_time", "failures", "reason"):
                plan.ClearField(field)

        await self._noted(found, settle)
        return Outcome.ROTATED

    async def _failed(self, found: Found, problem: Exception) -> None:
        word = problem.word if isinstance(problem, AccessKeysError) else _word_of(problem)
        now = self._clock.now()

        def put_off(plan: credential_pb2.CredentialRotation) -> None:
            plan.failures += 1
            plan.reason = word
            later = now + CLAIM + _BACKOFF.microseconds(plan.failures, self._chance)
            late = plan.next_time.ToMicroseconds() <= now + CLAIM
            (plan.next_time if late else plan.retire_time).CopyFrom(timestamp(later))

        await self._noted(found, put_off)
        if not isinstance(problem, CredentialRefused):
            use = Use(purpose=f"scheduled rotation: {word}")
            await self._accesses.record(found.scope, found.account_id, ROTATE, use, granted=False)

    async def _noted(
        self, found: Found, change: Callable[[credential_pb2.CredentialRotation], None]
    ) -> None:
        """Change the plan of a credential, whatever else was changed of it meanwhile."""
        for _ in range(_TRIES):
            now = await self._store.find(found.scope.tenant, found.account_id)
            credential = now.usable()
            if not credential.HasField("rotation"):
                return
            change(credential.rotation)
            with suppress(EtagMismatch):
                await self._store.replace(now, credential)
                return

    async def _drop_older(self, found: Found, keys: AwsKeys, user: str) -> None:
        """Delete the user's keys that older versions hold; they can be used no more then."""
        credential = found.usable()
        older = {
            each.key_id for each in credential.versions if each.state not in (CURRENT, PENDING)
        }
        older.discard(keys.access_key_id)
        live = {each.id for each in await self._keys.listed(keys, user)}
        for key_id in sorted(live & older):
            # First: a version whose key may be gone is never what a roll-back leads to.
            await self._mark(found, key_id)
            await self._keys.delete(keys, user, key_id)

    async def _mark(self, found: Found, key_id: str) -> None:
        for _ in range(_TRIES):
            now = await self._store.find(found.scope.tenant, found.account_id)
            credential = now.usable()
            if not retire(credential, key_id, self._clock.now()):
                return
            with suppress(EtagMismatch):
                await self._store.replace(now, credential)
                return
        raise EtagMismatch(found.name)

    async def _drop_orphan(self, found: Found, keys: AwsKeys, user: str, began: int) -> None:
        """Delete the key that an attempt made which broke off before it could be stored."""
        known = {each.key_id for each in found.usable().versions}
        for each in await self._keys.listed(keys, user):
            ours = began - SKEW <= each.created_at < began + CLAIM - SKEW
            if ours and each.id not in known:
                await self._keys.delete(keys, user, each.id)

    async def _user(self, keys: AwsKeys) -> str:
        try:
            identity = await self._tokens.identity(keys)
        except TokensError as error:
            raise tokens_refusal(error) from error
        if _USER not in identity.arn:
            raise _NoUser(identity.account)
        return identity.arn.rpartition("/")[2]


def is_due(credential: credential_pb2.Credential, now: int) -> bool:
    """Tell whether something is to be done about a credential's key, by what is known of it."""
    if is_deleted(credential) or not credential.HasField("rotation"):
        return False
    return _changes(credential.rotation, now) or _retires(credential.rotation, now)


def _changes(plan: credential_pb2.CredentialRotation, now: int) -> bool:
    return plan.next_time.ToMicroseconds() <= now


def _retires(plan: credential_pb2.CredentialRotation, now: int) -> bool:
    return plan.HasField("retire_time") and plan.retire_time.ToMicroseconds() <= now


def _word_of(problem: Exception) -> str:
    if isinstance(problem, CredentialRefused):
        return problem.metadata["problem"]
    return problem.reason.name.lower() if isinstance(problem, Refusal) else type(problem).__name__
