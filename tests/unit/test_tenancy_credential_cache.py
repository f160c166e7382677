"""What is remembered of secrets and sessions, for how long, and who fetches it."""

import asyncio
import random
from collections.abc import Callable

import pytest

from services.tenancy.credentials.cache import MOST, SecretCache, SessionCache
from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.credentials.secrets import (
    SecretMissing,
    SecretsDenied,
    SecretsError,
    SecretsThrottled,
)
from services.tenancy.credentials.sts import AwsKeys, Session
from tests.unit.tenancy_clock import TurnedClock

KEY = ("acme", "a1", "version")
SECRET = SecretText("aws_access_key", {"access_key_id": "AKIA"})


class Source:
    """Counts what is fetched."""

    def __init__(self) -> None:
        self.fetched = 0
        self.error: SecretsError | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self) -> SecretText:
        self.fetched += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return SECRET


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def cache(clock: TurnedClock) -> SecretCache:
    return SecretCache(clock, random.Random(1))


async def test_a_secret_is_remembered_for_five_minutes_about(
    cache: SecretCache, clock: TurnedClock
) -> None:
    source = Source()
    await cache.get(KEY, source.fetch)
    clock.turn(239)
    await cache.get(KEY, source.fetch)
    assert source.fetched == 1
    clock.turn(122)
    await cache.get(KEY, source.fetch)
    assert source.fetched == 2


async def test_secrets_that_were_read_together_do_not_end_together(clock: TurnedClock) -> None:
    cache, source = SecretCache(clock, random.Random(7)), Source()
    for number in range(100):
        await cache.get(("acme", str(number), "v"), source.fetch)
    clock.turn(300)
    for number in range(100):
        await cache.get(("acme", str(number), "v"), source.fetch)
    assert 120 < source.fetched < 180


async def test_many_who_ask_at_once_share_one_fetch(cache: SecretCache) -> None:
    source = Source()
    source.open.clear()
    asking = [asyncio.ensure_future(cache.get(KEY, source.fetch)) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*asking[1:]) == [SECRET] * 49
    assert source.fetched == 1


@pytest.mark.parametrize("error", [SecretMissing, SecretsDenied])
async def test_a_refusal_is_remembered_for_five_seconds(
    cache: SecretCache, clock: TurnedClock, error: type[SecretsError]
) -> None:
    source = Source()
    source.error = error("why")
    for _ in range(3):
        with pytest.raises(error, match="why"):
            await cache.get(KEY, source.fetch)
    assert source.fetched == 1
    clock.turn(5)
    source.error = None
    assert await cache.get(KEY, source.fetch) == SECRET


async def test_what_passes_is_not_remembered(cache: SecretCache) -> None:
    source = Source()
    source.error = SecretsThrottled("why")
    for _ in range(3):
        with pytest.raises(SecretsThrottled):
            await cache.get(KEY, source.fetch)
    assert source.fetched == 3


async def test_an_account_is_forgotten_and_others_are_not(cache: SecretCache) -> None:
    source = Source()
    for key in (KEY, ("acme", "a2", "v"), ("rival", "a1", "v")):
        await cache.get(key, source.fetch)
    cache.drop("acme", "a1")
    for key in (KEY, ("acme", "a2", "v"), ("rival", "a1", "v")):
        await cache.get(key, source.fetch)
    assert source.fetched == 4


async def test_the_least_used_makes_room(cache: SecretCache) -> None:
    source = Source()
    for number in range(MOST + 1):
        await cache.get(("acme", str(number), "v"), source.fetch)
        await cache.get(("acme", "0", "v"), source.fetch)
    assert source.fetched == MOST + 1
    await cache.get(("acme", "1", "v"), source.fetch)
    assert source.fetched == MOST + 2


def session(clock: TurnedClock) -> Callable[[], "asyncio.Future[Session]"]:
    async def made() -> Session:
        return Session(AwsKeys(str(clock.now()), "s", "t"), clock.now() + 900_000_000)

    return lambda: asyncio.ensure_future(made())


async def test_a_session_is_lent_until_five_minutes_before_its_end(clock: TurnedClock) -> None:
    cache = SessionCache(clock)
    key = ("acme", "a1", 0)
    first = await cache.get(key, session(clock))
    clock.turn(599.999)
    assert await cache.get(key, session(clock)) == first
    clock.turn(0.001)
    assert await cache.get(key, session(clock)) != first
    cache.drop("acme", "a1")
    again = await cache.get(key, session(clock))
    assert again.expires_at == clock.now() + 900_000_000
