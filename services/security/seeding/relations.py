"""Which records made-up records refer to: such that belong together.

An issue of a scan is of the scan's project. What a record refers to by way of others is
remembered with it, and references that would contradict one another are not made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

from google.api import field_behavior_pb2

from mesh.contract.catalogue import Kind, field_option
from mesh.records.fields import behaves

_KEPT = 1000
"""Records of a kind that others may refer to: what is kept in memory."""
_TRIES = 8
_LIKELY, _OWN_LIKELY = 0.85, 0.4
_INDEPENDENT = frozenset({"users"})
"""Kinds of which several that a record refers to have nothing to do with each other."""
_TWIN, _TWIN_WORD = "duplicate_of", "duplicate"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that others may refer to."""

    name: str
    parents: Mapping[str, str]
    """What it belongs to: names by collection."""


@dataclass(frozen=True)
class Reference:
    """A field that refers to records of a collection."""

    field: str
    target: str
    required: bool


class Relations:
    """The records that were made, and what may refer to them."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        """Take kinds in an order in which each comes after those that it refers to."""
        self.pools: dict[str, list[Entry]] = {}
        self._depths: dict[str, int] = {}
        for kind in kinds:
            self.pools[kind.collection] = []
            below = [self._depths.get(each.target, 0) for each in references_of(kind)]
            self._depths[kind.collection] = 1 + max(below, default=0)

    def add(self, collection: str, name: str, parents: Mapping[str, str]) -> None:
        """Remember a record, as long as there is room."""
        pool = self.pools[collection]
        if len(pool) < _KEPT:
            pool.append(Entry(name, {**parents, collection: name}))

    def ordered(self, kind: Kind) -> list[Reference]:
        """Give a kind's references, first those that bring the most others with them."""
        found = [each for each in references_of(kind) if each.target in self.pools]
        return sorted(found, key=lambda each: -self._depths[each.target])

    def choose(
        self,
        collection: str,
        references: Iterable[Reference],
        random: Random,
        fixed: Mapping[str, Entry | None],
        said: Iterable[str],
        *,
        whole: bool,
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Give names by field, and all that the record belongs to by collection."""
        names: dict[str, str] = {}
        known: dict[str, str] = {}
        twin = any(word.startswith(_TWIN_WORD) for word in said)
        for field, entry in fixed.items():
            if entry is not None:
                names[field] = entry.name
                _join(known, entry)
        for each in references:
            if each.field in fixed:
                continue
            if each.target in known:
                names[each.field] = known[each.target]
                continue
            likely = _OWN_LIKELY if each.target == collection else _LIKELY
            if each.field.startswith(_TWIN):
                likely = 1.0 if twin else 0.0
            wanted = random.random() < likely or (whole and likely)
            if (each.required or wanted) and (entry := self._pick(each, random, known)):
                names[each.field] = entry.name
                _join(known, entry)
        return names, known

    def _pick(self, wanted: Reference, random: Random, known: Mapping[str, str]) -> Entry | None:
        pool = self.pools[wanted.target]
        entry = None
        for _ in range(_TRIES if pool else 0):
            entry = pool[int(random.random() * len(pool))]
            if all(known.get(where, name) == name for where, name in entry.parents.items()):
                return entry
        return entry if wanted.required else None


def references_of(kind: Kind) -> list[Reference]:
    """Give the references of a kind that callers fill."""
    return [
        Reference(field.name, target, behaves(field, field_behavior_pb2.REQUIRED))
        for field in kind.descriptor.fields
        if (target := field_option(field).references)
        and not behaves(field, field_behavior_pb2.OUTPUT_ONLY)
    ]


def _join(known: dict[str, str], entry: Entry) -> None:
    for collection, name in entry.parents.items():
        if collection not in _INDEPENDENT:
            known.setdefault(collection, name)
