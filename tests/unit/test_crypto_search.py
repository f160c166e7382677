"""Tokens and blind indexes: equal values meet, in one place, and nothing else does."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.crypto.errors import ValueInvalid, ValueUnopenable
from services.crypto.suite.blind_index import Exposure, IndexKey, Kept, bits_for, leaks
from services.crypto.suite.normal_form import Form, normalise, passes_luhn
from services.crypto.suite.tokens import TokenKey, TokenPlace

KEY = TokenKey(2, b"t" * 32)
PLACE = TokenPlace("test", "acme", "users", "ssn", 8)
INDEX = IndexKey(1, b"i" * 32)


@given(st.binary(min_size=1, max_size=60))
def test_equal_values_have_equal_tokens_that_lead_back(value: bytes) -> None:
    token = KEY.token(PLACE, value)
    assert KEY.token(PLACE, value) == token
    assert KEY.value(PLACE, token) == value
    assert value not in token or len(value) < 4


@pytest.mark.parametrize(
    "change",
    [
        {"environment": "prod"},
        {"tenant": "other"},
        {"table": "x"},
        {"field": "x"},
        {"field_number": 9},
    ],
)
def test_a_token_of_another_place_is_another(change: dict[str, Any]) -> None:
    other = PLACE._replace(**change)
    token = KEY.token(PLACE, b"value")
    assert KEY.token(other, b"value")[16:] != token[16:]
    with pytest.raises(ValueUnopenable):
        KEY.value(other, token)


def test_every_bit_of_a_token_counts() -> None:
    token = KEY.token(PLACE, b"value")
    for bit in range(len(token) * 8):
        changed = bytearray(token)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueUnopenable):
            KEY.value(PLACE, bytes(changed))
    for length in range(len(token)):
        with pytest.raises(ValueUnopenable):
            KEY.value(PLACE, token[:length])


@pytest.mark.parametrize(
    ("form", "one", "two", "normal"),
    [
        (Form.SSN, "123-45-6789", "123 45 6789", "123456789"),
        (Form.CARD, "4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"),
        (
            Form.ACCOUNT,
            "gb82 west 1234 5698 7654 32",
            "GB82-WEST-1234-5698-7654-32",
            "GB82WEST12345698765432",
        ),
        (
            Form.EMAIL,
            "Ann@B\u00fccher.example",
            "ann@xn--bcher-kva.EXAMPLE",
            "ann@xn--bcher-kva.example",
        ),
        (Form.PHONE, "+1 (555) 010-9999", "+15550109999", "+15550109999"),
        (Form.DATE, "1980-02-29", " 1980-02-29 ", "1980-02-29"),
        (Form.TEXT, "Stra\u00dfe  1", "STRASSE 1", "strasse 1"),
        (Form.TEXT, "\uff21nn", "ann", "ann"),
    ],
)
def test_what_means_the_same_has_one_form(form: Form, one: str, two: str, normal: str) -> None:
    assert normalise(form, "field", one) == normalise(form, "field", two) == normal


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (Form.SSN, "12345678"),
        (Form.SSN, "\u0661\u0662\u0663456789x"),
        (Form.CARD, "4111 1111 1111 1112"),
        (Form.ACCOUNT, "GB82WEST12345698765433"),
        (Form.EMAIL, "nobody"),
        (Form.EMAIL, "a@" + "\u00fc" * 80 + ".example"),
        (Form.PHONE, "555-0109"),
        (Form.DATE, "1980-02-30"),
        (Form.TEXT, "  "),
    ],
)
def test_what_has_no_form_is_refused_and_not_shown(form: Form, value: str) -> None:
    with pytest.raises(ValueInvalid) as caught:
        normalise(form, "the_field", value)
    assert "the_field" in str(caught.value)
    assert not value.strip() or value not in str(caught.value)


@given(st.integers(10**11, 10**18))
def test_one_last_digit_is_right(number: int) -> None:
    assert sum(passes_luhn(f"{number}{digit}") for digit in range(10)) == 1


@given(st.text(max_size=20), st.text(max_size=20), st.integers(40, 63))
def test_an_index_is_of_tenant_field_version_and_value(one: str, two: str, bits: int) -> None:
    index = INDEX.index("acme", "ssn", one, bits)
    assert 0 <= index < 1 << bits
    assert (INDEX.index("acme", "ssn", two, bits) == index) == (one == two)
    assert INDEX.index("other", "ssn", one, bits) != index
    assert INDEX.index("acme", "card", one, bits) != index
    assert IndexKey(2, b"i" * 32).index("acme", "ssn", one, bits) != index
    assert IndexKey(1, b"j" * 32).index("acme", "ssn", one, bits) != index


def test_an_index_has_as_many_bits_as_were_asked() -> None:
    assert {INDEX.index("acme", "ssn", str(n), 1) for n in range(50)} == {0, 1}
    for bits in (0, 64):
        with pytest.raises(ValueError, match="1 to 63"):
            INDEX.index("acme", "ssn", "", bits)


@given(st.integers(1000, 10**15))
@settings(max_examples=200)
def test_bits_hide_values_among_each_other(values: int) -> None:
    bits = bits_for(values)
    assert values <= (1 << bits) ** 2
    assert 1 << bits < values / 2


def test_few_values_cannot_hide() -> None:
    with pytest.raises(ValueError, match="at least"):
        bits_for(999)


def test_leaking_indexes_are_named() -> None:
    ssn = Exposure("ssn", Form.SSN, 10**9, Kept.BLIND_INDEX)
    birth = Exposure("date_of_birth", Form.DATE, 29_200, Kept.BLIND_INDEX)
    card = Exposure("credit_card", Form.CARD, 10**15, Kept.BLIND_INDEX)
    last_four = Exposure("credit_card", Form.CARD, 10**4, Kept.LAST_FOUR)
    assert leaks([ssn, card]) == []
    assert leaks([last_four]) == []
    assert leaks([birth, ssn]) == ["date_of_birth: 29200 possible values are too few"]
    assert leaks([card, last_four]) == [
        "credit_card: an index and the last four digits, never both"
    ]
