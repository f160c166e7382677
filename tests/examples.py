"""How many examples the tests of properties draw."""

import os

_TIMES = float(os.environ.get("SECMESH_TEST_EXAMPLES", "1"))


def examples(count: int) -> int:
    """Give how many to draw: so many, times SECMESH_TEST_EXAMPLES, as soak runs set it."""
    return max(1, round(count * _TIMES))
