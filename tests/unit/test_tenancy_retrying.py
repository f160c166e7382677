"""What is tried again by itself, and what must not be."""

from random import Random

import pytest

from mesh.errors import DependencyUnavailable
from services.tenancy.errors import WritesCollided
from services.tenancy.store.conditions import Exists
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import (
    Action,
    Add,
    ConditionFailed,
    Conflict,
    Item,
    Key,
    Page,
    Put,
    Query,
    StoreUnavailable,
    Throttled,
    Update,
)
from services.tenancy.store.retrying import FIRST_PAUSE, MAX_RETRIES, RetryingStore
from tests.unit.tenancy_clock import TurnedClock

SCOPE = TenantScope("acme")
KEY = SCOPE.quota()
ADD = Update(KEY, [Add("n", 1)], upsert=True)


class FailingStore(MemoryStore):
    """Fails by these errors, one for each call, and answers when none is left."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    async def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        self._fail()
        return await super().get(key, consistent=consistent)

    async def query(self, query: Query) -> Page:
        self._fail()
        return await super().query(query)

    async def write(self, *actions: Action, token: str = "") -> None:
        self._fail()
        await super().write(*actions, token=token)


def retrying(*errors: Exception) -> tuple[RetryingStore, FailingStore, TurnedClock]:
    clock = TurnedClock()
    store = FailingStore(*errors)
    return RetryingStore(store, clock, Random(3)), store, clock


async def test_conflicts_and_throttled_writes_are_tried_again() -> None:
    store, _, clock = retrying(Conflict(), Throttled(), Conflict())
    await store.write(ADD)
    assert await store.get(KEY) == {"pk": KEY.pk, "sk": KEY.sk, "n": 1}
    assert len(clock.slept) == MAX_RETRIES
    longest = [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert all(0 <= slept <= most for slept, most in zip(clock.slept, longest, strict=True))


async def test_not_for_ever() -> None:
    store, failing, _ = retrying(*[Conflict()] * (MAX_RETRIES + 2))
    with pytest.raises(Conflict):
        await store.write(ADD)
    assert len(failing.errors) == 1


async def test_a_write_of_unknown_outcome_is_not_repeated() -> None:
    store, failing, clock = retrying(StoreUnavailable(), Throttled())
    with pytest.raises(StoreUnavailable):
        await store.write(ADD)
    assert (len(failing.errors), clock.slept) == (1, [])


async def test_a_failed_condition_is_not_repeated() -> None:
    store, _, clock = retrying()
    with pytest.raises(ConditionFailed):
        await store.write(Put(KEY, {}, Exists()))
    assert clock.slept == []


async def test_reads_are_tried_again_whatever_happened() -> None:
    store, _, clock = retrying(StoreUnavailable(), Throttled(), StoreUnavailable())
    assert await store.get(KEY) is None
    assert len(clock.slept) == MAX_RETRIES
    store, failing, _ = retrying(StoreUnavailable())
    assert (await store.query(SCOPE.accounts())).items == []
    assert failing.errors == []
    assert await store.get_many([KEY]) == [None]


def test_a_caller_is_told_that_the_store_does_not_answer() -> None:
    for error in (Throttled("why"), StoreUnavailable("why")):
        assert isinstance(error, DependencyUnavailable)
        assert error.metadata == {"dependency": "store"}
        assert (error.why, error.message) == ("why", "store does not answer")


def test_a_caller_is_told_that_others_came_first() -> None:
    error = Conflict("why")
    assert isinstance(error, WritesCollided)
    assert (error.why, error.reason.name) == ("why", "WRITES_COLLIDED")
