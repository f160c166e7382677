"""What a module that reads a collection says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mesh.aws.reader import Reader
from secmesh.inventory.v1.record_pb2 import Record
from services.inventory.collect.draft import Collected, Draft
from services.inventory.collect.source import GLOBAL, Sources


class Scope(Enum):
    """How often a collection is read in one run."""

    GLOBAL = "global"
    """Once for the account."""
    REGIONAL = "regional"
    """Once in each region of the run."""


@dataclass(frozen=True)
class Collector:
    """How one collection is read."""

    collection: str
    scope: Scope
    collect: Callable[[Reader], Collected]
    fields: frozenset[str]
    """Fields of the body that it fills or marks: all of them."""
    operations: frozenset[str]
    """Every operation it may call; the reader refuses others, and policies are made of them."""
    listings: tuple[str, ...] = ()
    """Operations that list its resources; none if the account is the one resource."""
    shadows: Callable[[Record, str, tuple[str, ...]], bool] | None = None
    """Whether the unit of (region, run's regions) also lists this record of another region."""
    heartbeats: frozenset[str] = frozenset()
    """Times that move while nothing changes; see ``versions``."""
    sources: tuple[str, ...] = ()
    """Collections that ``derive`` looks at, read before this one is written."""
    derive: Callable[[list[Draft[Any]], Sources], None] | None = None
    derives_again: bool = True
    """Whether ``derive`` can be applied to what it has filled before."""

    def regions(self, run_regions: tuple[str, ...]) -> tuple[str, ...]:
        """Give the region of each of its units."""
        return (GLOBAL,) if self.scope is Scope.GLOBAL else run_regions

    def owns(self, record: Record, region: str, run_regions: tuple[str, ...]) -> bool:
        """Tell whether the unit of a region would list a stored record."""
        if self.scope is Scope.GLOBAL or record.region == region:
            return True
        return self.shadows is not None and self.shadows(record, region, run_regions)
