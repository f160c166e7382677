"""Signing keys change hands without a leader: two replicas whose clocks differ, and any order."""

import asyncio
import json
from dataclasses import dataclass, field

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import DependencyUnavailable
from secmesh.tenancy.v1 import signing_key_pb2 as pb
from services.tenancy.errors import SigningKeyUnknown
from services.tenancy.issuing.key_ring import (
    ACTIVE,
    KEEP_SECONDS,
    NEXT,
    PUBLISH_SECONDS,
    RETIRED,
    TOKEN_SECONDS,
)
from services.tenancy.issuing.signing_keys import REREAD_SECONDS, SigningKeys
from services.tenancy.store.memory import MemoryStore
from tests.unit.fake_secrets import FakeSecrets

START = 1_800_000_000_000_000
PERIOD = 7_200
KNOWN_SECONDS = 300
"""How old the key sets of verifiers may be."""
LEEWAY = 10


@dataclass
class Clock:
    """A clock that is off by some seconds."""

    moment: list[int]
    skew: int = 0

    def now(self) -> int:
        return self.moment[0] + self.skew * 1_000_000

    async def sleep(self, seconds: float) -> None:
        self.moment[0] += int(seconds * 1_000_000)


@dataclass
class Verifier:
    """Knows the key set as it was up to five minutes ago."""

    known: dict[str, pb.SigningKey] = field(default_factory=dict)
    read_at: int = 0


@dataclass
class Site:
    """Replicas of the issuer over one store, and what they have signed."""

    skews: tuple[int, ...]
    moment: list[int] = field(default_factory=lambda: [START])

    def __post_init__(self) -> None:
        true = Clock(self.moment)
        self.secrets = FakeSecrets(true.now, 10_000)
        self.store = MemoryStore(clock=true)
        self.replicas = [self.replica(skew) for skew in self.skews]

    def replica(self, skew: int = 0) -> SigningKeys:
        return SigningKeys(
            self.store, self.secrets, Clock(self.moment, skew), "threat-engine", PERIOD
        )

    def turn(self, seconds: float) -> None:
        self.moment[0] += int(seconds * 1_000_000)


async def sign(keys: SigningKeys) -> str:
    signer = await keys.signer()
    return jwt.encode({}, signer.private, "ES256", headers={"kid": signer.kid})


def believed(token: str, keys: dict[str, pb.SigningKey]) -> bool:
    kid = jwt.get_unverified_header(token)["kid"]
    if kid not in keys:
        return False
    jwk = {"kty": "EC", "crv": "P-256", "x": keys[kid].x, "y": keys[kid].y, "alg": "ES256"}
    jwt.decode(token, jwt.PyJWK(jwk), algorithms=["ES256"])
    return True


STEP = st.tuples(
    st.integers(0, 1),
    st.sampled_from(["sign", "publish", "rotate"]),
    st.integers(0, 1_500),
)


@settings(max_examples=60, deadline=None)
@given(
    skews=st.tuples(st.integers(-60, 60), st.integers(-60, 60)), steps=st.lists(STEP, max_size=40)
)
def test_every_token_is_believed_for_as_long_as_it_lasts(
    skews: tuple[int, int], steps: list[tuple[int, str, int]]
) -> None:
    """A verifier that looks every five minutes and no more often knows each key it meets."""
    asyncio.run(_story(Site(skews), steps))


async def _story(site: Site, steps: list[tuple[int, str, int]]) -> None:
    alive: list[tuple[str, int]] = []
    verifier = Verifier()
    await site.replicas[0].published()
    for replica, what, seconds in steps:
        keys = site.replicas[replica]
        if what == "sign":
            ends = site.moment[0] + (TOKEN_SECONDS + LEEWAY + 60) * 1_000_000
            alive.append((await sign(keys), ends))
        elif what == "rotate":
            await keys.rotate()
        published = {each.kid: each for each in await keys.published()}
        assert [each.state for each in published.values()].count(ACTIVE) == 1
        # The clock runs on in parts, so that the verifier looks when it is to.
        for _ in range(-(-seconds // 60) or 1):
            if site.moment[0] - verifier.read_at >= KNOWN_SECONDS * 1_000_000:
                now = await site.replicas[0].published()
                verifier = Verifier({each.kid: each for each in now}, site.moment[0])
            alive = [(token, ends) for token, ends in alive if ends > site.moment[0]]
            assert all(believed(token, verifier.known) for token, _ in alive)
            site.turn(min(60, seconds))


async def test_a_key_is_published_before_it_signs_and_after_it_did() -> None:
    site = Site((0,))
    (keys,) = site.replicas
    (first,) = await keys.published()
    assert first.state == ACTIVE
    site.turn(PERIOD - PUBLISH_SECONDS)
    assert [each.state for each in await keys.published()] == [ACTIVE, NEXT]
    assert (await keys.signer()).kid == first.kid
    site.turn(PUBLISH_SECONDS)
    retired, active = await keys.published()
    assert (retired.kid, retired.state, active.state) == (first.kid, RETIRED, ACTIVE)
    assert (await keys.signer()).kid == active.kid
    site.turn(KEEP_SECONDS)
    assert [each.kid for each in await keys.published()] == [active.kid]
    assert (await site.secrets.describe("threat-engine/issuer/1")).deleted


async def test_two_that_make_the_first_key_at_once_make_one() -> None:
    site = Site((0, 5, -5, 30))
    signers = await asyncio.gather(*(each.signer() for each in site.replicas))
    assert len({each.kid for each in signers}) == 1
    assert len(await site.replicas[0].published()) == 1


@pytest.mark.parametrize("operation", ["create", "write"])
async def test_who_ends_while_a_key_is_made_leaves_it_to_the_next(
    operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after kill -9: the secret is there and the ring is not, or neither is."""
    site = Site((0, 0))
    dying, living = site.replicas

    async def end(*_arguments: object, **_named: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(site.secrets if operation == "create" else site.store, operation, end)
        with pytest.raises(asyncio.CancelledError):
            await dying.signer()
    token = await sign(living)
    assert believed(token, {each.kid: each for each in await site.replica().published()})
    assert len(await living.published()) == 1


async def test_a_revoked_key_is_gone_at_once_and_another_signs() -> None:
    site = Site((0, 0))
    one, other = site.replicas
    token = await sign(one)
    kid = jwt.get_unverified_header(token)["kid"]
    assert (await other.signer()).kid == kid
    left = await one.revoke(kid)
    assert kid not in {each.kid for each in left}
    assert (await one.signer()).kid != kid
    site.turn(REREAD_SECONDS)
    assert kid not in {each.kid for each in await other.published()}
    assert (await other.signer()).kid != kid
    with pytest.raises(SigningKeyUnknown):
        await other.revoke(kid)


async def test_a_key_that_is_rotated_twice_has_one_successor() -> None:
    site = Site((0, 0))
    states = [each.state for each in await site.replicas[0].rotate()]
    assert states == [ACTIVE, NEXT]
    assert [each.state for each in await site.replicas[1].rotate()] == [ACTIVE, NEXT]


async def test_no_private_half_is_in_the_store() -> None:
    site = Site((0,))
    await sign(site.replicas[0])
    pem = (await site.secrets.get("threat-engine/issuer/1", "AWSCURRENT")).value
    assert "PRIVATE KEY" in pem
    held = json.dumps([repr(each) for each in site.store.__dict__.values()])
    assert "PRIVATE" not in held


async def test_a_secret_that_somebody_changed_signs_nothing() -> None:
    site = Site((0, 0))
    await site.replicas[0].published()
    other = Site((0,))
    await sign(other.replicas[0])
    pem = (await other.secrets.get("threat-engine/issuer/1", "AWSCURRENT")).value
    name = "threat-engine/issuer/1"
    await site.secrets.put(name, pem, version_id="x" * 36, stages=["AWSCURRENT"])
    with pytest.raises(DependencyUnavailable):
        await site.replicas[1].signer()
