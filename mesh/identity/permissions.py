"""Permissions ``module.collection.verb`` and the patterns that grant them."""

import re
from functools import lru_cache

_PATTERN = re.compile(r"(\*|[a-z][a-z0-9_]{0,62})(\.(\*|[a-z][a-z0-9_]{0,62})){2}")


def is_pattern(text: str) -> bool:
    """Tell whether a text is three dotted segments, each a word or ``*``."""
    return _PATTERN.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def permits(patterns: frozenset[str], needed: str) -> bool:
    """Tell whether one of the patterns grants a permission; ``*`` matches one whole segment."""
    wanted = needed.split(".")
    return any(_grants(pattern.split("."), wanted) for pattern in patterns)


def _grants(pattern: list[str], wanted: list[str]) -> bool:
    return len(pattern) == len(wanted) and all(
        given in ("*", asked) for given, asked in zip(pattern, wanted, strict=True)
    )
