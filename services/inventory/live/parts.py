"""Which units a run reads because of events, and which it computes again because of those."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.event_map import EventMap
from services.inventory.collect.focus import Focus
from services.inventory.collect.source import GLOBAL
from services.inventory.live.hints import Hint

MAX_KEYS = 100
"""Resources of one unit that are looked at by themselves; beyond, all of the unit is read."""

Place = tuple[str, str]
"""A collection and a region."""
Parts = dict[Place, Focus | None]
UnitsRead = Mapping[Place, bool]
"""Units that were ever read, and whether they were listed whole."""


@dataclass(frozen=True)
class Target:
    """What is read because of one event."""

    collection: str
    region: str
    key: str = ""
    """A resource; empty for all of the unit."""

    @property
    def place(self) -> Place:
        """The unit."""
        return (self.collection, self.region)


def targets_of(
    hint: Hint, collectors: Mapping[str, Collector], units: UnitsRead
) -> frozenset[Target]:
    """Give what an event leads to in units that are collected."""
    found: set[Target] = set()
    for told in hint.told:
        is_global = collectors[told.collection].scope is Scope.GLOBAL
        place = (told.collection, GLOBAL if is_global else hint.region)
        if place not in units:
            continue
        # Where nobody ever saw all resources, one alone tells too little.
        keys = told.keys if units[place] else ()
        found |= {Target(*place, key) for key in keys or ("",)}
    return frozenset(found)


def parts_of(
    targets: Iterable[Target],
    collectors: Mapping[str, Collector],
    units: UnitsRead,
    events: EventMap,
) -> Parts:
    """Give the units that are read, and those whose derived facts rest on them."""
    keys: dict[Place, set[str]] = {}
    for target in targets:
        keys.setdefault(target.place, set()).add(target.key)
    parts: Parts = {
        place: None if "" in named or len(named) > MAX_KEYS else events.focus(place[0], named)
        for place, named in keys.items()
    }
    read = {collection for collection, _ in parts}
    for collector in collectors.values():
        if collector.derive is not None and read & {*collector.sources}:
            again = Focus() if collector.derives_again else None
            _add(parts, collector, again, units)
    # Derivations look at all regions of a collection of which a run reads any.
    deriving = [collectors[collection] for collection, _ in list(parts)]
    for source in {source for each in deriving for source in each.sources}:
        if any(collection == source for collection, _ in parts):
            _add(parts, collectors[source], Focus(), units)
    return parts


def _add(parts: Parts, collector: Collector, focus: Focus | None, units: UnitsRead) -> None:
    for (collection, region), listed in units.items():
        known = listed or not collector.listings
        if collection == collector.collection and (known or focus is None):
            parts.setdefault((collection, region), focus)
