"""Reads the members of one result of a JSON report; a wrong one is named by its place."""

import math
import re
from collections.abc import Iterator

# At most what an int64 column holds, and ASCII digits only: int() takes those of every script.
_INTEGER = re.compile(r"-?[0-9]{1,18}")
MOST = 10**18 - 1


class BadResult(Exception):
    """The result cannot be taken; `pointer` is the place of what is wrong (RFC 6901)."""

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(reason)
        self.pointer = pointer
        self.reason = reason


class Node:
    """An object of the report and where it stands. `null` reads as absent everywhere."""

    __slots__ = ("_above", "_key", "members")

    def __init__(
        self, members: dict[str, object], above: "str | Node", key: str | int = ""
    ) -> None:
        """`above` is the place, or the object that this one is a member of by `key`."""
        self.members = members
        self._above = above
        self._key = key

    @property
    def pointer(self) -> str:
        """The place of this object; made when it is asked for, which is seldom."""
        return self._above if isinstance(self._above, str) else self._above.at(self._key)

    @classmethod
    def of(cls, value: object, pointer: str) -> "Node":
        if isinstance(value, dict):
            return cls(value, pointer)
        raise BadResult(pointer, "is no object")

    def at(self, key: str | int) -> str:
        """The place of a member."""
        return f"{self.pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"

    def has(self, key: str) -> bool:
        return self.members.get(key) is not None

    def text(self, key: str) -> str:
        """A string; empty if absent."""
        found = self.members.get(key)
        if found is None:
            return ""
        if isinstance(found, str):
            return found
        raise BadResult(self.at(key), "is no string")

    def needed(self, key: str) -> str:
        """A string that must be there and not empty."""
        found = self.text(key)
        if not found:
            raise BadResult(self.at(key), "is missing")
        return found

    def scalar(self, key: str) -> str:
        """A string, or a number as a string: for the tools that write either."""
        found = self.members.get(key)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return str(found)
        return self.text(key)

    def number(self, key: str) -> float | None:
        """A number, or a string that holds one."""
        found = self._number(key, "is no number")
        try:
            number = float(found) if found else None
        except ValueError:
            raise BadResult(self.at(key), f"is no number: {found[:40]!r}") from None
        if number is not None and not math.isfinite(number):
            raise BadResult(self.at(key), f"is no number: {found[:40]!r}")
        return number

    def integer(self, key: str) -> int | None:
        """An integer, or a string that holds one (ZAP writes its numbers so)."""
        said = self.members.get(key)
        if type(said) is int and -MOST <= said <= MOST:
            return said
        found = self._number(key, "is no integer")
        if found and not _INTEGER.fullmatch(found):
            raise BadResult(self.at(key), f"is no integer: {found[:40]!r}")
        return int(found) if found else None

    def flag(self, key: str) -> bool:
        found = self.members.get(key)
        if found is None or isinstance(found, bool):
            return bool(found)
        raise BadResult(self.at(key), "is neither true nor false")

    def node(self, key: str) -> "Node":
        """An object; one without members if absent."""
        found = self.members.get(key)
        if found is None:
            return Node({}, self, key)
        if isinstance(found, dict):
            return Node(found, self, key)
        raise BadResult(self.at(key), "is no object")

    def nodes(self, key: str) -> Iterator["Node"]:
        """The objects of an array; none if absent."""
        found = self.array(key)
        if not found:
            return
        array = Node({}, self, key)
        for index, each in enumerate(found):
            if not isinstance(each, dict):
                raise BadResult(array.at(index), "is no object")
            yield Node(each, array, index)

    def array(self, key: str) -> list[object]:
        found = self.members.get(key)
        if found is None or isinstance(found, list):
            return found or []
        raise BadResult(self.at(key), "is no array")

    def texts(self, key: str) -> tuple[str, ...]:
        """The strings of an array, or the one string that stands in its place."""
        if isinstance(self.members.get(key), str):
            return (self.text(key),) if self.text(key) else ()
        found = self.array(key)
        for index, each in enumerate(found):
            if not isinstance(each, str):
                raise BadResult(f"{self.at(key)}/{index}", "is no string")
        return tuple(str(each) for each in found)

    def _number(self, key: str, reason: str) -> str:
        found = self.members.get(key)
        if found is None:
            return ""
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise BadResult(self.at(key), reason)
        if isinstance(found, float) and found.is_integer():
            return str(int(found))
        return str(found).strip()
