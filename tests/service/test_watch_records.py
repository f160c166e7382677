"""WatchRecords over gRPC: what a watcher is told, and how its stream ends."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from mesh.records import watch_servicer
from mesh.sql.changes import ChangeFeed, Revision
from mesh.sql.forgetting import Forgetting
from secmesh_client.refusal import refusal_of
from tests.service.watch_world import Watching, events, told, watching
from tests.unit.record_world import ITEMS, SHELVES, record_of


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[Watching]:
    async with watching(database, tmp_path) as made:
        yield made


def reason(status: Any) -> str:
    """Give the reason of a status in band."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


async def test_changes_arrive_and_a_stream_goes_on_from_its_revision(world: Watching) -> None:
    async with world.watch(ITEMS) as stream:
        first = await stream.read()
        assert first.HasField("bookmark")
        await world.records.create(ITEMS, "a", title="one")
        await world.records.create(SHELVES, "s", room="r")
        await world.records.update(record_of(f"{ITEMS}/a", title="two"))
        found = await events(stream, 2)
    assert told(found) == [("CREATED", "a"), ("UPDATED", "a")]
    assert found[1].changed.before == found[0].changed.after
    await world.records.delete(f"{ITEMS}/a")
    async with world.watch(ITEMS, revision=found[0].revision) as stream:
        again = await events(stream, 2)
    assert told(again) == [("UPDATED", "a"), ("DELETED", "a")]
    assert again[0] == found[1]


async def test_a_filter_tells_who_enters_and_who_leaves(world: Watching) -> None:
    async with world.watch(ITEMS, filter='rank > 5 && record.name != ""') as stream:
        await stream.read()
        await world.records.create(ITEMS, "low", title="t", rank=1)
        await world.records.create(ITEMS, "a", title="t", rank=9)
        for rank in (1, 2, 8, 9):
            await world.records.update(record_of(f"{ITEMS}/a", rank=rank))
        await world.records.delete(f"{ITEMS}/low")
        await world.records.delete(f"{ITEMS}/a")
        found = await events(stream, 5)
    assert told(found) == [
        ("CREATED", "a"),
        ("LEFT", "a"),
        ("ENTERED", "a"),
        ("UPDATED", "a"),
        ("DELETED", "a"),
    ]
    assert found[1].changed.after.item.rank == 1


async def test_what_is_there_is_shown_first(world: Watching) -> None:
    made = await world.records.create(ITEMS, "a", title="one", password="PLANTED")
    async with world.watch(ITEMS, include_existing=True) as stream:
        existing = await stream.read()
        bookmark = await stream.read()
        await world.records.create(ITEMS, "b", title="two")
        found = await events(stream, 1)
    assert existing.changed.after == made
    assert existing.revision == ""
    assert bookmark.revision
    assert told([existing, *found]) == [("EXISTING", "a"), ("CREATED", "b")]


async def test_another_tenant_and_other_kinds_stay_unseen(world: Watching) -> None:
    may = {"tenant": "umbrella", "roles": (), "permissions": ("store.*.list",)}
    only = {"roles": (), "permissions": ("store.shelves.list",)}
    async with (
        world.watch("tenants/umbrella/-", claims=may) as umbrella,
        world.watch("tenants/acme", claims=only) as shelves,
    ):
        await umbrella.read()
        await shelves.read()
        await world.records.create(ITEMS, "a", title="one")
        await world.records.create(SHELVES, "s", room="r")
        await world.records.create("tenants/umbrella/items", "b", title="theirs")
        assert told(await events(umbrella, 1)) == [("CREATED", "b")]
        assert told(await events(shelves, 1)) == [("CREATED", "s")]
    for claims, parent, code in (
        (may, ITEMS, grpc.StatusCode.NOT_FOUND),
        (only, ITEMS, grpc.StatusCode.PERMISSION_DENIED),
        (
            {"roles": (), "permissions": ("x.y.list",)},
            "tenants/acme",
            grpc.StatusCode.PERMISSION_DENIED,
        ),
    ):
        async with world.watch(parent, claims=claims) as stream:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is code


async def test_a_stream_ends_in_band_before_its_time(world: Watching) -> None:
    async with world.watch(ITEMS, seconds=2) as stream:
        await stream.read()
        await world.records.create(ITEMS, "a", title="one")
        [change] = await events(stream, 1)
        while (end := await stream.read()).HasField("bookmark"):
            pass
    assert end.ended.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert reason(end.ended) == "WATCH_ENDED"
    assert Revision.parse(end.revision) >= Revision.parse(change.revision)


async def test_bookmarks_break_the_silence(
    world: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_servicer, "BOOKMARK_SECONDS", 0.1)
    async with world.watch(ITEMS) as stream:
        first = await stream.read()
        await world.records.create(SHELVES, "s", room="r")
        marks = [await stream.read() for _ in range(3)]
    assert all(mark.HasField("bookmark") for mark in marks)
    assert Revision.parse(marks[-1].revision) > Revision.parse(first.revision)


async def test_a_forgotten_revision_is_refused_clearly(world: Watching) -> None:
    feed = ChangeFeed(world.records.store)
    start = await feed.present("acme")
    for place in range(3):
        await world.records.create(ITEMS, f"a{place}", title="one")
    later = await feed.present("acme")
    tomorrow = Forgetting(feed, timedelta(days=1), clock=lambda: 2**53)
    assert await tomorrow.look() == 3
    for revision in (str(start), f"{2**62}-5"):
        async with world.watch(ITEMS, revision=revision) as stream:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        refused = refusal_of(caught.value)
        assert (refused.reason, refused.metadata["revision"]) == ("REVISION_GONE", revision)
    async with world.watch(ITEMS, revision=str(later)) as stream:
        await world.records.create(ITEMS, "b", title="one")
        assert told(await events(stream, 1)) == [("CREATED", "b")]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"revision": "abc"}, "revision"),
        ({"revision": "9999999999999999999-1"}, "revision"),
        ({"filter": "nothing == 1"}, "filter"),
        ({"revision": "0-0", "include_existing": True}, "include_existing"),
    ],
)
async def test_a_bad_request_is_refused_with_its_field(
    world: Watching, fields: dict[str, Any], named: str
) -> None:
    async with world.watch(ITEMS, **fields) as stream:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in refusal_of(caught.value).violations] == [named]
