"""Sealed values open where they were sealed, with the key they were sealed with, or not at all."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import SealBroken
from mesh.sealing.envelope import SEALED, Place, Sealer, beginning
from mesh.sealing.keyring import KeyRing

RING = KeyRing({"one": b"1" * 32}, b"p" * 32)
HERE = Place("acme", "users", "0190", "token")
TEXT = st.text(min_size=1, max_size=12)


def decoded(text: str) -> bytes:
    coded = text.removeprefix(SEALED)
    return base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))


def coded(blob: bytes) -> str:
    return SEALED + base64.urlsafe_b64encode(blob).rstrip(b"=").decode()


@given(st.binary(max_size=300), st.builds(Place, TEXT, TEXT, TEXT, TEXT))
def test_a_value_opens_where_it_was_sealed(value: bytes, place: Place) -> None:
    text = Sealer(RING).seal(value, place)
    assert Sealer(RING).open(text, place) == value
    assert len(value) < 4 or value not in decoded(text)  # shorter ones may occur


@given(st.binary(max_size=40), st.data())
def test_any_bit_that_is_flipped_is_refused(value: bytes, data: st.DataObject) -> None:
    blob = bytearray(decoded(Sealer(RING).seal(value, HERE)))
    place = data.draw(st.integers(0, len(blob) * 8 - 1))
    blob[place // 8] ^= 1 << place % 8
    refuse(coded(bytes(blob)), HERE)


@given(st.binary(max_size=40), st.data())
def test_any_character_that_is_changed_is_refused(value: bytes, data: st.DataObject) -> None:
    text = Sealer(RING).seal(value, HERE)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda each: each != text[place]))
    refuse(text[:place] + other + text[place + 1 :], HERE)
    refuse(text[:place], HERE)
    refuse(text + other, HERE)


@given(st.builds(Place, TEXT, TEXT, TEXT, TEXT), st.integers(0, 3), TEXT)
def test_a_value_does_not_open_elsewhere(place: Place, part: int, other: str) -> None:
    text = Sealer(RING).seal(b"hunter2-hunter2", place)
    parts = list(place)
    parts[part] += other
    refuse(text, Place(*parts))


def test_parts_of_a_place_do_not_run_into_each_other() -> None:
    text = Sealer(RING).seal(b"x", Place("ab", "c", "d", "e"))
    refuse(text, Place("a", "bc", "d", "e"))


def test_a_value_needs_its_own_key() -> None:
    text = Sealer(RING).seal(b"hunter2-hunter2", HERE)
    refuse(text, HERE, KeyRing({"two": b"1" * 32}, b"p" * 32))
    refuse(text, HERE, KeyRing({"one": b"2" * 32}, b"p" * 32))
    more = KeyRing({"two": b"2" * 32, "one": b"1" * 32}, b"p" * 32)
    assert Sealer(more).open(text, HERE) == b"hunter2-hunter2"


def test_each_value_is_sealed_anew_and_an_opened_one_stays() -> None:
    texts = [Sealer(RING).seal(b"same", HERE) for _ in range(2)]
    assert texts[0] != texts[1]
    sealer = Sealer(RING)
    sealer.open(texts[0], HERE)
    assert sealer.seal(b"same", HERE) == texts[0]
    assert sealer.seal(b"same", HERE._replace(record="0191")) not in texts
    assert sealer.seal(b"other", HERE) not in texts


def test_what_an_older_key_sealed_is_sealed_anew_by_the_first() -> None:
    text = Sealer(RING).seal(b"same", HERE)
    sealer = Sealer(KeyRing({"two": b"2" * 32, "one": b"1" * 32}, b"p" * 32))
    sealer.open(text, HERE)
    assert decoded(sealer.seal(b"same", HERE))[2:5] == b"two"


def test_the_form_is_the_one_that_is_documented() -> None:
    blob = decoded(Sealer(RING).seal(b"four", HERE))
    assert blob[:5] == b"\x01\x03one"
    assert len(blob) == 5 + 32 + 32 + 4 + 16


def refuse(text: str, place: Place, ring: KeyRing = RING) -> None:
    with pytest.raises(SealBroken) as refused:
        Sealer(ring).open(text, place)
    assert refused.value.metadata == {"collection": place.table, "field": place.field}
    assert refused.value.__cause__ is None
    assert "hunter2" not in str(refused.value)


KEY_IDS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,11}", fullmatch=True)


@given(st.lists(KEY_IDS, min_size=2, max_size=2, unique=True), st.binary(max_size=9))
def test_values_of_one_key_begin_like_no_others(ids: list[str], value: bytes) -> None:
    def begins(text: str, key_id: str) -> bool:
        start, following = beginning(key_id)
        return text.startswith(start) and text[len(start)] in following

    ours, other = ids
    text = Sealer(KeyRing({ours: b"1" * 32}, b"p" * 32)).seal(value, HERE)
    assert begins(text, ours)
    assert not begins(text, other)
