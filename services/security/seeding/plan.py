"""In which order kinds are filled, and with how many records each."""

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter

from mesh.contract.catalogue import Catalogue, Kind
from services.security.findings.machine import finding_machines
from services.security.seeding.relations import references_of

_LOG, _FINDING, _LEAF, _PART, _ROOT = 12, 8, 4, 2, 1
"""Shares: logs, findings, what nothing refers to, parts of something, and where all begins."""


def load_order(catalogue: Catalogue) -> Sequence[Kind]:
    """Give the kinds that callers write, each after those that it refers to."""
    kinds = {
        collection: kind
        for collection, kind in sorted(catalogue.record_kinds.items())
        if not kind.option.output_only
    }
    graph = {
        collection: {each.target for each in references_of(kind) if each.target != collection}
        for collection, kind in kinds.items()
    }
    return [kinds[each] for each in TopologicalSorter(graph).static_order() if each in kinds]


def shares(catalogue: Catalogue, kinds: Sequence[Kind], records: int) -> Mapping[str, int]:
    """Divide a number of records among kinds, by what they are; each has one at least."""
    referred = {each.target for kind in kinds for each in references_of(kind)}
    machines = finding_machines(catalogue)
    weights = {
        kind.collection: _weight(kind, kind.collection in machines, referred) for kind in kinds
    }
    total, rest = sum(weights.values()), max(0, records - len(kinds))
    given = {collection: 1 + rest * weight // total for collection, weight in weights.items()}
    # What division left over goes to the logs, of which there are always more.
    left = max(0, records - sum(given.values()))
    logs = [kind.collection for kind in kinds if weights[kind.collection] == _LOG] or list(given)
    for place in range(left):
        given[logs[place % len(logs)]] += 1
    return given


def _weight(kind: Kind, is_finding: bool, referred: set[str]) -> int:
    if kind.option.HasField("partition"):
        return _LOG
    if is_finding:
        return _FINDING
    if kind.collection not in referred:
        return _LEAF
    return _PART if any(each.required for each in references_of(kind)) else _ROOT
