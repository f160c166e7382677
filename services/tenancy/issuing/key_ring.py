"""The states of signing keys, as a function of the time: no store, no clock, no secret.

A key is published before it signs (NEXT), signs (ACTIVE), and stays published until the last
token that it signed has ended (RETIRED). The spans are longer than all caches of key sets and
differences of clocks together, so that whoever verifies knows a key before it meets it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1 import signing_key_pb2 as pb
from services.tenancy.clock import MICROSECONDS
from services.tenancy.retention import timestamp

NEXT = pb.SIGNING_KEY_STATE_NEXT
ACTIVE = pb.SIGNING_KEY_STATE_ACTIVE
RETIRED = pb.SIGNING_KEY_STATE_RETIRED

TOKEN_SECONDS = 300
"""For which a token is good."""
PUBLISH_SECONDS = 600
"""For which a key is published before it signs: key sets are kept 5 minutes, clocks differ by 2."""
KEEP_SECONDS = 900
"""For which a retired key stays published: its last token, and the same differences."""
PERIOD_SECONDS = 30 * 24 * 3600
"""For which a key signs."""


@dataclass(frozen=True)
class PublicKey:
    """The public half of a new key."""

    number: int
    kid: str
    x: str
    y: str


def active_of(ring: pb.SigningKeyRing) -> pb.SigningKey | None:
    """Give the key that signs; None in a ring that has none yet."""
    return next((each for each in ring.keys if each.state == ACTIVE), None)


def next_of(ring: pb.SigningKeyRing) -> pb.SigningKey | None:
    """Give the key that will sign; None if it is not made yet."""
    return next((each for each in ring.keys if each.state == NEXT), None)


def ended(ring: pb.SigningKeyRing, now: int) -> Sequence[pb.SigningKey]:
    """Give the keys whose last token has ended; their secrets go before they do."""
    return [each for each in ring.keys if each.state == RETIRED and _at(each.remove_time) <= now]


def needs_key(ring: pb.SigningKeyRing, now: int, period: int = PERIOD_SECONDS) -> bool:
    """Tell whether a key must be made: there is none, or the one that signs grows old."""
    active = active_of(ring)
    if active is None:
        return True
    due = _at(active.activate_time) + (period - PUBLISH_SECONDS) * MICROSECONDS
    return next_of(ring) is None and now >= due


def is_due(ring: pb.SigningKeyRing, now: int, period: int = PERIOD_SECONDS) -> bool:
    """Tell whether anything is to be changed."""
    waiting = next_of(ring)
    ripe = waiting is not None and _at(waiting.activate_time) <= now
    return needs_key(ring, now, period) or ripe or bool(ended(ring, now))


def added(ring: pb.SigningKeyRing, key: PublicKey, now: int) -> pb.SigningKeyRing:
    """Give the ring with a new key: the next one, or the first that signs."""
    made = _copy(ring)
    made.last_number = key.number
    first = active_of(ring) is None
    # Verifiers ask again for a key that they do not know: the first is not waited for.
    begins = now if first else now + PUBLISH_SECONDS * MICROSECONDS
    made.keys.add(
        kid=key.kid,
        state=ACTIVE if first else NEXT,
        number=key.number,
        x=key.x,
        y=key.y,
        create_time=timestamp(now),
        activate_time=timestamp(begins),
    )
    return made


def moved_on(ring: pb.SigningKeyRing, now: int) -> pb.SigningKeyRing:
    """Give the ring as the time makes it: a ripe key signs, what has ended is gone."""
    made = _copy(ring)
    gone = {each.kid for each in ended(ring, now)}
    _keep(made, [each for each in made.keys if each.kid not in gone])
    waiting, active = next_of(made), active_of(made)
    if waiting is not None and _at(waiting.activate_time) <= now:
        if active is not None:
            _retire(active, now)
        waiting.state = ACTIVE
        waiting.activate_time.CopyFrom(timestamp(now))
    return made


def without(ring: pb.SigningKeyRing, kid: str, now: int) -> pb.SigningKeyRing:
    """Give the ring without a key that is not to be believed; the next one signs in its place."""
    made = _copy(ring)
    _keep(made, [each for each in made.keys if each.kid != kid])
    waiting = next_of(made)
    if active_of(made) is None and waiting is not None:
        waiting.state = ACTIVE
        waiting.activate_time.CopyFrom(timestamp(now))
    return made


def _retire(key: pb.SigningKey, now: int) -> None:
    key.state = RETIRED
    key.retire_time.CopyFrom(timestamp(now))
    key.remove_time.CopyFrom(timestamp(now + KEEP_SECONDS * MICROSECONDS))


def _copy(ring: pb.SigningKeyRing) -> pb.SigningKeyRing:
    made = pb.SigningKeyRing()
    made.CopyFrom(ring)
    return made


def _keep(ring: pb.SigningKeyRing, keys: list[pb.SigningKey]) -> None:
    kept = pb.SigningKeyRing(keys=keys)
    del ring.keys[:]
    ring.keys.extend(kept.keys)


def _at(moment: Timestamp) -> int:
    return int(moment.ToMicroseconds())
