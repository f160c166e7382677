"""Fifty accounts of five regions, with latency, quotas and production beside, through a kill."""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.embedded.postgres import PostgresServer
from tests.service.many_accounts import REGIONS, account_ids, many_accounts
from tests.service.many_accounts_story import QUOTA, Outcome, check, collect

ACCOUNTS = int(os.environ.get("SECMESH_SOAK_ACCOUNTS", "50"))


@pytest.fixture(scope="module")
def calm() -> Iterator[Outcome]:
    """What is found when nothing is late, throttled or killed, whichever the store."""
    with tempfile.TemporaryDirectory(prefix="secmesh-soak-") as folder, many_accounts() as site:
        yield collect(Path(folder), site, account_ids(ACCOUNTS), REGIONS, kill=0)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store; empty for the file that the service makes by itself."""
    if request.param == "sqlite":
        yield ""
        return
    with PostgresServer(tmp_path / "postgres", durable=True) as postgres:
        yield postgres.create_database("many")


def test_many_accounts_are_read_within_their_share_and_through_a_kill(
    calm: Outcome, store_url: str, tmp_path: Path
) -> None:
    with many_accounts(latency=0.03, quota=QUOTA) as site:
        accounts = account_ids(ACCOUNTS)
        found = collect(tmp_path, site, accounts, REGIONS, kill=0.4, database=store_url)
        check(calm, found, site)
        starved = sum(meter.starved for meter in site.meters.values())
        produced = sum(meter.produced for meter in site.meters.values())
        throttled = site.throttles / site.calls
    logging.getLogger(__name__).info(
        "%d calls, %.3f of them throttled, in %.0f s, %.0f s without any; "
        "%d units before the kill; of %d calls of production %d were throttled",
        site.calls,
        throttled,
        found.seconds,
        calm.seconds,
        found.done_before,
        produced,
        starved,
    )
    assert throttled < 0.5
    assert found.done_before
    # Production meets a full quota while the pace is found, and hardly afterwards.
    assert starved < 0.05 * produced
