"""Sessions in accounts, for whoever scans them: short, read-only, and never the stored secret."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mesh.errors import Refusal
from secmesh.tenancy.v1 import account_pb2 as pb
from secmesh.tenancy.v1 import credential_access_pb2
from services.tenancy.account_status import ENTERED, word_of
from services.tenancy.credentials.accesses import Accesses, Use
from services.tenancy.credentials.cache import SessionCache, SessionKey
from services.tenancy.credentials.credential_store import CredentialStore, Found
from services.tenancy.credentials.errors import (
    AccountEntryDenied,
    ProviderUnsupported,
    tokens_refusal,
)
from services.tenancy.credentials.keeper import CredentialKeeper
from services.tenancy.credentials.rotation import Rotation
from services.tenancy.credentials.secret_text import SecretText, type_word
from services.tenancy.credentials.session_policy import policy_arns_of, policy_of
from services.tenancy.credentials.sts import (
    AssumptionDenied,
    KeysRefused,
    Scope,
    SecurityTokens,
    Session,
    TokensError,
)
from services.tenancy.credentials.versions import is_deleted
from services.tenancy.errors import AccountStatusUnfit
from services.tenancy.gate import Gate

VEND = credential_access_pb2.CREDENTIAL_ACTION_VEND
_ROLE = pb.CREDENTIAL_TYPE_AWS_IAM_ROLE
_KEY = pb.CREDENTIAL_TYPE_AWS_ACCESS_KEY
_MAX_NAME = 64


@dataclass(frozen=True)
class Wanted:
    """A session that is asked for."""

    seconds: int = 900
    """900 to 3,600."""
    actions: tuple[str, ...] = ()
    refused: str = ""
    """Access key of a session that is not wanted again; "" for none."""


@dataclass(frozen=True)
class Vended:
    """A session, and what it was made by."""

    session: Session
    cloud_account_id: str
    version: int
    """Of the credential; 0 for a role."""


class Vendor:
    """Makes sessions, and lends those again that last."""

    def __init__(
        self,
        store: CredentialStore,
        keeper: CredentialKeeper,
        rotation: Rotation,
        tokens: SecurityTokens,
        accesses: Accesses,
        cache: SessionCache,
        gate: Gate,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._rotation = rotation
        self._tokens = tokens
        self._accesses = accesses
        self._cache = cache
        self._gate = gate

    async def vend(self, tenant: str, account_id: str, wanted: Wanted, use: Use) -> Vended:
        """Give a session, once the log holds who got it.

        Raises ResourceNotFound, AccountStatusUnfit, TenantInactive, AccountEntryDenied,
        ProviderUnsupported, SessionRefused, and those of CredentialKeeper.
        """
        found = await self._store.find(tenant, account_id)
        try:
            if found.account.status not in ENTERED:
                raise AccountStatusUnfit(found.account.name, word_of(found.account.status))
            vended = await self._entered(found, wanted)
        except Refusal:
            await self._log(found, use, granted=False)
            raise
        await self._log(found, use, vended.version)
        return vended

    async def enter(self, found: Found, wanted: Wanted) -> Vended:
        """Make a new session whatever the account's status, for a verification of it.

        Raises TokensError as STS has it, beside refusals.
        """
        version = _version(found)
        session = await self._made(found, version, wanted)
        return Vended(session, found.account.cloud_account_id, version)

    def forget(self, tenant: str, account_id: str) -> None:
        """Lend sessions that were made for an account no more."""
        self._cache.drop(tenant, account_id)

    async def _entered(self, found: Found, wanted: Wanted) -> Vended:
        try:
            return await self._lent(found, wanted)
        except (KeysRefused, AssumptionDenied) as error:
            back = await self._older(found, type(error).__name__)
            if back is None:
                raise tokens_refusal(error) from error
            return await self._told(lambda: self._lent(back, wanted))
        except TokensError as error:
            raise tokens_refusal(error) from error

    async def _older(self, found: Found, reason: str) -> Found | None:
        """Give the account as it is after a young version was taken back; None if none was."""
        self.forget(found.scope.tenant, found.account_id)
        if found.account.credential_type != _KEY or found.credential is None:
            return None
        return await self._rotation.take_back(found, reason)

    async def _lent(self, found: Found, wanted: Wanted) -> Vended:
        version = _version(found)
        account = found.account
        key: SessionKey = (
            found.scope.tenant,
            found.account_id,
            account.credential_type,
            account.role_arn,
            version,
            wanted.seconds,
            tuple(sorted(wanted.actions)),
        )

        async def make() -> Session:
            await self._gate.require_open(found.scope)
            return await self._made(found, version, wanted)

        session = await self._cache.get(key, make, wanted.refused)
        return Vended(session, account.cloud_account_id, version)

    async def _made(self, found: Found, version: int, wanted: Wanted) -> Session:
        account = found.account
        match account.credential_type:
            case pb.CREDENTIAL_TYPE_AWS_IAM_ROLE:
                return await self._tokens.assume_role(
                    account.role_arn,
                    session_name=session_name(found.account_id),
                    external_id=account.external_id,
                    scope=_scope(found, wanted),
                )
            case pb.CREDENTIAL_TYPE_AWS_ACCESS_KEY:
                secret = await self._keeper.read(found, version)
                return await self._by_key(found, secret, wanted)
            case other:
                raise ProviderUnsupported(type_word(other).partition("_")[0])

    async def _by_key(self, found: Found, secret: SecretText, wanted: Wanted) -> Session:
        keys, role = secret.aws_keys(), secret.credentials.get("role_arn", "")
        name, scope = session_name(found.account_id), _scope(found, wanted)
        if not role:
            session = await self._tokens.federate(keys, session_name=name, scope=scope)
            return replace(session, federated=True)
        return await self._tokens.assume_role(
            role,
            session_name=name,
            external_id=found.account.external_id,
            scope=scope,
            keys=keys,
        )

    async def _told(self, call: Callable[[], Awaitable[Vended]]) -> Vended:
        try:
            return await call()
        except TokensError as error:
            raise tokens_refusal(error) from error

    async def _log(self, found: Found, use: Use, version: int = 0, *, granted: bool = True) -> None:
        await self._accesses.record(
            found.scope, found.account_id, VEND, use, version=version, granted=granted
        )


def session_name(account_id: str) -> str:
    """Give the name of sessions in an account, as its CloudTrail shows them."""
    return f"secmesh-{account_id}"[:_MAX_NAME]


def _version(found: Found) -> int:
    """Give the version of the stored credential; 0 for what needs none."""
    if found.account.credential_type == _ROLE:
        return 0
    if found.account.credential_type != _KEY:
        raise ProviderUnsupported(type_word(found.account.credential_type).partition("_")[0])
    if found.credential is None or is_deleted(found.credential):
        raise AccountEntryDenied("no_credential")
    return found.credential.current_version


def _scope(found: Found, wanted: Wanted) -> Scope:
    partition = (found.account.role_arn or "arn:aws").split(":")[1]
    return Scope(
        wanted.seconds,
        policy_of(wanted.actions),
        policy_arns_of(wanted.actions, partition),
        {"tenant_id": found.scope.tenant, "account_id": found.account_id},
    )
