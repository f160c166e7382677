"""Finds out who calls."""

from collections.abc import Awaitable
from typing import Any

from mesh.errors import TokenInvalid, TokenMissing
from mesh.identity.caller import Caller
from mesh.identity.token import Verifier
from mesh.server.call import Call, Metadata
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed

_KEY = "authorization"
_SCHEME = "bearer "


def bearer_token(metadata: Metadata) -> str:
    """Give the token of the call (RFC 6750, 2.1). Raises TokenMissing or TokenInvalid."""
    value: str | bytes | None = None
    for key, each in metadata:
        if key != _KEY:
            continue
        # Two tokens could name two callers, one for the gateway's eyes and one for ours.
        if value is not None:
            raise TokenInvalid("the call carries more than one authorization")
        value = each
    if value is None:
        raise TokenMissing("the call carries no bearer token")
    if not isinstance(value, str) or value[: len(_SCHEME)].lower() != _SCHEME:
        raise TokenMissing("the call's authorization is no bearer token")
    return value[len(_SCHEME) :].strip()


class Identity(CallInterceptor):
    """Verifies the bearer token and names the caller."""

    of_callers = True

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def around(
        self, proceed: Proceed, call: Call, request: Any, context: Context
    ) -> Awaitable[Any]:
        token = bearer_token(call.metadata)
        caller = self._verifier.known(token)
        if caller is None:
            return self._authenticated(token, proceed, call, request, context)
        _enter(call, caller)
        return proceed(call, request, context)

    async def _authenticated(
        self, token: str, proceed: Proceed, call: Call, request: Any, context: Context
    ) -> Any:
        _enter(call, await self._verifier.authenticate(token))
        return await proceed(call, request, context)


def _enter(call: Call, caller: Caller) -> None:
    call.caller = caller
    # A stream would otherwise go on with rights that have ended.
    if call.streams:
        call.end_with_token()
