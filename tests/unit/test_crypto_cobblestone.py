"""Cobblestone-256 here is that of C2SP and of the library, both ways, byte for byte."""

import os
from hashlib import sha256, sha512
from typing import Any

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.crypto.errors import ValueUnopenable
from services.crypto.suite.cobblestone import (
    CHUNK,
    OVERHEAD,
    RANDOM_BYTES,
    Key,
    open_chunks,
    random_bytes,
    seal_chunks,
)
from tests.unit.published_vectors import chunked_encryption, cobblestone

SECRET = bytes(range(32))
LENGTHS = st.sampled_from([0, 1, 64, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7])


@pytest.mark.parametrize("vector", cobblestone(), ids=lambda vector: vector["comment"])
def test_published_messages(vector: dict[str, Any]) -> None:
    key = Key(vector["key"])
    plaintext = key.open(vector["sealed"], vector["ctx"])
    assert len(plaintext) == vector["msgLength"]
    assert sha512(plaintext).hexdigest() == vector["msgSha512"]
    # The same salt gives the same bytes: sealing is the published function, too.
    assert key._seal(plaintext, vector["ctx"], vector["sealed"][:24]) == vector["sealed"]


@pytest.mark.parametrize("vector", chunked_encryption(), ids=lambda vector: vector["name"])
def test_published_chunks(vector: dict[str, Any]) -> None:
    key, nonce = bytes.fromhex(vector["aead_key"]), bytes.fromhex(vector["base_nonce"])
    body = vector["sealed"][24 + 32 :]
    if vector["expect"] == "failure":
        with pytest.raises(ValueUnopenable):
            open_chunks(key, nonce, body)
        return
    plaintext = open_chunks(key, nonce, body)
    assert sha256(plaintext).hexdigest() == vector["payload_sha256"]
    assert seal_chunks(key, nonce, plaintext) == body


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_of_another_length_is_none(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Key(bytes(length))


@given(LENGTHS, st.binary(max_size=40))
@settings(max_examples=25)
def test_the_library_opens_what_is_sealed_here(length: int, context: bytes) -> None:
    plaintext = bytes(length)
    sealed = Key(SECRET).seal(plaintext, context)
    theirs = Cobblestone256Decryptor(SECRET, context)
    assert theirs.update(sealed) + theirs.finalize() == plaintext


@given(LENGTHS, st.binary(max_size=40))
@settings(max_examples=25)
def test_what_the_library_seals_opens_here(length: int, context: bytes) -> None:
    theirs = Cobblestone256Encryptor(SECRET, context)
    sealed = theirs.update(b"x" * length) + theirs.finalize()
    assert Key(SECRET).open(sealed, context) == b"x" * length
    if length < CHUNK:
        assert len(sealed) == length + OVERHEAD


@given(st.binary(max_size=80), st.binary(max_size=40), st.integers(0, 10_000))
@example(b"", b"", 0)
@settings(max_examples=100)
def test_no_bit_can_be_changed(plaintext: bytes, context: bytes, position: int) -> None:
    key = Key(SECRET)
    sealed = bytearray(key.seal(plaintext, context))
    sealed[position // 8 % len(sealed)] ^= 1 << position % 8
    with pytest.raises(ValueUnopenable):
        key.open(bytes(sealed), context)


def test_a_generator_that_repeats_itself_repeats_a_salt_for_the_same_message_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    key = Key(SECRET)
    salts = [
        key.seal(*message)[:24]
        for message in [(b"a", b"here"), (b"b", b"here"), (b"a", b"there"), (b"", b"herea")]
    ]
    assert len(set(salts)) == len(salts)
    assert key.seal(b"a", b"here")[:24] == salts[0]
    assert Key(bytes(32)).seal(b"a", b"here")[:24] not in salts


def test_two_messages_have_two_salts() -> None:
    key = Key(SECRET)
    assert key.seal(b"same", b"")[:24] != key.seal(b"same", b"")[:24]


def test_random_bytes_of_many_messages_are_of_one_message_each() -> None:
    drawn = list(random_bytes(500))
    assert len(set(drawn)) == 500
    assert {len(each) for each in drawn} == {RANDOM_BYTES}


def test_bytes_drawn_before_are_hedged_as_those_drawn_here() -> None:
    key, random = Key(SECRET), bytes(RANDOM_BYTES)
    one = key.seal(b"a", b"here", random)
    assert key.open(one, b"here") == b"a"
    assert one == key.seal(b"a", b"here", random)
    others = [key.seal(*message, random) for message in [(b"b", b"here"), (b"a", b"there")]]
    assert one[:24] not in {each[:24] for each in others}
