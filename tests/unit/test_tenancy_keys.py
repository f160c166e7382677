"""Keys of the tenancy store: what IAM can keep apart, and that no part reaches into another."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import services.tenancy
from services.tenancy.store.keys import (
    IndexKeys,
    KeyInvalid,
    PlatformScope,
    TenantScope,
    execution_id,
    folded,
    key_of,
    month_of,
    shard_of,
    tenant_of_item,
)
from services.tenancy.store.port import Key, Query
from services.tenancy.store.tables import Table

SCOPE, PLATFORM = TenantScope("acme"), PlatformScope()
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
TENANT = re.compile(r"[a-z][a-z0-9-]{2,62}")


def of_tenant(scope: TenantScope) -> Iterator[str]:
    """Give the partition of every key, query and index place of a tenant."""
    keys: list[Key | Query | IndexKeys] = [
        scope.tenant_key(),
        scope.quota(),
        scope.idempotency("r#1"),
        scope.requests(),
        scope.service_credential("c"),
        scope.service_credentials(),
        scope.provider("p"),
        scope.provider_guard("aws", "name"),
        scope.providers(),
        scope.account("a"),
        scope.account_guard("aws", "123"),
        scope.accounts(),
        scope.by_provider("p", "ACTIVE", "a"),
        scope.accounts_of_provider("p", "ACTIVE"),
        scope.schedule("s"),
        scope.schedules(),
        scope.schedule_by_account("a", "s"),
        scope.schedules_of_account("a"),
        scope.execution("s", 60),
        scope.manual_execution("s", "t"),
        scope.executions_of_schedule("s"),
        scope.manual_executions_of_schedule("s"),
        scope.execution_indexes("a", 60, 60_000_000, "e"),
        scope.executions_of_account("a", 1, 2),
        scope.executions_of_month("202611"),
        scope.scan_result("a", 60_000_000, "e"),
        scope.latest_scan_result("a"),
        scope.scan_results_of_account("a"),
        scope.scan_result_indexes("e", 0, 60_000_000),
        scope.scan_results_of_execution("e"),
        scope.scan_results_of_month("202611"),
    ]
    for each in keys:
        if isinstance(each, Key | Query):
            yield each.pk
        else:
            yield from (str(value) for name, value in each.items() if name.endswith("_pk"))


def test_every_partition_of_a_tenant_is_called_after_it() -> None:
    for pk in of_tenant(SCOPE):
        assert pk == "acme" or pk.startswith("acme#")


def test_no_partition_of_the_platform_could_be_a_tenants() -> None:
    places = [
        PLATFORM.tenant_guard("name").pk,
        PLATFORM.tenants("ACTIVE").pk,
        PLATFORM.signing_keys().pk,
        PLATFORM.sharding().pk,
        PLATFORM.upkeep("job").pk,
        PLATFORM.upkeep_jobs().pk,
        PLATFORM.due(0, 1).pk,
        PLATFORM.visible(0, 1).pk,
        *(str(value) for value in PLATFORM.by_status("ACTIVE", 1, "acme").values()),
        *(str(value) for value in PLATFORM.due_place(1, 1, "s").values()),
        *(str(value) for value in PLATFORM.lease_place(1, 1, "e").values()),
    ]
    for pk in places:
        assert not TENANT.fullmatch(pk.partition("#")[0])


@pytest.mark.parametrize(
    "name", ["", "ab", "Acme", "1acme", "acme#quota", "acme*", "a" * 64, "é" * 5]
)
def test_what_is_no_tenant(name: str) -> None:
    with pytest.raises(KeyInvalid):
        TenantScope(name)


@pytest.mark.parametrize("part", ["", "a#b", "a~", "a\n", "x" * 600])
def test_no_part_reaches_into_another(part: str) -> None:
    for build in (
        SCOPE.provider,
        SCOPE.account,
        SCOPE.schedule,
        SCOPE.schedules_of_account,
        PLATFORM.account,
        lambda each: SCOPE.execution(each, 1),
        lambda each: SCOPE.manual_execution("s", each),
        lambda each: SCOPE.by_provider("p", each, "a"),
    ):
        with pytest.raises(KeyInvalid):
            build(part)


@given(IDS, st.integers(0, 9_999_999_999))
def test_an_execution_is_found_by_its_id(schedule: str, fire: int) -> None:
    for key in (SCOPE.execution(schedule, fire), SCOPE.manual_execution(schedule, schedule)):
        execution = execution_id(key)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", execution)
        assert SCOPE.execution_of(execution) == key
        assert TenantScope("other").execution_of(execution) is None


@given(st.text(max_size=60))
def test_what_is_no_id_of_an_execution(execution: str) -> None:
    assert SCOPE.execution_of(execution) is None


def test_ids_that_only_look_like_one() -> None:
    real = execution_id(SCOPE.execution("s1", 60))
    assert SCOPE.execution_of(real + "=") is None
    assert SCOPE.execution_of(real + "A") is None
    for key in (
        Key(Table.EXECUTIONS, "acme#s1", "LATEST"),
        Key(Table.EXECUTIONS, "acme#s1#x", "F#0000000060"),
        Key(Table.EXECUTIONS, "acme", "F#0000000060"),
    ):
        assert SCOPE.execution_of(execution_id(key)) is None


@given(st.integers(0, 10**10 - 1), st.integers(0, 10**10 - 1))
def test_moments_sort_as_their_texts(one: int, other: int) -> None:
    first, second = SCOPE.execution("s", one).sk, SCOPE.execution("s", other).sk
    assert (first < second) == (one < other)


def test_moments_outside_what_keys_hold() -> None:
    for moment in (-1, 10**10):
        with pytest.raises(KeyInvalid):
            SCOPE.execution("s", moment)


def test_what_is_due_ends_with_the_second() -> None:
    place = PLATFORM.due_place(3, 1_800_000_000, "zzz")
    query = PLATFORM.due(3, 1_800_000_000)
    assert query.pk == place["due_pk"] == "D#03"
    assert str(place["due_sk"]) <= query.sk.text  # type: ignore[union-attr]  # an UpTo
    later = PLATFORM.due_place(3, 1_800_000_001, "000")
    assert str(later["due_sk"]) > query.sk.text  # type: ignore[union-attr]  # an UpTo


def test_names_are_compared_as_people_read_them() -> None:
    assert folded("  Straße  Ⅷ ") == folded("STRASSE viii")
    assert folded("ﬁrm") == folded("FIRM")
    assert folded("a") != folded("b")
    assert len(folded("€" * 500).encode()) <= 512
    assert folded("€" * 500) != folded("€" * 499)


def test_months_and_shards_are_the_same_everywhere() -> None:
    assert month_of(1_798_761_599_999_999) == "202612"
    assert month_of(1_798_761_600_000_000) == "202701"
    assert [shard_of(each, 16) for each in ("s1", "s2", "s3")] == [0, 10, 12]


def test_items_of_indexes_lead_to_their_tenant() -> None:
    item = {"pk": "acme#s1", "sk": "F#0000000060", "lease_pk": "L#01"}
    assert tenant_of_item(item) == "acme"
    assert key_of(Table.EXECUTIONS, dict(item)) == SCOPE.execution("s1", 60)


def modules() -> Iterator[tuple[str, ast.Module]]:
    folder = Path(services.tenancy.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        yield str(path.relative_to(folder)), ast.parse(path.read_text())


def called(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            function = node.func
            yield (
                function.attr
                if isinstance(function, ast.Attribute)
                else getattr(function, "id", "")
            )


def test_keys_are_built_in_one_place_and_nothing_scans() -> None:
    store = Path("store")
    builders = ("keys.py", "platform_keys.py", "dynamodb.py", "port.py")
    allowed = {str(store / name) for name in builders}
    for name, module in modules():
        calls = set(called(module))
        assert not {"scan", "execute_statement", "batch_write_item"} & calls, name
        if name not in allowed:
            assert "Query" not in calls, name
