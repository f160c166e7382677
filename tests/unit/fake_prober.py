"""Probes that find what a test says."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.tenancy.credentials.sts import AwsKeys
from services.tenancy.onboarding.probes import PROBES, Outcome, Probed


@dataclass
class FakeProber:
    """See ``Prober``."""

    denied: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    asked: list[AwsKeys] = field(default_factory=list)

    async def probe(self, keys: AwsKeys) -> Sequence[Probed]:
        self.asked.append(keys)
        return [self._probed(each.action) for each in PROBES]

    async def close(self) -> None:
        pass

    def _probed(self, action: str) -> Probed:
        if action in self.denied:
            return Probed(action, Outcome.DENIED, "AccessDenied")
        if action in self.unknown:
            return Probed(action, Outcome.UNKNOWN, "Throttling")
        return Probed(action, Outcome.GRANTED)
