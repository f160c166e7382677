"""The life of one version of a key."""

from enum import StrEnum


class KeyState(StrEnum):
    """What a version may be used for.

    A version is known everywhere before it seals (PENDING), and opens long after (DECRYPT_ONLY).
    """

    PENDING = "pending"
    """Made and distributed; seals nothing yet."""
    ACTIVE = "active"
    """Seals and opens; one of each key at a time."""
    DECRYPT_ONLY = "decrypt_only"
    """Opens what it sealed."""
    DISABLED = "disabled"
    """Neither, and can come back as what it was."""
    DESTROYED = "destroyed"
    """Its wrapped form is erased: what it sealed is lost for good."""

    @property
    def opens(self) -> bool:
        """Whether it may open what it sealed."""
        return self in _OPENING

    def may_become(self, other: "KeyState") -> bool:
        """Tell whether a version may change to a state; back from DECRYPT_ONLY is a rollback."""
        return other in _NEXT[self]


_OPENING = frozenset({KeyState.PENDING, KeyState.ACTIVE, KeyState.DECRYPT_ONLY})
_NEXT = {
    KeyState.PENDING: frozenset({KeyState.ACTIVE, KeyState.DISABLED, KeyState.DESTROYED}),
    KeyState.ACTIVE: frozenset({KeyState.DECRYPT_ONLY, KeyState.DISABLED, KeyState.DESTROYED}),
    KeyState.DECRYPT_ONLY: frozenset({KeyState.ACTIVE, KeyState.DISABLED, KeyState.DESTROYED}),
    KeyState.DISABLED: frozenset(
        {KeyState.PENDING, KeyState.ACTIVE, KeyState.DECRYPT_ONLY, KeyState.DESTROYED}
    ),
    KeyState.DESTROYED: frozenset[KeyState](),
}
