"""Who waits for a place gets it round about, and nobody takes the last one twice."""

import asyncio

from services.inventory.collect.places import Places, Rounds, RunPlaces


def run(tenant: str, number: int) -> str:
    return f"tenants/{tenant}-tenant/syncs/r{number}"


def test_lanes_take_turns_and_keep_their_order() -> None:
    rounds = Rounds[str]()
    for lane, item in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("a", "a1")]:
        rounds.add(lane, item)
    assert rounds.has("b")
    assert [rounds.next() for _ in range(5)] == ["a1", "b1", "a2", "a3", None]
    assert not rounds.has("a")


def test_who_is_not_allowed_keeps_the_turn() -> None:
    rounds = Rounds[str]()
    for lane in ("a", "b"):
        rounds.add(lane, lane)
    assert rounds.next(lambda lane: lane == "b") == "b"
    assert rounds.next(lambda lane: lane == "b") is None
    rounds.discard("a", "a")
    rounds.discard("a", "a")
    assert rounds.next() is None


def test_a_tenant_leaves_the_last_place_to_another() -> None:
    places = RunPlaces(3)
    assert [places.take(run("a", number)) for number in range(3)] == [True, True, False]
    places.wait(run("a", 2))
    assert places.next() is None
    assert places.take(run("b", 1))
    assert not places.take(run("c", 1))
    places.wait(run("c", 1))
    places.leave(run("a", 0))
    # The one that is free now is the last one again, and the third tenant has none.
    assert places.next() == run("c", 1)
    places.leave(run("b", 1))
    assert places.next() is None
    places.leave(run("c", 1))
    assert places.next() == run("a", 2)


def test_one_place_goes_round() -> None:
    places = RunPlaces(1)
    assert places.take(run("a", 0))
    for each in (run("a", 1), run("a", 2), run("b", 1)):
        places.wait(each)
    order = [run("a", 0)]
    while True:
        places.leave(order[-1])
        following = places.next()
        if following is None:
            break
        order.append(following)
    assert order[1:] == [run("a", 1), run("b", 1), run("a", 2)]


def test_who_waits_is_not_overtaken_by_its_own_tenant() -> None:
    places = RunPlaces(2)
    assert places.take(run("a", 0))
    places.wait(run("a", 1))
    places.leave(run("a", 0))
    assert not places.take(run("a", 2))
    places.leave(run("a", 1))
    assert places.take(run("a", 2))
    # What has a place does not wait for a second one.
    places.wait(run("a", 2))
    places.leave(run("a", 2))
    assert places.next() is None


async def test_places_are_held_by_so_many_and_given_round_about() -> None:
    places, open_now, most, order = Places(2), 0, 0, list[str]()
    gate = asyncio.Event()

    async def hold(lane: str) -> None:
        nonlocal open_now, most
        async with places.held(lane):
            order.append(lane)
            open_now += 1
            most = max(most, open_now)
            await gate.wait()
            open_now -= 1

    async with asyncio.TaskGroup() as group:
        for lane in "aaaaabb":
            group.create_task(hold(lane))
        await asyncio.sleep(0)
        gate.set()
    assert most == 2
    assert order == ["a", "a", "a", "b", "a", "b", "a"]


async def test_who_is_cancelled_loses_no_place() -> None:
    places = Places(1)
    held = places.held("a")
    await held.__aenter__()

    async def hold() -> None:
        async with places.held("a"):
            pass

    early, late, last = (asyncio.create_task(hold()) for _ in range(3))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.gather(early, return_exceptions=True)
    # It is given the place and cancelled before it knows.
    await held.__aexit__(None, None, None)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    await last
    async with places.held("b"):
        assert late.cancelled()
