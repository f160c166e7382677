"""Versions of keys live in one direction, but for a rollback and what was only disabled."""

import pytest

from services.crypto.keys.states import KeyState

ALLOWED = {
    KeyState.PENDING: "active disabled destroyed",
    KeyState.ACTIVE: "decrypt_only disabled destroyed",
    KeyState.DECRYPT_ONLY: "active disabled destroyed",
    KeyState.DISABLED: "pending active decrypt_only destroyed",
    KeyState.DESTROYED: "",
}


@pytest.mark.parametrize("state", KeyState)
def test_a_version_becomes_what_follows_and_nothing_else(state: KeyState) -> None:
    following = {other.value for other in KeyState if state.may_become(other)}
    assert following == set(ALLOWED[state].split())


def test_what_is_disabled_or_destroyed_opens_nothing() -> None:
    assert {state for state in KeyState if not state.opens} == {
        KeyState.DISABLED,
        KeyState.DESTROYED,
    }
