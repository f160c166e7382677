"""Work that is done with tokens of the mesh's own issuer: of each tenant, for its work alone."""

from contextlib import AbstractContextManager
from typing import Protocol

import grpc

from mesh.server.program import CommandFailed
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from secmesh_client import CallRefused, Token
from secmesh_client.aio import ServiceCredential, ServiceTokens, Tls, TokenFile, connect
from services.tenancy.other_stores import OtherStore
from services.tenancy.scheduling.work import Assignment, Published, Work, WorkFailed
from services.tenancy.settings import PREFIX, TenancySettings

TOKEN_SETTINGS = f"{PREFIX}TOKENS_ADDRESS, {PREFIX}CLIENT_ID and {PREFIX}CLIENT_SECRET_FILE"


class WorkTokens(Protocol):
    """Where executors have their tokens from."""

    @property
    def token(self) -> Token:
        """Gives the token of each call."""

    def over(self, work: Work) -> Work:
        """Give work that has a token while it is done."""

    async def close(self) -> None:
        """Let go of connections."""


class FileTokens:
    """See ``WorkTokens``: one token, which somebody else renews in a file."""

    def __init__(self, token: TokenFile) -> None:
        self.token: Token = token

    def over(self, work: Work) -> Work:
        """Give the work as it is."""
        return work

    async def close(self) -> None:
        """Do nothing."""


class IssuedTokens:
    """See ``WorkTokens``: tokens of the mesh's issuer."""

    def __init__(self, channel: grpc.aio.Channel, credential: ServiceCredential) -> None:
        self._channel = channel
        self._tokens = ServiceTokens(channel, credential)
        self.token: Token = self._tokens

    def over(self, work: Work) -> Work:
        """Give work that is done in the name of its tenant alone."""
        return TenantWork(work, self._tokens)

    def acting_for(self, tenant: str) -> AbstractContextManager[None]:
        """Have calls of this task carry tokens that act for a tenant."""
        return self._tokens.acting_for(tenant)

    async def ready(self) -> None:
        """Wait until there is a token that is not about to end. CallRefused, OSError."""
        await self._tokens.ready()

    async def close(self) -> None:
        """End what is under way, and close the channel."""
        await self._tokens.close()
        await self._channel.close()


class TenantWork:
    """See ``Work``: done with tokens that act for the tenant of an assignment."""

    def __init__(self, work: Work, tokens: ServiceTokens) -> None:
        self._work = work
        self._tokens = tokens

    async def run(self, assignment: Assignment) -> Published:
        """Get a token first; WorkFailed if there is none."""
        with self._tokens.acting_for(assignment.tenant):
            try:
                await self._tokens.ready()
            except CallRefused as refused:
                reason = refused.reason or refused.code.name
                raise WorkFailed(reason, refused.message) from refused
            except OSError as error:
                problem = "the secret of the service credential cannot be read"
                raise WorkFailed("DEPENDENCY_UNAVAILABLE", problem) from error
            return await self._work.run(assignment)

    async def abort(self, assignment: Assignment) -> None:
        """End the work; a token that there was is used as long as it lasts."""
        with self._tokens.acting_for(assignment.tenant):
            await self._work.abort(assignment)


class TenantStore:
    """See ``OtherStore``: asked with tokens that act for the tenant which leaves."""

    def __init__(self, name: str, store: OtherStore, tokens: IssuedTokens) -> None:
        self._name = name
        self._store = store
        self._tokens = tokens

    async def leave(self, tenant: str, *, count: bool = False) -> pb.OffboardedStore:
        """Get a token first; that there is none is told as what the other would refuse."""
        with self._tokens.acting_for(tenant):
            try:
                await self._tokens.ready()
            except CallRefused as refused:
                why = f"no token: {refused.reason or refused.code.name}"
            except OSError:
                why = "no token: the secret of the service credential cannot be read"
            else:
                return await self._store.leave(tenant, count=count)
        state = pb.OFFBOARDED_STATE_UNKNOWN
        return pb.OffboardedStore(store=self._name, state=state, note=why)

    async def close(self) -> None:
        """Let go of connections."""
        await self._store.close()
        await self._tokens.close()


def open_tokens(settings: TenancySettings) -> WorkTokens | None:
    """Open what the settings name; None if they name none. CommandFailed for half of it."""
    issued = open_issued(settings)
    if issued is not None or settings.inventory_token_file is None:
        return issued
    return FileTokens(TokenFile(settings.inventory_token_file))


def open_issued(settings: TenancySettings) -> IssuedTokens | None:
    """Open what a service credential gets; None if none is named. CommandFailed for half of it."""
    named = (settings.tokens_address, settings.client_id, settings.client_secret_file)
    if any(named):
        if settings.client_secret_file is None or not all(named):
            raise CommandFailed(f"{TOKEN_SETTINGS} are needed together")
        tls = (
            None
            if settings.tokens_ca is None
            else Tls(settings.tokens_ca, settings.tls_certificate, settings.tls_key)
        )
        try:
            channel = connect(settings.tokens_address, tls=tls)
        except ValueError as problem:
            raise CommandFailed(f"{PREFIX}TOKENS_ADDRESS: {problem}") from problem
        credential = ServiceCredential(settings.client_id, settings.client_secret_file)
        return IssuedTokens(channel, credential)
    return None
