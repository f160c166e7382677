"""The words of made-up records, and which of them a field holds; read from vocabulary.yaml."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any

import yaml

DIGITS, HEX = "digits", "hex"
DISTINCT = frozenset({"n", "uuid", "digits12"})
"""Parts of a template that differ from record to record, besides long runs of hexadecimals."""
_LONG = 12
_USUAL = 10
"""How often a value comes of which nothing is said, against others."""
Range = tuple[float, float]


@dataclass(frozen=True)
class Vocabulary:
    """What vocabulary.yaml says."""

    texts: Mapping[str, str]
    words: Mapping[str, Sequence[str]]
    topics: Mapping[str, Sequence[Mapping[str, str]]]
    shared: Sequence[str]
    weights: Mapping[str, int]
    numbers: Mapping[str, Sequence[float]]
    likely: Mapping[str, float]
    closed: Sequence[str]
    at_the_end: Sequence[str]
    needs: Mapping[str, Sequence[str]]
    wholes: Mapping[str, Sequence[str]]
    left_out: Sequence[str]

    def template(self, collection: str, field: str) -> str:
        """Give what a text is made of."""
        found = self.texts.get(f"{collection}.{field}") or self.texts.get(field)
        return found or _by_end(self.texts, field) or f"{field.replace('_', ' ')} {{n}}"

    def choices(self, template: str) -> Sequence[str]:
        """Give all that a template can say, where that is one word; else nothing."""
        parts = list(Formatter().parse(template))
        if len(parts) != 1 or parts[0][1] is None:
            return ()
        literal, name = parts[0][0], parts[0][1]
        found = list(self.words.get(name, ())) or [
            each[name] for topic in self.topics.values() for each in topic if name in each
        ]
        return [literal + word for word in dict.fromkeys(found)]

    def number(self, field: str) -> Range | None:
        """Give the least and the greatest number that a field holds; None if nothing is said."""
        found = self.numbers.get(field) or _by_end(self.numbers, field)
        return (found[0], found[1]) if found else None

    def weight(self, word: str) -> int:
        """Tell how often a value of an enum comes, against others."""
        return self.weights.get(word, _USUAL)


def is_distinct(template: str) -> bool:
    """Tell whether two records hardly ever get the same text of a template."""
    names = {name for _, name, _, _ in Formatter().parse(template) if name}
    long = any(each.startswith(HEX) and int(each[len(HEX) :]) >= _LONG for each in names)
    return long or bool(names & DISTINCT)


@cache
def vocabulary() -> Vocabulary:
    """Read vocabulary.yaml."""
    text = (files("services.security.seeding") / "vocabulary.yaml").read_text(encoding="utf-8")
    return Vocabulary(**yaml.load(text, yaml.CSafeLoader))


def _by_end(rules: Mapping[str, Any], field: str) -> Any:
    """Give the rule of the longest end that a name has."""
    ends = [rule for rule in rules if rule[0] == "*" and field.endswith(rule[1:])]
    return rules[max(ends, key=len)] if ends else None
