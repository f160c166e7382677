"""What is counted of calls of the store."""

from typing import Any

import pytest

from services.tenancy.store import telemetry
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import ConditionFailed, Put, Set, Update
from services.tenancy.store.recorder import Recorder

SCOPE = TenantScope("acme")


class Counter:
    """Stands in for one of OpenTelemetry."""

    def __init__(self) -> None:
        self.added: list[tuple[float, dict[str, Any]]] = []

    def add(self, amount: float, attributes: dict[str, Any]) -> None:
        self.added.append((amount, attributes))


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    monkeypatch.setattr(telemetry, "_UNITS", counter)
    return counter


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    monkeypatch.setattr(telemetry, "_REFUSED", counter)
    return counter


async def test_units_and_refusals_are_counted(units: Counter, refused: Counter) -> None:
    store = MemoryStore(observe=telemetry.measure)
    await store.write(Put(SCOPE.account("a"), {}), Put(SCOPE.quota(), {}))
    await store.get(SCOPE.account("a"))
    with pytest.raises(ConditionFailed):
        await store.write(Update(SCOPE.account("b"), [Set("a", 1)]))
    both = {"operation": "TransactWriteItems", "tables": "accounts+tenants", "kind": "write"}
    read = {"operation": "GetItem", "tables": "accounts", "kind": "read"}
    update = {"operation": "UpdateItem", "tables": "accounts"}
    assert units.added == [(4.0, both), (1.0, read), (1.0, {**update, "kind": "write"})]
    assert refused.added == [(1, {**update, "error": "ConditionFailed"})]


async def test_nothing_counted_names_a_tenant(units: Counter, refused: Counter) -> None:
    recorder = Recorder()
    store = MemoryStore(observe=recorder.observe)
    await store.get(SCOPE.account("a"))
    for call in recorder.calls:
        telemetry.measure(call)
    assert "acme" not in repr(units.added + refused.added)
