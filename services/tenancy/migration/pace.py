"""Secrets written no faster than Secrets Manager takes them from all callers together."""

from collections.abc import Mapping, Sequence

from services.tenancy.clock import Clock
from services.tenancy.cost.aws_figures import SECRET_WRITES_PER_SECOND
from services.tenancy.credentials.secrets import SecretFacts, Secrets, SecretValue
from services.tenancy.pace import Pace

MOST_PER_SECOND = 0.8 * SECRET_WRITES_PER_SECOND.most
"""Forty: what runs beside the migration needs its part."""


class PacedSecrets:
    """See ``Secrets``; each write waits for its place."""

    def __init__(self, secrets: Secrets, clock: Clock) -> None:
        self._secrets = secrets
        self._pace = Pace(clock, MOST_PER_SECOND)

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
