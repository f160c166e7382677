"""Keys are remembered as long as their custodian lets them, loaded once, and never served stale."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mesh.errors import DependencyUnavailable
from services.crypto.custody.kms import KmsDenied, KmsDisabled, KmsThrottled, KmsUnavailable
from services.crypto.keys.cache import KeyCache, Limits

SOFT, HARD = 10.0, 100.0


class Source:
    """What a cache loads from, and the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loads: list[str] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def load(self, key: str) -> str:
        self.loads.append(key)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return f"{key}{len(self.loads)}"


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def cache(source: Source) -> AsyncIterator[KeyCache[str, str]]:
    limits = Limits(SOFT, HARD, size=3, pause_seconds=1)
    made = KeyCache(source.load, limits, lambda: source.now)
    yield made
    await made.close()


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_who_ask_at_once_load_once(cache: KeyCache[str, str], source: Source) -> None:
    source.open.clear()
    asked = [asyncio.create_task(cache.get("a")) for _ in range(50)]
    await settle()
    source.open.set()
    assert set(await asyncio.gather(*asked)) == {"a1"}
    assert source.loads == ["a"]


async def test_one_who_gives_up_leaves_the_load_to_the_others(
    cache: KeyCache[str, str], source: Source
) -> None:
    source.open.clear()
    first, second = (asyncio.create_task(cache.get("a")) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    source.open.set()
    assert await second == "a1"
    assert source.loads == ["a"]


async def test_a_value_is_refreshed_behind_the_call_that_uses_it(
    cache: KeyCache[str, str], source: Source
) -> None:
    assert await cache.get("a") == "a1"
    source.now = SOFT - 2
    assert await cache.get("a") == "a1"
    assert source.loads == ["a"]
    source.now = SOFT
    source.open.clear()
    assert [await cache.get("a") for _ in range(5)] == ["a1"] * 5
    await settle()
    assert source.loads == ["a", "a"]
    source.open.set()
    await settle()
    assert await cache.get("a") == "a2"
    assert source.loads == ["a", "a"]


@pytest.mark.parametrize(
    "error", [KmsUnavailable(), KmsThrottled(), DependencyUnavailable("store")], ids=repr
)
async def test_an_outage_is_bridged_until_the_hard_limit_and_no_longer(
    cache: KeyCache[str, str], source: Source, error: Exception
) -> None:
    await cache.get("a")
    source.error = error
    for moment in range(int(SOFT), int(HARD)):
        source.now = moment
        assert await cache.get("a") == "a1"
        await settle()
    # Paused between refreshes: not one for each call.
    assert 10 < len(source.loads) < 90
    source.now = HARD
    with pytest.raises(type(error)):
        await cache.get("a")
    source.error = None
    assert (await cache.get("a")).startswith("a")


@pytest.mark.parametrize("error", [KmsDisabled(), KmsDenied(), ValueError()], ids=repr)
async def test_a_refusal_takes_the_value_away_at_once(
    cache: KeyCache[str, str], source: Source, error: Exception
) -> None:
    await cache.get("a")
    source.now, source.error = SOFT, error
    assert await cache.get("a") == "a1"
    await settle()
    with pytest.raises(type(error)):
        await cache.get("a")
    assert cache.held() == []


async def test_what_is_purged_is_loaded_again_even_if_a_load_was_under_way(
    cache: KeyCache[str, str], source: Source
) -> None:
    await cache.get("a")
    await cache.get("b")
    cache.purge(lambda key, _: key == "a")
    assert cache.held() == ["b2"]
    source.open.clear()
    task = asyncio.create_task(cache.get("a"))
    await settle()
    cache.purge(lambda *_: True)
    source.open.set()
    await task
    assert cache.held() == []
    assert await cache.get("a") == "a4"


async def test_the_one_unused_for_longest_makes_room(
    cache: KeyCache[str, str], source: Source
) -> None:
    for key in ("a", "b", "c", "a", "d"):
        await cache.get(key)
    assert source.loads == ["a", "b", "c", "d"]
    await cache.get("a")
    assert source.loads == ["a", "b", "c", "d"]
    await cache.get("b")
    assert source.loads == ["a", "b", "c", "d", "b"]
