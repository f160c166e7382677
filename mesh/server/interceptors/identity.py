"""Finds out who calls."""

from typing import Any

from mesh.errors import TokenInvalid, TokenMissing
from mesh.identity.token import Verifier
from mesh.server.call import Call, Metadata
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed

_SCHEME = "bearer "


def bearer_token(metadata: Metadata) -> str:
    """Give the token of the call (RFC 6750, 2.1). Raises TokenMissing or TokenInvalid."""
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        raise TokenMissing("the call carries no bearer token")
    # Two tokens could name two callers, one for the gateway's eyes and one for ours.
    if len(values) > 1:
        raise TokenInvalid("the call carries more than one authorization")
    value = values[0]
    if not isinstance(value, str) or value[: len(_SCHEME)].lower() != _SCHEME:
        raise TokenMissing("the call's authorization is no bearer token")
    return value[len(_SCHEME) :].strip()


class Identity(CallInterceptor):
    """Verifies the bearer token and names the caller."""

    of_callers = True

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        token = bearer_token(call.metadata)
        call.caller = self._verifier.known(token) or await self._verifier.authenticate(token)
        # A stream would otherwise go on with rights that have ended.
        if call.streams:
            call.end_with_token()
        return await proceed(call, request, context)
