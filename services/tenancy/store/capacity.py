"""Request units as AWS bills them on demand: what each read and write of an item costs.

Reads count 4 KB, writes 1 KB; half for reads that may be stale, double for writes of a
transaction, but never double in an index (Amazon DynamoDB developer guide, "on-demand").
"""

from collections.abc import Iterable, Mapping
from math import ceil

from services.tenancy.store.tables import PK, SK, Index, Projection
from services.tenancy.store.values import Item, Value, size_of

READ_UNIT = 4096
WRITE_UNIT = 1024


def read_units(size: int, *, consistent: bool) -> float:
    """Give the units of reading so many bytes; nothing found costs as much as the smallest."""
    return max(1, ceil(size / READ_UNIT)) * (1.0 if consistent else 0.5)


def read_units_of(items: Iterable[Item | None], *, consistent: bool) -> float:
    """Give the units of reading items one by one."""
    return sum(read_units(size_of(each or {}), consistent=consistent) for each in items)


def write_units(
    before: Mapping[str, Value] | None, after: Mapping[str, Value] | None, *, transaction: bool
) -> float:
    """Give the units of a write in the table itself: of the larger of the two items."""
    larger = max(size_of(before or {}), size_of(after or {}))
    return max(1, ceil(larger / WRITE_UNIT)) * (2.0 if transaction else 1.0)


def index_units(
    index: Index, before: Mapping[str, Value] | None, after: Mapping[str, Value] | None
) -> float:
    """Give the units that a write costs in an index: 0 where the index shows no change."""
    old, new = projected(index, before), projected(index, after)
    if old == new:
        return 0.0
    if old is None or new is None:
        return _units(old or new or {})
    if all(old[key] == new[key] for key in index.keys):
        return max(_units(old), _units(new))
    # An entry whose key changes is removed in one place and written in another.
    return _units(old) + _units(new)


def projected(index: Index, item: Mapping[str, Value] | None) -> Item | None:
    """Give what an index shows of an item; None if it is not in it."""
    if item is None or not all(key in item for key in index.keys):
        return None
    if index.projection is Projection.ALL:
        return dict(item)
    shown = {PK, SK, *index.keys, *index.included}
    return {name: value for name, value in item.items() if name in shown}


def _units(entry: Mapping[str, Value]) -> float:
    return float(max(1, ceil(size_of(entry) / WRITE_UNIT)))
