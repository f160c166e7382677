"""Secrets written no faster than Secrets Manager takes them from all callers together."""

from collections.abc import Mapping, Sequence

from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.cost.aws_figures import SECRET_WRITES_PER_SECOND
from services.tenancy.credentials.secrets import SecretFacts, Secrets, SecretValue

MOST_PER_SECOND = 0.8 * SECRET_WRITES_PER_SECOND.most
"""Forty: what runs beside the migration needs its part."""


class Pace:
    """Lets so many through in each second, evenly."""

    def __init__(self, clock: Clock, per_second: float = MOST_PER_SECOND) -> None:
        self._clock = clock
        self._apart = int(MICROSECONDS / per_second) + 1
        self._next = 0

    async def take(self) -> None:
        """Wait for the next place."""
        now = self._clock.now()
        place = max(self._next, now)
        self._next = place + self._apart
        if place > now:
            await self._clock.sleep((place - now) / MICROSECONDS)


class PacedSecrets:
    """See ``Secrets``; each write waits for its place."""

    def __init__(self, secrets: Secrets, pace: Pace) -> None:
        self._secrets = secrets
        self._pace = pace

    async def create(
        self, name: str, value: str, *, version_id: str, tags: Mapping[str, str]
    ) -> None:
        """See ``Secrets``."""
        await self._pace.take()
        await self._secrets.create(name, value, version_id=version_id, tags=tags)

    async def put(self, name: str, value: str, *, version_id: str, stages: Sequence[str]) -> None:
        """See ``Secrets``."""
        await self._pace.take()
        await self._secrets.put(name, value, version_id=version_id, stages=stages)

    async def get(self, name: str, stage: str) -> SecretValue:
        """See ``Secrets``."""
        return await self._secrets.get(name, stage)

    async def move(self, name: str, stage: str, *, to: str = "", away: str = "") -> None:
        """See ``Secrets``."""
        await self._pace.take()
        await self._secrets.move(name, stage, to=to, away=away)

    async def describe(self, name: str) -> SecretFacts:
        """See ``Secrets``."""
        return await self._secrets.describe(name)

    async def tags(self, name: str) -> Mapping[str, str]:
        """See ``Secrets``."""
        return await self._secrets.tags(name)

    async def delete(self, name: str, *, days: int) -> None:
        """See ``Secrets``."""
        await self._pace.take()
        await self._secrets.delete(name, days=days)

    async def restore(self, name: str) -> None:
        """See ``Secrets``."""
        await self._pace.take()
        await self._secrets.restore(name)

    async def close(self) -> None:
        """See ``Secrets``."""
        await self._secrets.close()
