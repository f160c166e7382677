"""Patterns as AWS writes them: ``*`` stands for any text, ``?`` for one character."""

import re
from functools import lru_cache

PATTERNS = 4096
"""Compiled patterns that are kept."""


def matches(pattern: str, text: str) -> bool:
    """Tell whether a text is what a pattern describes, in the case it has."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Runs of stars mean what one means, and would take ages to try.
    told = re.sub(r"\*+", "*", pattern)
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(each) or re.escape(each) for each in told), re.DOTALL)
