"""Answers over HTTP/1.1, however they are cut and whatever is wrong with them."""

import gc
import weakref
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.aws.exchange import ExchangeBroken, Received, head

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: a\r\nVary: x\r\nVary:  y \r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;note=1\r\nllo\r\n0\r\n\r\n"
)
CONTINUED = b"HTTP/1.1 100 Continue\r\nX-Word: in between\r\n\r\n" + PLAIN
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
UNBOUNDED = b"HTTP/1.1 200 OK\r\n\r\nhello"


def received(data: bytes, cuts: list[int], *, bodiless: bool = False) -> Received:
    """Feed an answer in the pieces between the cuts, until it is whole."""
    answer = Received(bodiless=bodiless)
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        if start < end and not answer.whole:
            answer.feed(data[start:end])
    if not answer.whole:
        answer.feed(b"")
    return answer


CUTS = st.lists(st.integers(0, 60), max_size=6)


@settings(deadline=None)
@given(CUTS)
def test_an_answer_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    answer = received(PLAIN, cuts)
    assert (answer.status, answer.content, answer.reusable) == (200, b"hello", True)
    assert answer.headers == {"content-length": "5", "etag": "a", "vary": "x, y"}


@settings(deadline=None)
@given(CUTS)
def test_a_word_in_between_is_no_answer(cuts: list[int]) -> None:
    answer = received(CONTINUED, cuts)
    assert (answer.status, answer.content) == (200, b"hello")
    assert "x-word" not in answer.headers


@pytest.mark.parametrize(
    ("data", "status", "reusable"),
    [(CHUNKED, 404, True), (CLOSING, 200, False), (UNBOUNDED, 200, False)],
)
@settings(deadline=None)
@given(cuts=CUTS)
def test_a_body_ends_by_its_framing(
    data: bytes, status: int, reusable: bool, cuts: list[int]
) -> None:
    answer = received(data, cuts)
    assert (answer.status, answer.content, answer.reusable) == (status, b"hello", reusable)


def test_an_answer_without_a_body_is_whole_by_its_headers() -> None:
    head_of = received(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", [], bodiless=True)
    assert (head_of.status, head_of.content, head_of.reusable) == (200, b"", True)
    assert received(b"HTTP/1.1 204 No Content\r\n\r\n", []).whole


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        PLAIN[:-1],
        CHUNKED[:-3],
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"<html>no answer</html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        PLAIN + PLAIN,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"H%d: 1\r\n" % n for n in range(300)) + b"\r\n",
    ],
)
def test_what_is_cut_short_or_no_http_is_no_answer(data: bytes) -> None:
    with pytest.raises(ExchangeBroken):
        received(data, [])


def test_an_answer_needs_no_search_for_garbage() -> None:
    answer = received(PLAIN, [])
    gone = weakref.ref(answer)
    gc.disable()
    try:
        del answer
        assert gone() is None
    finally:
        gc.enable()


def test_nothing_belongs_to_an_answer_that_is_whole() -> None:
    answer = received(PLAIN, [])
    with pytest.raises(ExchangeBroken):
        answer.feed(PLAIN)


def test_a_request_says_where_it_goes_and_how_long_it_is() -> None:
    written = head("POST", "/a?b=c", "example.com:8080", {"X-Amz-Date": "1", "y": b"z"}, b"body")
    lines = written.decode().split("\r\n")
    assert lines[0] == "POST /a?b=c HTTP/1.1"
    assert set(lines[1:-2]) == {
        "Host: example.com:8080",
        "Accept-Encoding: identity",
        "Content-Length: 4",
        "X-Amz-Date: 1",
        "y: z",
    }
    assert lines[-2:] == ["", ""]


def test_given_headers_take_the_place_of_the_usual() -> None:
    written = head("POST", "/", "a", {"HOST": "b", "content-length": "7"}, b"").decode()
    assert "Host: a" not in written
    assert "HOST: b\r\n" in written
    assert written.lower().count("content-length") == 1


@pytest.mark.parametrize("target", ["/a b", "/a\r\nHost: evil", "/\x00", "/\x7f"])
def test_a_target_cannot_break_out_of_its_line(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        head("GET", target, "a", {}, b"")


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", b"a\nb", "\x00"])
def test_a_header_cannot_break_out_of_its_line(value: str | bytes) -> None:
    with pytest.raises(ValueError, match="'x'"):
        head("GET", "/", "a", {"x": value}, b"")
