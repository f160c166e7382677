"""Codes that are tried: taken, or counted until the user's second factors are locked.

A wrong code is counted and committed before it is refused: no attempt is free, however many come
at once and whatever becomes of the process. While the factors are locked no code is looked at.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import Refusal
from mesh.records.moments import Clock
from services.security.errors import MfaCodeRefused, MfaLocked
from services.security.mfa.audit import Act, AuditLog
from services.security.mfa.records import MfaRecords
from services.security.mfa.throttle import locked_seconds

_SECOND = 1_000_000
Take = Callable[[], Awaitable[Any | None]]
"""Takes a code that fits and gives its record; None for one that does not."""


class Attempts:
    """Counts in the row of the user, which the transaction has to itself."""

    def __init__(self, records: MfaRecords, log: AuditLog, clock: Clock) -> None:
        self._records = records
        self._log = log
        self._clock = clock

    async def attempt(
        self, connection: AsyncConnection, user: Any, take: Take, act: Act
    ) -> Any | Refusal:
        """Give what was taken, or the refusal that is to follow the commit."""
        body, moment = user.user, self._clock()
        if body.HasField("locked_until"):
            left = body.locked_until.ToMicroseconds() - moment
            if left > 0:
                return MfaLocked(-(-left // _SECOND))
        taken = await take()
        if taken is not None:
            if body.failed_login_count or body.HasField("locked_until"):
                body.failed_login_count = 0
                body.ClearField("locked_until")
                await self._records.save(connection, user)
            await self._log.add(connection, act)
            return taken
        body.failed_login_count += 1
        seconds = locked_seconds(body.failed_login_count)
        detail = "wrong code"
        if seconds:
            body.locked_until.FromMicroseconds(moment + seconds * _SECOND)
            detail = f"wrong code; locked for {seconds} s"
        await self._records.save(connection, user)
        await self._log.add(connection, replace(act, done=False, detail=detail))
        return MfaCodeRefused(seconds)


def given(answer: Any | Refusal) -> Any:
    """Give what was taken; raises the refusal otherwise."""
    if isinstance(answer, Refusal):
        raise answer
    return answer
