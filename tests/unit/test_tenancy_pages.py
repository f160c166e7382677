"""Page tokens: good for the request they were written for, and for nothing else."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import PageTokenInvalid
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.pages import VALID_SECONDS, PageTokens
from services.tenancy.store.port import Page, Prefix, Put
from tests.unit.tenancy_clock import TurnedClock

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SCOPE = TenantScope("acme")
QUERY = SCOPE.accounts()
ENDED = Page([], {"pk": "acme", "sk": "A#secret-id"})
CLOCK = TurnedClock()
TOKENS = PageTokens([KEY], CLOCK)


async def test_pages_follow_each_other() -> None:
    store = MemoryStore()
    for number in range(7):
        await store.write(Put(SCOPE.account(f"a{number}"), {"n": number}))
    token, seen = "", []
    for size in (3, 2, 5):
        query = TOKENS.started("acme", replace(QUERY, limit=size), token, "filter")
        page = await store.query(query)
        seen += [item["n"] for item in page.items]
        token = TOKENS.next("acme", query, page, "filter")
    assert seen == list(range(7))
    assert token == ""


def test_a_token_tells_nothing() -> None:
    first, second = (TOKENS.next("acme", QUERY, ENDED) for _ in range(2))
    assert first != second
    raw = base64.urlsafe_b64decode(first + "==")
    assert b"acme" not in raw
    assert b"secret" not in raw


def test_a_token_is_bound_to_tenant_and_request() -> None:
    token = TOKENS.next("acme", QUERY, ENDED, "status=1")
    assert TOKENS.started("acme", QUERY, token, "status=1").start == ENDED.next
    others = [
        ("other", QUERY, "status=1"),
        ("acme", QUERY, "status=2"),
        ("acme", QUERY, ""),
        ("acme", replace(QUERY, forward=False), "status=1"),
        ("acme", replace(QUERY, sk=Prefix("B#")), "status=1"),
        ("acme", replace(QUERY, sk=None), "status=1"),
        ("acme", SCOPE.providers(), "status=1"),
        ("acme", TenantScope("other").accounts(), "status=1"),
    ]
    for tenant, query, context in others:
        with pytest.raises(PageTokenInvalid):
            TOKENS.started(tenant, query, token, context)
    with pytest.raises(PageTokenInvalid):
        TOKENS.started("acme", QUERY, token)


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_token_that_was_tampered_with(position: int, flipped: int) -> None:
    token = TOKENS.next("acme", QUERY, ENDED)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[position % len(raw)] ^= flipped
    forged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    with pytest.raises(PageTokenInvalid):
        TOKENS.started("acme", QUERY, forged)


@given(st.text(min_size=1, max_size=80))
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        TOKENS.started("acme", QUERY, token)


def test_other_writings_of_a_token() -> None:
    token = TOKENS.next("acme", QUERY, ENDED)
    for other in (token + "=", token + "\n", " " + token, token[:-1], "A" * 5000):
        with pytest.raises(PageTokenInvalid):
            TOKENS.started("acme", QUERY, other)


def test_a_token_ends() -> None:
    clock = TurnedClock()
    tokens = PageTokens([KEY], clock)
    token = tokens.next("acme", QUERY, ENDED)
    clock.turn(VALID_SECONDS - 1)
    assert tokens.started("acme", QUERY, token).start == ENDED.next
    clock.turn(1)
    with pytest.raises(PageTokenInvalid):
        tokens.started("acme", QUERY, token)


def test_keys_are_exchanged_one_after_the_other() -> None:
    token = TOKENS.next("acme", QUERY, ENDED)
    exchanged = PageTokens([OTHER_KEY, KEY], CLOCK)
    assert exchanged.started("acme", QUERY, token).start == ENDED.next
    newer = exchanged.next("acme", QUERY, ENDED)
    with pytest.raises(PageTokenInvalid):
        TOKENS.started("acme", QUERY, newer)
    with pytest.raises(PageTokenInvalid):
        PageTokens([OTHER_KEY], CLOCK).started("acme", QUERY, token)


def test_keys_are_not_short() -> None:
    for keys in ([], [b"short"], [KEY, b""]):
        with pytest.raises(ValueError, match="16 bytes"):
            PageTokens(keys, CLOCK)
