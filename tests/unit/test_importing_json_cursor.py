"""The pull reader of JSON: what it reads equals what a whole parser reads, and costs no memory."""

import io
import json
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.security.importing.json_cursor import BadElement, JsonCursor, Unreadable
from services.security.importing.limits import Limits

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Dribble:
    """Gives a few bytes at a time, however many are asked for."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content = io.BytesIO(content)
        self._size = size

    def read(self, _: int) -> bytes:
        return self._content.read(self._size)


def cursor(content: bytes, size: int = 7, limits: Limits | None = None) -> JsonCursor:
    return JsonCursor(Dribble(content, size), limits or Limits())


@given(
    st.dictionaries(st.text(), st.lists(VALUES, max_size=4), max_size=4),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([None, 2]),
)
def test_every_element_is_read_as_it_stands(
    document: dict[str, list[object]], size: int, ascii_only: bool, indent: int | None
) -> None:
    reading = cursor(json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode(), size)
    found = {key: [reading.value() for _ in reading.elements()] for key in reading.members()}
    reading.finish()
    assert found == document


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=5), st.integers(1, 9), st.data())
def test_what_is_not_taken_is_skipped(
    document: dict[str, object], size: int, data: st.DataObject
) -> None:
    wanted = data.draw(st.sampled_from(sorted(document)))
    reading = cursor(json.dumps(document).encode(), size)
    found = [reading.value() for key in reading.members() if key == wanted]
    reading.finish()
    assert found == [document[wanted]]


@given(VALUES, st.data())
def test_a_cut_is_always_noticed(value: object, data: st.DataObject) -> None:
    whole = json.dumps({"a": [value, value]}).encode()
    reading = cursor(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(Unreadable, match="cut"):
        consume(reading)


ALIKE = st.recursive(
    st.sampled_from(['},{"r"', '"}, {"r":', "[{", "\\", "ü", "x" * 30]) | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({"r": inner, "s": inner}),
    max_leaves=6,
)
"""Values that look like what stands between two elements, in texts and at every depth."""


@given(
    st.lists(st.fixed_dictionaries({"r": ALIKE, "t": ALIKE}), max_size=9),
    st.integers(0, 8),
    st.integers(20, 400),
    st.sampled_from([None, 1]),
)
def test_elements_that_begin_alike_are_told_apart(
    elements: list[dict[str, object]], bad: int, size: int, indent: int | None
) -> None:
    texts = [json.dumps(each, ensure_ascii=False, indent=indent) for each in elements]
    if bad < len(texts):
        texts[bad] = '{"r": nothing}'
    content = f'{{"a": [{",".join(texts)}], "b": 1}}'.encode()
    reading, found = cursor(content, size), [""]
    for key in reading.members():
        if key == "a":
            found = [reading.text().decode() for _ in reading.elements()]
    reading.finish()
    assert found == texts
    skipping = cursor(content, size)
    assert [skipping.value() for key in skipping.members() if key == "b"] == [1]
    skipping.finish()


@pytest.mark.parametrize("depth", [63, 64, 65])
def test_what_was_cut_beforehand_is_no_deeper_either(depth: int) -> None:
    # Beside the element's own brackets and the array's.
    deep = '{"r": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    reading = cursor(f'[{{"r": 1}}, {deep}, {{"r": 2}}, {{"r": 3}}]'.encode(), 100_000)
    found: list[object] = []
    for _ in reading.elements():
        try:
            found.append(len(reading.text()))
        except BadElement as error:
            found.append(str(error))
    assert found[1] == (len(deep) if depth <= 64 else "is nested deeper than 64")
    assert found[2:] == [8, 8]


def consume(reading: JsonCursor) -> list[object]:
    found = [reading.value() for _ in reading.members() for _ in reading.elements()]
    reading.finish()
    return found


@pytest.mark.parametrize(
    "text",
    ["[1 2]", '{"a" [1]}', '{"a": [1],, "b": []}', "{1: 2}", '{"a": [1]} x', '{"a": [1,]}', "[:]"],
)
def test_what_is_no_json_on_the_way_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        consume(cursor(text.encode()))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"x": NaN}', "is not JSON"),
        (b"{'x': 1}", "is not JSON"),
        (b'{"x": 1,}', "is not JSON"),
        (b'{"x" 1}', "is not JSON"),
        (b'{"x": "\xff"}', "is not JSON"),
        (b"[" * 70 + b"]" * 70, "is nested deeper than 64"),
        (b'"' + b"y" * 5000 + b'"', "is larger than 4096 bytes"),
        (b'{"x": [' + b"1," * 3000 + b"1]}", "is larger than 4096 bytes"),
        (b"1" * 5000, "is larger than 4096 bytes"),
    ],
)
@pytest.mark.parametrize("size", [3, 100, 100_000])
def test_a_bad_element_costs_itself_alone(bad: bytes, reason: str, size: int) -> None:
    reading = cursor(b'[{"a": 1}, ' + bad + b', {"b": "}]"}]', size, Limits(element_bytes=4096))
    found: list[object] = []
    for _ in reading.elements():
        try:
            found.append(reading.value())
        except BadElement as error:
            found.append(str(error))
    reading.finish()
    assert found[0] == {"a": 1}
    assert str(found[1]).startswith(reason)
    assert found[2] == {"b": "}]"}


class Endless:
    """An array of as many elements as asked for, and a string that is larger than all of them."""

    def __init__(self, elements: int) -> None:
        self._parts = self._all(elements)

    def _all(self, elements: int) -> Iterator[bytes]:
        yield b'{"skipped": "'
        for _ in range(elements // 10):
            yield b"z" * 10_000
        yield b'", "taken": ['
        for number in range(elements):
            yield b'{"n": %d, "text": "%s"},' % (number, b"t" * 1000)
        yield b"null]}"

    def read(self, _: int) -> bytes:
        return next(self._parts, b"")


def test_memory_does_not_grow_with_the_report() -> None:
    reading = JsonCursor(Endless(20_000), Limits())
    count = 0
    tracemalloc.start()
    try:
        for key in reading.members():
            if key == "taken":
                for _ in reading.elements():
                    count += reading.value() is not None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 1_000_000
