"""What one run of a tool over the account gave and took."""

from dataclasses import dataclass, field

from benchmarks.peers.verdicts import Verdicts


@dataclass(frozen=True)
class Run:
    """One tool under one condition, from its process's start to its last verdict."""

    verdicts: Verdicts
    calls: int
    """That reached the endpoint, those it refused among them."""
    cpu_seconds: float
    peak_megabytes: float
    """Most memory that was resident at once, in MiB."""
    wall_seconds: float
    incomplete: frozenset[str] = field(default_factory=frozenset)
    """Checks that the tool reports as not seen whole."""
