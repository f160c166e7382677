"""What a tenant costs: by hand, against figures of the design, and in general."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tenancy.cost import aws_figures as aws
from services.tenancy.cost.estimate import HISTORY_DAYS, Line, Workload, lines
from services.tenancy.scheduling import executions

WORKLOADS = st.builds(
    Workload,
    accounts=st.integers(0, 1_000_000),
    secrets=st.integers(0, 1_000_000),
    runs_per_day=st.floats(0, 288),
    shards=st.integers(1, 100),
)


def costs(workload: Workload) -> dict[tuple[str, bool], Line]:
    return {(each.price.item, each.shared): each for each in lines(workload)}


def own(workload: Workload) -> int:
    return sum(each.micro_usd for each in lines(workload) if not each.shared)


def test_a_large_tenant_by_hand() -> None:
    """100,000 accounts each day, a twentieth of them with a key."""
    found = costs(Workload(100_000, 5_000))
    assert found["secretsmanager.secrets", False].micro_usd == 2_000_000_000
    assert found["dynamodb.writes", False].quantity == 100_000 * 30 * 22
    assert found["dynamodb.writes", False].micro_usd == 41_250_000
    assert found["secretsmanager.calls", False].micro_usd == 750_000
    # A look at 16 shards each second costs $2.592 a month, and there are two queues.
    assert found["dynamodb.reads", True].micro_usd == 5_184_000
    assert found["kms.keys", True].micro_usd == 2_000_000


def test_roles_cost_no_secrets() -> None:
    assert not [item for item, _ in costs(Workload(1_000)) if item.startswith("secretsmanager")]


def test_a_tenant_without_accounts_costs_nothing_of_its_own() -> None:
    assert own(Workload(0, secrets=10)) == 0
    assert {shared for _, shared in costs(Workload(0))} == {True}


@given(WORKLOADS)
def test_costs_are_not_negative_and_rounded_up(workload: Workload) -> None:
    for line in lines(workload):
        exact = line.quantity * line.price.micro_usd_per_million / 1_000_000
        assert 0 <= line.micro_usd < exact + 1.001
        assert line.micro_usd >= exact - 0.001


@given(WORKLOADS, st.integers(0, 1_000))
def test_more_accounts_never_cost_less(workload: Workload, more: int) -> None:
    larger = Workload(
        workload.accounts + more, workload.secrets, workload.runs_per_day, workload.shards
    )
    assert own(larger) >= own(workload)


@given(WORKLOADS)
def test_what_is_shared_does_not_depend_on_the_tenant(workload: Workload) -> None:
    shared = {item: each for (item, is_shared), each in costs(workload).items() if is_shared}
    alone = {item: each for (item, _), each in costs(Workload(0, shards=workload.shards)).items()}
    assert shared == alone


def test_history_is_as_long_as_executions_are_kept() -> None:
    assert HISTORY_DAYS * executions.DAY == executions.HISTORY


@pytest.mark.parametrize(
    "figure",
    [each for each in vars(aws).values() if isinstance(each, aws.Price | aws.Quota)],
    ids=str,
)
def test_each_figure_says_where_it_is_listed(figure: aws.Price | aws.Quota) -> None:
    assert figure.source.startswith(("https://aws.amazon.com/", "https://docs.aws.amazon.com/"))
