"""Many accounts and regions are read within a share of each quota, and through a kill."""

from pathlib import Path

import pytest

from tests.service.many_accounts import REGIONS, account_ids, many_accounts
from tests.service.many_accounts_story import QUOTA, check, collect


@pytest.mark.timeout(600)
def test_many_accounts_are_read_within_their_share_and_through_a_kill(tmp_path: Path) -> None:
    accounts, regions = account_ids(6), REGIONS[:3]
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    calm.mkdir()
    rough.mkdir()
    with many_accounts() as site:
        expected = collect(calm, site, accounts, regions, kill=0)
    with many_accounts(latency=0.01, quota=QUOTA) as site:
        # Half of the runs wait for their turn when the process is killed.
        found = collect(rough, site, accounts, regions, kill=0.2, runs_at_a_time=4)
        assert site.throttles
        check(expected, found, site)
    assert found.done_before
    assert sum(each.progress.throttles for each in found.runs.values())
