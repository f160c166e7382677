"""A sealed value opens in its own place by its own keys, or not at all, with one error."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.crypto.errors import ValueUnopenable
from services.crypto.suite.cobblestone import CHUNK, Key
from services.crypto.suite.context import Subject, canonical
from services.crypto.suite.fields import (
    FieldRule,
    UserKey,
    inner_of_blob,
    inner_of_plaintext,
    open_inner,
    open_outer,
    plaintext_of,
    read_field_header,
    seal_again,
    seal_around,
    seal_field,
    seal_inner,
)
from services.crypto.suite.header import HEADER_BYTES, Header, Suite, Tier, read_header
from services.crypto.suite.padding import pad, unpad

USER = "0190f3f0-1111-7222-8333-444455556666"
OTHER = "0190f3f0-1111-7222-8333-444455556667"
HERE = Subject("test", "acme", USER, "users")
ADDRESS = FieldRule("address", 5, Tier.SEALED, Tier.SEALED, 64)
SSN = FieldRule("ssn", 8, Tier.DOUBLE, Tier.DOUBLE, 48)
PLAIN = FieldRule("note", 9, Tier.SEALED, Tier.SEALED)
OLD, NEW = UserKey(3, Key(b"3" * 32)), UserKey(4, Key(b"4" * 32))
APP = Key(b"a" * 32)
VALUE = b"123-45-6789"


def seal(rule: FieldRule, value: bytes = VALUE, key: UserKey = OLD) -> bytes:
    if rule.tier is Tier.SEALED:
        return seal_field(key, HERE, rule, value)
    inner = inner_of_plaintext(7, HERE, rule, value)
    return seal_around(key, inner, seal_inner(APP, inner))


def unseal(
    rule: FieldRule, blob: bytes, subject: Subject = HERE, key: UserKey = OLD, app: Key = APP
) -> bytes:
    header = read_field_header(rule, blob)
    body = open_outer(key, subject, rule, blob)
    if header.tier is Tier.DOUBLE:
        body = open_inner(app, inner_of_blob(subject, rule, header, body))
    return plaintext_of(header, body)


RULES = pytest.mark.parametrize("rule", [ADDRESS, SSN, PLAIN], ids=lambda rule: rule.name)


@given(st.sampled_from([ADDRESS, SSN, PLAIN]), st.binary(max_size=200))
def test_a_value_opens_where_it_was_sealed(rule: FieldRule, value: bytes) -> None:
    assert unseal(rule, seal(rule, value)) == value


@pytest.mark.parametrize("length", [CHUNK - 1, CHUNK, 3 * CHUNK + 5])
def test_long_values_are_sealed_in_chunks(length: int) -> None:
    blob = seal(PLAIN, bytes(length))
    assert read_header(blob).suite is (Suite.FIELD if length < CHUNK else Suite.STREAM)
    assert unseal(PLAIN, blob) == bytes(length)
    assert unseal(SSN, seal(SSN, bytes(length))) == bytes(length)


@RULES
def test_every_bit_counts(rule: FieldRule) -> None:
    blob = seal(rule)
    for bit in range(len(blob) * 8):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueUnopenable) as caught:
            unseal(rule, bytes(changed))
        assert str(caught.value) == "the value cannot be opened"


@RULES
def test_every_byte_counts(rule: FieldRule) -> None:
    blob = seal(rule)
    for length in range(len(blob)):
        with pytest.raises(ValueUnopenable):
            unseal(rule, blob[:length])
    with pytest.raises(ValueUnopenable):
        unseal(rule, blob + b"\x00")


@RULES
@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(HERE, environment="prod"),
        replace(HERE, tenant="acme-two"),
        replace(HERE, user_id=OTHER),
        replace(HERE, table="archive"),
    ],
    ids=["environment", "tenant", "user", "table"],
)
def test_a_value_moved_elsewhere_does_not_open(rule: FieldRule, elsewhere: Subject) -> None:
    with pytest.raises(ValueUnopenable):
        unseal(rule, seal(rule), elsewhere)


@RULES
@pytest.mark.parametrize("change", [{"name": "other"}, {"number": 77}])
def test_a_value_moved_to_another_field_does_not_open(
    rule: FieldRule, change: dict[str, Any]
) -> None:
    other = rule._replace(**change)
    with pytest.raises(ValueUnopenable):
        unseal(other, seal(rule))


@RULES
@pytest.mark.parametrize(
    "change",
    [
        lambda header: header._replace(suite=Suite.NESTED, app_key_version=7),
        lambda header: header._replace(suite=Suite.FIELD, app_key_version=0),
        lambda header: header._replace(suite=Suite.STREAM, app_key_version=0),
        lambda header: header._replace(padded=not header.padded),
        lambda header: header._replace(key_version=4),
        lambda header: header._replace(app_key_version=8),
        lambda header: header._replace(field_number=77),
    ],
)
def test_a_swapped_header_does_not_open(
    rule: FieldRule, change: Callable[[Header], Header]
) -> None:
    blob = seal(rule)
    header = change(read_header(blob))
    if header == read_header(blob):
        return
    with pytest.raises(ValueUnopenable):
        unseal(rule, header.pack() + blob[HEADER_BYTES:])


@RULES
def test_another_key_does_not_open(rule: FieldRule) -> None:
    with pytest.raises(ValueUnopenable):
        unseal(rule, seal(rule), key=NEW)
    with pytest.raises(ValueUnopenable):
        unseal(rule, seal(rule), key=UserKey(OLD.version, NEW.key))


def test_both_custodians_are_needed_for_tier_three() -> None:
    blob = seal(SSN)
    with pytest.raises(ValueUnopenable):
        unseal(SSN, blob, app=NEW.key)
    layer = open_outer(OLD, HERE, SSN, blob)
    assert VALUE not in layer


def test_a_field_of_tier_three_takes_no_value_of_tier_two() -> None:
    weaker = SSN._replace(tier=Tier.SEALED, least_tier=Tier.SEALED)
    blob = seal_field(OLD, HERE, weaker, VALUE)
    assert unseal(weaker, blob) == VALUE
    with pytest.raises(ValueUnopenable):
        unseal(SSN, blob)
    raised = weaker._replace(tier=Tier.DOUBLE)
    assert unseal(raised, blob) == VALUE


@RULES
def test_sealing_again_changes_the_outer_layer_alone(rule: FieldRule) -> None:
    blob = seal(rule)
    layer = open_outer(OLD, HERE, rule, blob)
    again = seal_again(NEW, HERE, rule, read_header(blob), layer)
    assert read_header(again) == read_header(blob)._replace(key_version=NEW.version)
    assert open_outer(NEW, HERE, rule, again) == layer
    assert unseal(rule, again, key=NEW) == VALUE
    with pytest.raises(ValueUnopenable):
        unseal(rule, again, key=OLD)


@given(st.binary(max_size=200), st.sampled_from([1, 48, 64]))
def test_padding_hides_the_length_and_comes_off(value: bytes, block: int) -> None:
    padded = pad(value, block)
    assert len(padded) % block == 0
    assert 0 < len(padded) - len(value) <= block
    assert unpad(padded) == value


@pytest.mark.parametrize("wrong", [b"", b"\x00\x00", b"value"])
def test_padding_that_is_none_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueUnopenable):
        unpad(wrong)


def test_values_of_one_block_have_one_length() -> None:
    assert len({len(seal(SSN, bytes(length))) for length in range(48)}) == 1
    assert len(seal(SSN)) == 48 + 160
    assert len(seal(ADDRESS)) == 64 + 88


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
@settings(max_examples=100)
def test_contexts_are_equal_only_if_their_items_are(one: list[bytes], two: list[bytes]) -> None:
    assert (canonical(*one) == canonical(*two)) == (one == two)


@given(st.sampled_from(Suite), st.booleans(), st.integers(1, 65_535), st.integers(1, 2**32 - 1))
def test_a_header_says_what_it_was_made_of(
    suite: Suite, padded: bool, field: int, version: int
) -> None:
    header = Header(suite, padded, field, version, 9 if suite is Suite.NESTED else 0)
    assert len(header.pack()) == HEADER_BYTES
    assert read_header(header.pack() + b"body") == header
