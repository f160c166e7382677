"""Which replica looks at which shard how often: rendezvous hashing, no leader."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Replica:
    """One of several processes that do the same work."""

    number: int = 0
    """From 0; those that share a number share its shards, which costs reads and breaks nothing."""
    count: int = 1

    def owns(self, shard: int) -> bool:
        """Tell whether it scores highest for a shard: adding a replica moves only 1 of count."""
        return self.number == max(range(self.count), key=lambda each: (_score(each, shard), each))


def _score(number: int, shard: int) -> bytes:
    return blake2b(f"{number}/{shard}".encode(), digest_size=8).digest()


class Rounds:
    """Says which shards to look at now: own ones at each tick, all others once per ``others``.

    No shard depends on one replica: that of a dead one is looked at by all others, seldom.
    """

    def __init__(
        self, replica: Replica, shards: int, *, others_seconds: float, chance: random.Random
    ) -> None:
        self._own = [shard for shard in range(shards) if replica.owns(shard)]
        self._others = [shard for shard in range(shards) if not replica.owns(shard)]
        self._period = int(others_seconds * _MICROSECONDS)
        self._chance = chance
        self._looked: dict[int, int] = {}

    def now(self, microseconds: int) -> Sequence[int]:
        """Give the shards of a tick at a moment, in random order."""
        due = [each for each in self._others if self._is_due(each, microseconds)]
        self._looked.update(dict.fromkeys(due, microseconds))
        chosen = self._own + due
        self._chance.shuffle(chosen)
        return chosen

    def _is_due(self, shard: int, microseconds: int) -> bool:
        last = self._looked.get(shard)
        if last is None:
            # Replicas that start together do not look at all shards together.
            self._looked[shard] = microseconds - self._chance.randrange(self._period)
            return False
        return abs(microseconds - last) >= self._period
