"""Fifty accounts of five regions, with latency, quotas and production beside, through a kill."""

import logging
from pathlib import Path

from tests.service.many_accounts import REGIONS, account_ids, many_accounts
from tests.service.many_accounts_story import QUOTA, check, collect

ACCOUNTS = 50


def test_fifty_accounts_are_read_within_their_share_and_through_a_kill(tmp_path: Path) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    calm.mkdir()
    rough.mkdir()
    accounts = account_ids(ACCOUNTS)
    with many_accounts() as site:
        expected = collect(calm, site, accounts, REGIONS, kill=0)
    with many_accounts(latency=0.03, quota=QUOTA) as site:
        found = collect(rough, site, accounts, REGIONS, kill=0.4)
        check(expected, found, site)
        starved = sum(meter.starved for meter in site.meters.values())
        produced = sum(meter.produced for meter in site.meters.values())
        throttled = site.throttles / site.calls
    logging.getLogger(__name__).info(
        "%d calls, %.3f of them throttled, in %.0f s; %d units before the kill; "
        "of %d calls of production %d were throttled",
        site.calls,
        throttled,
        found.seconds,
        found.done_before,
        produced,
        starved,
    )
    assert throttled < 0.5
    assert found.done_before
    # Production meets a full quota while the pace is found, and hardly afterwards.
    assert starved < 0.05 * produced
