"""The client's parts without a server: targets, token files, pages, streams with an end."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from mesh.contract.catalogue import load_catalogue
from mesh.errors import DependencyUnavailable, FieldInvalid, ResourceNotFound
from secmesh.inventory.v1 import record_service_pb2, sync_pb2, sync_service_pb2
from secmesh.inventory.v1.assessment_requests_pb2 import EvaluateRequest
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh_client import (
    CallRefused,
    StreamCut,
    Tls,
    TokenFile,
    aio,
    connect,
    items,
    pages,
    watch,
    whole,
)
from secmesh_client.contract import rules
from secmesh_client.refusal import refusal_in
from secmesh_client.target import resolve

PACKAGE = "secmesh.inventory.v1"
Event = sync_service_pb2.WatchSyncResponse
WATCH = sync_service_pb2.WatchSyncRequest(name="tenants/acme/syncs/s1")
OK_END = Event(ended=status_pb2.Status(code=code_pb2.OK))


def test_the_client_and_the_server_read_the_same_rules() -> None:
    """The server from loaded descriptors, the client from the image."""
    methods = load_catalogue(PACKAGE).methods
    client = {path: (rule.timeout, rule.idempotent) for path, rule in rules(PACKAGE).items()}
    assert client == {path: (each.timeout, each.idempotent) for path, each in methods.items()}
    assert client.items() <= {p: (r.timeout, r.idempotent) for p, r in rules().items()}.items()
    assert [rule.path for rule in rules(PACKAGE).values() if rule.watches] == [
        f"/{PACKAGE}.ContradictionService/WatchContradictions",
        f"/{PACKAGE}.EventService/WatchCheckTurns",
        f"/{PACKAGE}.RecordService/WatchRecords",
        f"/{PACKAGE}.SyncService/WatchSync",
    ]
    with pytest.raises(ValueError, match=r"secmesh\.nothing\.v1"):
        rules("secmesh.nothing.v1")


@pytest.mark.parametrize(
    ("target", "name", "secure"),
    [
        ("https://mesh.example.com", "mesh.example.com:443", True),
        ("https://mesh.example.com:8443/", "mesh.example.com:8443", True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", False),
        ("http://[::1]:8080", "[::1]:8080", False),
        ("dns:///mesh:50051", "dns:///mesh:50051", False),
    ],
)
def test_the_scheme_of_a_target_decides_about_tls(target: str, name: str, secure: bool) -> None:
    found, credentials = resolve(target, None)
    assert (found, credentials is not None) == (name, secure)


@pytest.mark.parametrize(
    "target", ["https://", "https://a/b", "https://u@a", "http://a?b", "http://127.0.0.1:1#x"]
)
def test_a_target_that_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="http"):
        connect(target)


def test_tls_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contradict"):
        connect("http://127.0.0.1:1", tls=Tls())
    with pytest.raises(ValueError, match="its key"):
        connect("https://127.0.0.1:1", tls=Tls(certificate=tmp_path / "cert.pem"))
    with pytest.raises(FileNotFoundError):
        aio.connect("https://127.0.0.1:1", tls=Tls(ca=tmp_path / "ca.pem"))


def test_a_token_file_is_read_again_when_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = TokenFile(path)
    with pytest.raises(FileNotFoundError):
        token()
    path.write_text("first\n")
    assert (token(), token()) == ("first", "first")
    fresh = tmp_path / "fresh"
    fresh.write_text("other\n")
    os.utime(fresh, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    fresh.replace(path)  # as programs that renew tokens do; even at the same time and size
    assert token() == "other"
    path.write_text("two words")
    with pytest.raises(ValueError, match="one word") as caught:
        token()
    assert "two words" not in str(caught.value)


def test_violations_and_the_time_to_wait_are_read() -> None:
    refused = refusal_in(FieldInvalid.of("sync.regions", "holds no region").status())
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = refused.violations
    assert (violation.field, violation.description) == ("sync.regions", "holds no region")
    assert refused.retry_after is None
    assert (
        refusal_in(DependencyUnavailable("store", retry_after_seconds=7).status()).retry_after == 7
    )
    assert refusal_in(status_pb2.Status(code=99)).code is grpc.StatusCode.UNKNOWN


class Listing:
    """Answers ListRecords with numbers, three to a page at most."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.sizes: list[int] = []

    def __call__(self, request: ListRecordsRequest) -> record_service_pb2.ListRecordsResponse:
        assert request.parent == "tenants/acme/iam_users"
        self.sizes.append(request.page_size)
        first = int(request.page_token or 0)
        end = min(first + min(request.page_size, 3), self.count)
        answer = record_service_pb2.ListRecordsResponse(
            next_page_token=str(end) if end < self.count else ""
        )
        for number in range(first, end):
            answer.records.add(name=str(number))
        return answer


LIST = ListRecordsRequest(parent="tenants/acme/iam_users")


@pytest.mark.parametrize(
    ("limit", "found", "sizes"), [(0, 7, [500] * 3), (4, 4, [4, 1]), (9, 7, [9, 6, 3])]
)
async def test_items_are_read_to_the_end_or_the_limit(
    limit: int, found: int, sizes: list[int]
) -> None:
    names = [str(number) for number in range(found)]
    listing = Listing(7)
    assert [each.name for each in items(listing, LIST, lambda page: page.records, limit)] == names
    assert listing.sizes == sizes

    async def answer(request: ListRecordsRequest) -> record_service_pb2.ListRecordsResponse:
        return Listing(7)(request)

    listed = aio.items(answer, LIST, lambda page: page.records, limit)
    assert [each.name async for each in listed] == names
    assert LIST.page_size == 0


def test_pages_begin_where_the_request_says() -> None:
    request = ListRecordsRequest(parent=LIST.parent, page_size=2, page_token="2")
    assert [len(page.records) for page in pages(Listing(7), request)] == [2, 2, 1]


def test_lists_that_are_none_or_have_no_end_are_refused() -> None:
    endless = record_service_pb2.ListRecordsResponse(next_page_token="again")
    with pytest.raises(ValueError, match="again"):
        list(pages(lambda _: endless, LIST))
    with pytest.raises(ValueError, match="GetRecordRequest has no page_size"):
        list(pages(lambda _: endless, GetRecordRequest()))


def told(done: int) -> sync_service_pb2.WatchSyncResponse:
    return Event(sync=sync_pb2.Sync(progress=sync_pb2.SyncProgress(units_done=done)))


def ended(refusal: Any) -> sync_service_pb2.WatchSyncResponse:
    return Event(ended=refusal.status())


BUSY = DependencyUnavailable("store", retry_after_seconds=0)
GONE = ResourceNotFound("tenants/acme/syncs/s1")


class Streams:
    """A Watch method that gives one prepared stream after the other."""

    def __init__(self, *streams: list[Any]) -> None:
        self.left = list(streams)
        self.timeouts: list[float | None] = []

    def __call__(self, _request: Any, *, timeout: float | None = None) -> Any:
        self.timeouts.append(timeout)
        return Stream(self.left.pop(0))


class Stream:
    def __init__(self, events: list[Any]) -> None:
        self.events = events

    def __iter__(self) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event

    async def __aiter__(self) -> Any:
        for event in self:
            yield event

    def cancel(self) -> None:
        """Nothing is in flight."""


def broken(refusal: Any) -> CallRefused:
    return refusal_in(refusal.status())


def expired() -> CallRefused:
    status = status_pb2.Status(code=code_pb2.UNAUTHENTICATED)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="TOKEN_EXPIRED"))
    return refusal_in(status)


LATE = status_pb2.Status(code=code_pb2.DEADLINE_EXCEEDED)


@pytest.mark.parametrize(
    "first",
    [
        [told(1)],
        [told(1), ended(BUSY)],
        [told(1), broken(BUSY)],
        [told(1), refusal_in(LATE)],
        [told(1), expired()],
    ],
    ids=["cut", "ended in band", "unavailable", "time limit", "token ended"],
)
async def test_a_watch_goes_on_and_repeats_nothing(first: list[Any]) -> None:
    def streams() -> Streams:
        return Streams(first, [told(1), told(2)], [told(2), told(3), OK_END])

    expected = [told(1), told(2), told(3)]
    assert list(watch(streams(), WATCH)) == expected
    assert [event async for event in aio.watch(streams(), WATCH)] == expected


@pytest.mark.parametrize(
    ("streams", "error"),
    [
        (Streams([told(1), ended(GONE)]), "RESOURCE_NOT_FOUND"),
        (Streams([broken(GONE)]), "RESOURCE_NOT_FOUND"),
        (Streams([told(1), expired()], [expired()]), "TOKEN_EXPIRED"),
        (Streams([refusal_in(LATE)]), ""),
    ],
)
def test_what_does_not_pass_ends_a_watch(streams: Streams, error: str) -> None:
    with pytest.raises(CallRefused) as caught:
        list(watch(streams, WATCH))
    assert caught.value.reason == error
    assert not streams.left


def test_a_watch_gives_up_after_its_patience_or_its_time() -> None:
    with pytest.raises(StreamCut):
        list(watch(Streams([]), WATCH, patience=0))
    silent = Streams(*([[]] * 50))
    with pytest.raises(StreamCut):
        list(watch(silent, WATCH, patience=0.3))
    assert 2 <= len(silent.timeouts) <= 5
    limited = Streams(*([[told(1)]] * 50))
    with pytest.raises(StreamCut):
        list(watch(limited, WATCH, timeout=0.3))
    given = [each for each in limited.timeouts if each is not None]
    assert given == sorted(given, reverse=True)
    assert 0 <= given[-1] < given[0] <= 0.3


def test_only_a_watch_may_be_begun_again() -> None:
    with pytest.raises(ValueError, match="EvaluateRequest"):
        next(watch(Streams([]), EvaluateRequest()))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([told(1), OK_END, told(9)], None),
        ([told(1)], StreamCut),
        ([told(1), ended(BUSY)], CallRefused),
    ],
)
async def test_a_stream_is_whole_with_its_end_alone(
    events: list[Any], expected: type[Exception] | None
) -> None:
    blocking: list[Any] = []
    with pytest.raises(expected) if expected else nullcontext():
        for event in whole(Stream(events)):
            blocking.append(event)  # noqa: PERF402  # kept when the stream then raises
    later: list[Any] = []
    with pytest.raises(expected) if expected else nullcontext():
        async for event in aio.whole(Stream(events)):
            later.append(event)  # noqa: PERF401  # as above
    assert blocking == later == [told(1)]
