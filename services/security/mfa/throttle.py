"""How long wrong codes in a row lock a user's second factors (NIST SP 800-63B, 5.2.2)."""

FREE = 4
"""Wrong codes in a row that lock nothing."""
FIRST = 30
"""Seconds after the next one; every further one doubles them."""
LONGEST = 86_400


def locked_seconds(failures: int) -> int:
    """Give for how many seconds so many wrong codes in a row lock; 0 for none."""
    beyond = failures - FREE
    # Bounded before it is raised: the count has no bound.
    return min(LONGEST, FIRST << min(beyond - 1, 32)) if beyond > 0 else 0
