"""What one made-up record is drawn from: chance that is the same every time, and its topic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any

from google.protobuf.descriptor import EnumDescriptor

from services.security.seeding.vocabulary import DIGITS, HEX, Vocabulary

_ADDRESS = "203.0.113."
"""Addresses for documents (RFC 5737); private ones are of RFC 1918."""


@dataclass(eq=False)
class Draw(Mapping[str, str]):
    """One record's chance; as a mapping it gives the words of templates."""

    number: int
    """Of this kind, from 1."""
    random: Random
    words: Vocabulary
    topic: dict[str, str] = field(default_factory=dict)
    """Words that all fields of the record share."""
    said: set[str] = field(default_factory=set)
    """Words of the enums so far, in lower case."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Values that are decided already, by field of the body."""
    severity: str = ""
    status: str = ""
    """Words of these fields; the status in lower case."""

    def __post_init__(self) -> None:
        for choices in self.words.topics.values():
            self.topic.update(self.pick(choices))
        for name in self.words.shared:
            self.topic[name] = self.pick(self.words.words[name])

    def pick(self, choices: Any) -> Any:
        """Choose one; always one step of chance, however many there are."""
        return choices[int(self.random.random() * len(choices))]

    def between(self, least: float, most: float) -> float:
        """Give a number, both ends included as far as reals go."""
        return least + (most - least) * self.random.random()

    def text(self, template: str) -> str:
        """Write a text of a template."""
        return template.format_map(self)

    def word_of(self, enum: EnumDescriptor, value: int) -> str:
        """Give a value of an enum without its prefix, and remember that it was said."""
        word = words_of(enum)[value]
        self.said.add(word.lower())
        return word

    def __getitem__(self, name: str) -> str:
        known = self.topic.get(name)
        if known is not None:
            return known
        if name == "n":
            return str(self.number)
        choices = self.words.words.get(name)
        if choices is not None:
            return str(self.pick(choices))
        if name.startswith(HEX):
            return self._hex(int(name[len(HEX) :]))
        if name.startswith(DIGITS):
            size = int(name[len(DIGITS) :])
            return str(int(self.between(10 ** (size - 1), 10**size)))
        return self._written(name)

    def _written(self, name: str) -> str:
        if name == "ip":
            return _ADDRESS + str(int(self.between(1, 255)))
        if name == "private_ip":
            return f"10.{int(self.between(0, 64))}.{int(self.between(0, 255))}.{self._octet()}"
        if name == "mac":
            return "02:" + ":".join(self._hex(2) for _ in range(5))
        if name == "uuid":
            digits = self._hex(32)
            return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
        raise KeyError(name)

    def _octet(self) -> int:
        return int(self.between(1, 255))

    def _hex(self, size: int) -> str:
        return f"{self.random.getrandbits(size * 4):0{size}x}"

    def __iter__(self) -> Any:
        return iter(self.topic)

    def __len__(self) -> int:
        return len(self.topic)


@lru_cache(maxsize=1024)
def words_of(enum: EnumDescriptor) -> Mapping[int, str]:
    """Give the values of an enum without their prefix, by number; 0 is none."""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix) for value in enum.values if value.number}
