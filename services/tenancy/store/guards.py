"""Uniqueness: an item whose key is the value that may occur once, owned by who has it.

Its key comes from ``keys.py`` (``tenant_guard``, ``provider_guard``, ``account_guard``); it is
written in the transaction that writes its owner, and a ConditionFailed at its position means
that somebody else has the value.
"""

from collections.abc import Mapping

from services.tenancy.store.conditions import Equals, Missing
from services.tenancy.store.items import text
from services.tenancy.store.port import Action, Delete, Key, Put
from services.tenancy.store.values import Value

OWNER = "owner"


def claim(key: Key, owner: str) -> Put:
    """Give the action by which an owner takes a value that is free."""
    return Put(key, {OWNER: owner}, Missing())


def release(key: Key, owner: str) -> Delete:
    """Give the action by which the owner lets a value go; it fails if it is another's."""
    return Delete(key, Equals(OWNER, owner))


def exchange(old: Key, new: Key, owner: str) -> tuple[Action, ...]:
    """Give the actions of a rename; none if both names are the same value."""
    return () if old == new else (claim(new, owner), release(old, owner))


def owner_of(item: Mapping[str, Value] | None) -> str:
    """Give who owns a value; empty if nobody does."""
    return "" if item is None else text(item, OWNER)
