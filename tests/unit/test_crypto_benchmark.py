"""The benchmark of the crypto service: its goal follows the core's speed, its peers must run."""

import pytest

from benchmarks import crypto
from benchmarks.peers.environment import PeerMissing


def measured(ours: float, pace: float) -> crypto.Measured:
    rates = {"tier 2 through gRPC": ours, crypto.PACE: pace}
    return {
        (who, operation): crypto.Best(1 / rate)
        for who, rate in rates.items()
        for operation in crypto.OPERATIONS
    }


@pytest.mark.parametrize(
    ("ours", "pace", "reached"),
    [
        (50_001, crypto.QUIET, True),
        (49_999, crypto.QUIET, False),
        (25_001, crypto.QUIET / 2, True),
        (24_999, crypto.QUIET / 2, False),
        (60_000, crypto.QUIET * 2, False),
    ],
)
def test_a_core_of_half_the_speed_is_asked_for_half(
    ours: float, pace: float, reached: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crypto.reached(measured(ours, pace)) is reached
    assert f"{ours:,} are reached" in capsys.readouterr().out


def test_the_slower_operation_counts(capsys: pytest.CaptureFixture[str]) -> None:
    best = measured(60_000, crypto.QUIET)
    best["tier 2 through gRPC", "decrypt"] = crypto.Best(1 / 40_000)
    assert not crypto.reached(best)
    assert "40,000 are reached" in capsys.readouterr().out


def test_the_best_turn_counts_for_each_process() -> None:
    best = crypto.Best()
    best.took(1000, 0.02, 0.001)
    best.took(1000, 0.01, 0.002)
    assert best.rate == pytest.approx(100_000)
    assert best.database == pytest.approx(1e-6)


async def test_a_peer_that_did_not_run_is_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object) -> None:
        raise PeerMissing("the index does not answer")

    monkeypatch.setattr("benchmarks.sealing.peers.installed", missing)
    assert await crypto.main(1, None) == 2
    assert "a peer did not run: the index does not answer" in capsys.readouterr().err
