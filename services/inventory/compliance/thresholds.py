"""Thresholds that a plan sets in prose: `ninety (90) days`, `at least 14 characters`.

A value is taken only if the words leave no choice; else ThresholdUnclear says why. A month counts
30 days, a quarter 90 and a year 365.
"""

import re
from fractions import Fraction

from secmesh.inventory.v1 import check_pb2, ssp_pb2

LARGEST = 1_000_000
IN_DAYS = (check_pb2.THRESHOLD_UNIT_DAYS, check_pb2.THRESHOLD_UNIT_DAY_COUNT)
_DAYS = {
    "second": Fraction(1, 86_400),
    "minute": Fraction(1, 1440),
    "hour": Fraction(1, 24),
    "day": Fraction(1),
    "week": Fraction(7),
    "month": Fraction(30),
    "quarter": Fraction(90),
    "year": Fraction(365),
}
_RECURRING = {
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "quarterly": "quarter",
    "annual": "year",
    "annually": "year",
    "yearly": "year",
}
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(_ONES)} | {
    word: value * 10 for value, word in enumerate(_TENS, start=2)
}
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_SPELLED = rf"(?:(?:{_WORD}|hundred)\b(?:[\s-]+(?:and\s+)?)?)+"
_AMOUNT = re.compile(
    rf"(?:\b(?P<spelled>{_SPELLED})\s*(?:\(\s*(?P<repeated>\d+(?:\.\d+)?)\s*\))?"
    r"|(?<![\w.])(?P<digits>\d+(?:\.\d+)?)\s*\)?)"
    r"[\s-]*(?P<unit>(?:calendar\s+|business\s+)?[a-z]+)?",
    re.IGNORECASE,
)
_LENGTH = re.compile(
    r"(?<![\w.])(\d+)\s*\)?[\s-]*characters?\b|\blength\b\D{0,16}?(\d+)", re.IGNORECASE
)


class ThresholdUnclear(Exception):
    """The words name no single value."""


def read_threshold(text: str, unit: check_pb2.ThresholdUnit.ValueType) -> int:
    """Give the one value that a parameter's words name, in ``unit``.

    Raises ThresholdUnclear if they name none, several, or no whole number of the unit.
    """
    if unit in IN_DAYS:
        found, missing = _periods(text), "no period of time"
    else:
        found, missing = _counts(text), "no number"
    if not found:
        raise ThresholdUnclear(f"{_quoted(text)} names {missing}")
    if len(found) > 1:
        values = ", ".join(f"{float(value):g}" for value in sorted(found))
        raise ThresholdUnclear(f"{_quoted(text)} names several values: {values}")
    (value,) = found
    if value.denominator != 1:
        raise ThresholdUnclear(f"{_quoted(text)} is no whole number of days")
    if value > LARGEST:
        raise ThresholdUnclear(f"{_quoted(text)} is too large")
    return int(value)


def weaker(value: int, than: int, direction: check_pb2.ThresholdDirection.ValueType) -> bool:
    """Tell whether a threshold is weaker than another."""
    if direction == check_pb2.THRESHOLD_DIRECTION_AT_MOST:
        return value > than
    return value < than


def claim_thresholds(claim: ssp_pb2.Claim, check: check_pb2.Check) -> dict[str, int]:
    """Give the thresholds of a check by variable: the claim's own, else the check's defaults.

    Raises ThresholdUnclear, naming the parameter, if the claim sets one that cannot be read.
    """
    found: dict[str, int] = {}
    for parameter in check.parameters:
        found[parameter.variable] = parameter.default_value
        if parameter.param_id and parameter.param_id in claim.parameters:
            words = claim.parameters[parameter.param_id]
            try:
                found[parameter.variable] = read_threshold(words, parameter.unit)
            except ThresholdUnclear as error:
                raise ThresholdUnclear(f"{check.id} needs {parameter.param_id}: {error}") from None
    return found


def _periods(text: str) -> set[Fraction]:
    found: set[Fraction] = set()
    for match in _AMOUNT.finditer(text):
        unit = (match["unit"] or "").lower().split()[-1:]
        length = _DAYS.get(unit[0].removesuffix("s")) if unit else None
        if length is not None:
            found |= {value * length for value in _values(match)}
    words = re.findall(r"[a-z]+", text.lower())
    return found | {_DAYS[_RECURRING[word]] for word in words if word in _RECURRING}


def _counts(text: str) -> set[Fraction]:
    lengths = {Fraction(one or other) for one, other in _LENGTH.findall(text)}
    if len(lengths) == 1:
        return lengths  # the other numbers are of other rules: `one digit, one symbol`
    in_digits: set[Fraction] = set()
    spelled: set[Fraction] = set()
    for match in _AMOUNT.finditer(text):
        unit = (match["unit"] or "").lower().split()[-1:]
        if unit and unit[0].removesuffix("s") in _DAYS:
            continue
        (in_digits if _digits(match) else spelled).update(_values(match))
    return in_digits or spelled


def _values(match: re.Match[str]) -> set[Fraction]:
    """Give what a match says; two values if its words and its digits disagree."""
    digits = _digits(match)
    values = {Fraction(digits)} if digits else set()
    if match["spelled"]:
        values.add(Fraction(_spelled(match["spelled"])))
    return values


def _digits(match: re.Match[str]) -> str | None:
    return match["digits"] or match["repeated"]


def _spelled(words: str) -> int:
    total = 0
    for word in re.findall(r"[a-z]+", words.lower()):
        if word == "hundred":
            total = max(total, 1) * 100
        else:
            total += _WORDS.get(word, 0)
    return total


def _quoted(text: str) -> str:
    cut = text if len(text) <= 80 else text[:79] + "\N{HORIZONTAL ELLIPSIS}"
    return f"{cut!r}"
