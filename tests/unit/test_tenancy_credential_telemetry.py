"""What is measured of credentials."""

import random
from typing import Any

import pytest

from secmesh.tenancy.v1.credential_access_pb2 import CREDENTIAL_ACTION_ROLL_BACK_BY_ITSELF
from services.tenancy.credentials import telemetry
from services.tenancy.credentials.access_log import AccessLog
from services.tenancy.credentials.accesses import Accesses, Use
from services.tenancy.credentials.aws_calls import AwsCalls
from services.tenancy.credentials.cache import SecretCache
from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.credentials.secrets import SecretRejected, SecretsUnavailable
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from tests.unit.tenancy_clock import TurnedClock


class Instrument:
    """Stands in for one of OpenTelemetry."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def add(self, _amount: float, attributes: dict[str, Any]) -> None:
        self.told.append(attributes)

    record = add


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    instrument = Instrument()
    for name in ("_USES", "_REMEMBERED", "_DURATION"):
        monkeypatch.setattr(telemetry, name, instrument)
    return instrument.told


async def test_a_use_is_counted_once_the_log_holds_it(told: list[dict[str, Any]]) -> None:
    accesses = Accesses(AccessLog(MemoryStore(), TurnedClock()))
    action = CREDENTIAL_ACTION_ROLL_BACK_BY_ITSELF
    await accesses.record(TenantScope("acme"), "a1", action, Use("ann"), granted=False)
    assert told == [{"action": "roll_back_by_itself", "granted": False}]


async def test_what_memory_saved_is_counted(told: list[dict[str, Any]]) -> None:
    cache = SecretCache(TurnedClock(), random.Random(1))

    async def fetch() -> SecretText:
        return SecretText("aws_access_key", {})

    for _ in range(2):
        await cache.get(("acme", "a1", "v"), fetch)
    assert [each["remembered"] for each in told] == [False, True]
    assert "acme" not in repr(told)


async def test_calls_are_measured_by_how_they_ended(told: list[dict[str, Any]]) -> None:
    calls = AwsCalls("secrets", {}, rejected=SecretRejected, unavailable=SecretsUnavailable)

    def get_secret_value(value: int) -> int:
        return 1 // value

    assert await calls(get_secret_value, value=1) == 1
    with pytest.raises(ZeroDivisionError):
        await calls(get_secret_value, value=0)
    calls.close()
    same = {"service": "secrets", "operation": "get_secret_value"}
    assert told == [{**same, "outcome": "ok"}, {**same, "outcome": "ZeroDivisionError"}]
