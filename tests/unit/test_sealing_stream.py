"""Encrypted files open whole, with their key and in their place, or not at all."""

from io import BytesIO

import pytest

from mesh.sealing import stream
from mesh.sealing.keyring import KeyRing
from mesh.sealing.stream import StreamBroken, StreamKeyUnknown, decrypt, encrypt

PEPPER = bytes(32)
OLD, NEW = b"o" * 32, b"n" * 32
CONTEXT = ("20260101t000000-00000000", "sqlite")
KEYS = KeyRing({"old": OLD}, PEPPER)
HEADER = 22 + 1 + 3 + 32 + 32
TAG = 16


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 16)


def ignore(_: int) -> None: ...


def sealed(plain: bytes, keys: KeyRing = KEYS, context: tuple[str, ...] = CONTEXT) -> bytes:
    target = BytesIO()
    encrypt(BytesIO(plain), target, keys, context, ignore)
    return target.getvalue()


def opened(blob: bytes, keys: KeyRing = KEYS, context: tuple[str, ...] = CONTEXT) -> bytes:
    return b"".join(decrypt(BytesIO(blob), keys, context, ignore))


PLAIN = b"0123456789abcdef" * 3 + b"the end"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32, 55])
def test_every_length_comes_back(size: int) -> None:
    blob = sealed(PLAIN[:size])
    assert opened(blob) == PLAIN[:size]
    assert len(blob) == HEADER + size + TAG * max(1, -(-size // 16))
    assert sealed(PLAIN[:size]) != blob


def test_no_bit_can_be_changed() -> None:
    blob = sealed(PLAIN)
    for place in range(len(blob)):
        changed = bytearray(blob)
        changed[place] ^= 1
        with pytest.raises((StreamBroken, StreamKeyUnknown)):
            opened(bytes(changed))


def test_no_end_can_be_cut_or_added() -> None:
    blob = sealed(PLAIN)
    for size in range(len(blob)):
        with pytest.raises(StreamBroken):
            opened(blob[:size])
    with pytest.raises(StreamBroken):
        opened(blob + b"\0")
    with pytest.raises(StreamBroken):
        opened(blob + blob[-TAG - 7 :])


def test_chunks_cannot_be_moved_left_out_or_taken_from_another_file() -> None:
    blob, other = sealed(PLAIN), sealed(PLAIN)
    size = 16 + TAG
    first, second, rest = (
        blob[HEADER : HEADER + size],
        blob[HEADER + size : HEADER + 2 * size],
        blob[HEADER + 2 * size :],
    )
    for content in (
        second + first + rest,
        second + rest,
        first + first + rest,
        first + other[HEADER + size : HEADER + 2 * size] + rest,
    ):
        with pytest.raises(StreamBroken, match="from byte"):
            opened(blob[:HEADER] + content)


def test_another_key_or_place_opens_nothing() -> None:
    blob = sealed(PLAIN)
    with pytest.raises(StreamKeyUnknown, match="not among the keys"):
        opened(blob, KeyRing({"new": NEW}, PEPPER))
    with pytest.raises(StreamKeyUnknown, match="old does not open it"):
        opened(blob, KeyRing({"old": NEW}, PEPPER))
    with pytest.raises(StreamKeyUnknown):
        opened(blob, context=("20260101t000000-00000001", "sqlite"))


def test_keys_that_are_no_longer_first_open_what_they_encrypted() -> None:
    ring = KeyRing({"new": NEW, "old": OLD}, PEPPER)
    assert opened(sealed(PLAIN), ring) == PLAIN
    again = sealed(PLAIN, ring)
    assert opened(again, ring) == PLAIN
    with pytest.raises(StreamKeyUnknown):
        opened(again)
