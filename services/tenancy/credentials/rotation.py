"""Another secret in place of the stored one: pending, tested, used, watched, taken back.

The credential's item says which version is current, so that the change is one conditional
write. A rotation that breaks off leaves what it found; sent again with its request id it goes
on, and after two minutes it keeps others out no longer.
"""

from mesh.errors import EtagMismatch, FieldInvalid, Refusal, ResourceNotFound
from secmesh.tenancy.v1 import account_pb2, credential_access_pb2, credential_pb2
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.credentials.accesses import Accesses, Use
from services.tenancy.credentials.credential_store import CredentialStore, Found
from services.tenancy.credentials.errors import (
    CredentialRefused,
    CredentialRotating,
    RotationUntested,
    tokens_refusal,
)
from services.tenancy.credentials.keeper import CredentialKeeper, require_type, version_id_of
from services.tenancy.credentials.secret_room import SecretRoom
from services.tenancy.credentials.secret_text import SecretText, type_word
from services.tenancy.credentials.sts import (
    AssumptionDenied,
    KeysRefused,
    Scope,
    SecurityTokens,
    TokensError,
)
from services.tenancy.credentials.versions import (
    PENDING,
    PREVIOUS,
    REFUSED,
    ROTATION_SECONDS,
    add,
    find_id,
    in_state,
    promote,
    refuse,
    take_back,
)
from services.tenancy.retention import timestamp
from services.tenancy.writing import Named

ROTATE = credential_access_pb2.CREDENTIAL_ACTION_ROTATE
BY_ITSELF = credential_access_pb2.CREDENTIAL_ACTION_ROLL_BACK_BY_ITSELF
TRIES, PAUSE_SECONDS = 6, 2.0
"""A new key is known to all of AWS some seconds after it was made."""
_SESSION = "secmesh-test"


class Rotation:
    """Puts new versions in place, and takes those back that stop working."""

    def __init__(
        self,
        store: CredentialStore,
        keeper: CredentialKeeper,
        room: SecretRoom,
        tokens: SecurityTokens,
        accesses: Accesses,
        clock: Clock,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._room = room
        self._tokens = tokens
        self._accesses = accesses
        self._clock = clock

    async def rotate(
        self,
        tenant: str,
        account_id: str,
        secret: SecretText,
        etag: str,
        request: Named,
        use: Use,
        *,
        untested: bool = False,
    ) -> credential_pb2.Credential:
        """Put a secret in place of the stored one.

        Args:
            untested: Without a test, where the provider has none.

        Raises FieldInvalid if it is to be untested and has a test, RotationUntested if it has none,
        CredentialRefused, CredentialRotating, CredentialTypeUnfit,
        EtagMismatch, TooLarge, RequestIdReused, and those of CredentialKeeper.
        """
        found = await self._store.find(tenant, account_id)
        credential = found.usable()
        require_type(found.account, secret)
        _require_way(found.account.credential_type, untested=untested)
        version_id = version_id_of(account_id, request.id)
        if find_id(credential, version_id) is None:
            try:
                found = await self._claim(found, etag, version_id, secret, request, use)
            except Refusal:
                if not await request.was_done():
                    raise
                found = await self._store.find(tenant, account_id)
        else:
            await request.was_done()
        return await self._go_on(found, version_id, secret, use)

    async def take_back(self, found: Found, reason: str) -> Found | None:
        """Go back to the version before, if the current one is young and that one still works.

        None if it is not to be or cannot be done. Raises those of CredentialKeeper.
        """
        credential = found.usable()
        watched = credential.HasField("watch_end_time") and (
            credential.watch_end_time.ToMicroseconds() > self._clock.now()
        )
        previous = in_state(credential, PREVIOUS)
        if not watched or previous is None:
            return None
        old = await self._keeper.read(found, previous.version)
        if await self._problem(found.account, old, tries=1):
            return None
        take_back(credential, reason, self._clock.now())
        try:
            written = await self._store.replace(found, credential)
        except EtagMismatch:
            # Another process, which noticed as well.
            return await self._store.find(found.scope.tenant, found.account_id)
        await self._room.settle(written)
        await self._accesses.record(
            found.scope,
            found.account_id,
            BY_ITSELF,
            Use(purpose=reason),
            version=previous.version,
        )
        return written

    async def _claim(
        self,
        found: Found,
        etag: str,
        version_id: str,
        secret: SecretText,
        request: Named,
        use: Use,
    ) -> Found:
        """Add a pending version under the next number, and keep other rotations out."""
        credential, now = found.usable(etag), self._clock.now()
        ends = credential.rotation_end_time.ToMicroseconds()
        if credential.HasField("rotation_end_time") and ends > now:
            raise CredentialRotating(found.name)
        add(credential, version_id, secret.key_id, use.subject, now)
        credential.rotation_end_time.CopyFrom(timestamp(now + ROTATION_SECONDS * MICROSECONDS))
        return await self._store.replace(found, credential, request)

    async def _go_on(
        self, found: Found, version_id: str, secret: SecretText, use: Use
    ) -> credential_pb2.Credential:
        """Do what is left of a rotation that began, however far it came."""
        credential = found.usable()
        begun = find_id(credential, version_id)
        if begun is None:
            # Done long ago: its version is not listed any more.
            return credential
        if begun.state == PENDING:
            return await self._carry_on(found, version_id, secret, use)
        if begun.state == REFUSED:
            await self._room.settle(found)
            raise CredentialRefused(begun.reason)
        await self._room.add(found, begun.version, version_id, secret)
        await self._room.settle(found)
        return credential

    async def _carry_on(
        self, found: Found, version_id: str, secret: SecretText, use: Use
    ) -> credential_pb2.Credential:
        credential = found.usable()
        pending = find_id(credential, version_id)
        if pending is None:
            raise ResourceNotFound(found.name)
        number = pending.version
        await self._room.add(found, number, version_id, secret)
        problem = ""
        if _is_tested(found.account.credential_type):
            problem = await self._problem(found.account, secret, tries=TRIES)
        if problem:
            refuse(credential, number, problem, self._clock.now())
            written = await self._store.replace(found, credential)
            await self._room.settle(written)
            await self._log(written, use, number, granted=False)
            raise CredentialRefused(problem)
        promote(credential, number, self._clock.now(), watch=True)
        written = await self._store.replace(found, credential)
        await self._room.settle(written)
        await self._log(written, use, number)
        return written.stored()

    async def _problem(
        self, account: account_pb2.Account, secret: SecretText, *, tries: int
    ) -> str:
        """Say in a word why a secret does not lead into the account; "" if it does."""
        keys = secret.aws_keys()
        for left in reversed(range(tries)):
            try:
                identity = await self._tokens.identity(keys)
                break
            except KeysRefused:
                if not left:
                    return "keys_refused"
                await self._clock.sleep(PAUSE_SECONDS)
            except TokensError as error:
                raise tokens_refusal(error) from error
        if identity.account != account.cloud_account_id:
            return "other_account"
        role = secret.credentials.get("role_arn", "")
        return await self._role_problem(account, role, secret) if role else ""

    async def _role_problem(
        self, account: account_pb2.Account, role: str, secret: SecretText
    ) -> str:
        try:
            await self._tokens.assume_role(
                role,
                session_name=_SESSION,
                external_id=account.external_id,
                scope=Scope(),
                keys=secret.aws_keys(),
            )
        except AssumptionDenied:
            return "role_denied"
        except TokensError as error:
            raise tokens_refusal(error) from error
        return ""

    async def _log(self, found: Found, use: Use, number: int, *, granted: bool = True) -> None:
        await self._accesses.record(
            found.scope, found.account_id, ROTATE, use, version=number, granted=granted
        )


def _is_tested(credential_type: account_pb2.CredentialType.ValueType) -> bool:
    return credential_type == account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY


def _require_way(credential_type: account_pb2.CredentialType.ValueType, *, untested: bool) -> None:
    """Raise unless the caller knows whether the new secret is tested."""
    if _is_tested(credential_type):
        if untested:
            raise FieldInvalid.of("untested", "keys of AWS are always tested")
    elif not untested:
        raise RotationUntested(type_word(credential_type).partition("_")[0])
