"""The comparison with a peer: what counts as wrong, and that a missing peer is told loudly."""

import sys
from pathlib import Path

import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers.environment import PeerMissing, peer
from benchmarks.peers.prowler import verdicts
from benchmarks.peers.verdicts import Difference, Question, Status, compare
from mesh.contract.catalogue import load_catalogue
from services.inventory.compliance.check_catalogue import load_checks

REQUIREMENT = "prowler==5.46.0"


def asked(subject: str, check: str = "s3.encryption") -> Question:
    return Question(check, subject)


TRUTH = {
    asked("good"): Status.PASS,
    asked("bad"): Status.FAIL,
    asked("unknown"): Status.UNREAD,
}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (TRUTH, Difference(right=2)),
        ({asked("good"): Status.FAIL, asked("bad"): Status.FAIL}, Difference(1, false_fail=1)),
        ({asked("good"): Status.PASS, asked("bad"): Status.PASS}, Difference(1, false_pass=1)),
        ({asked("good"): Status.UNREAD, asked("bad"): Status.FAIL}, Difference(1, unread=1)),
        ({asked("bad"): Status.FAIL}, Difference(1, vanished=1)),
        (TRUTH | {asked("new"): Status.PASS}, Difference(2, invented=1)),
        (TRUTH | {asked("new"): Status.UNREAD}, Difference(2)),
    ],
)
def test_a_verdict_is_wrong_by_its_difference(
    seen: dict[Question, Status], expected: Difference
) -> None:
    assert compare(TRUTH, seen) == expected
    assert expected.wrong == (
        expected.false_fail + expected.false_pass + expected.vanished + expected.invented
    )


def test_what_a_check_lacks_is_unread_only_if_the_tool_says_so_of_that_check() -> None:
    assert compare(TRUTH, {}, {"s3.encryption"}) == Difference(unread=2)
    assert compare(TRUTH, {}, {"s3.logging"}) == Difference(vanished=2)
    # An incomplete check is no excuse for a verdict that is there and false.
    flipped = {asked("good"): Status.FAIL}
    assert compare(TRUTH, flipped, {"s3.encryption"}).false_fail == 1


def test_of_several_findings_the_worst_counts() -> None:
    def finding(uid: str, status: str) -> dict[str, object]:
        return {
            "metadata": {"event_code": "c"},
            "resources": [{"uid": uid}],
            "status_code": status,
        }

    told = [("a", "PASS"), ("a", "FAIL"), ("b", "PASS"), ("b", "MANUAL"), ("c", "PASS")]
    found = verdicts(finding(uid, status) for uid, status in told)
    assert found == {
        asked("a", "c"): Status.FAIL,
        asked("b", "c"): Status.UNREAD,
        asked("c", "c"): Status.PASS,
    }


def test_every_check_of_ours_has_a_counterpart() -> None:
    checks = load_checks(load_catalogue("secmesh.inventory.v1")).checks
    assert peers.counterparts().keys() == checks.keys()


def installer(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in uv's place."""
    program = folder / "uv"
    program.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{script}")
    program.chmod(0o755)
    monkeypatch.setattr("benchmarks.peers.environment.shutil.which", lambda *_, **__: str(program))


def test_a_failed_installation_says_why_and_is_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer(tmp_path, monkeypatch, "sys.exit('no such version')")
    for _ in range(2):
        with pytest.raises(PeerMissing, match="no such version"):
            peer(tmp_path / "env", REQUIREMENT)


def test_the_environment_is_made_once_for_each_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    installer(
        tmp_path,
        monkeypatch,
        f"log = pathlib.Path({str(log)!r})\n"
        "log.open('a').write(sys.argv[-1] + chr(10))\n"
        "place = pathlib.Path(sys.argv[sys.argv.index('--python') + 1]).parent\n"
        "if sys.argv[1] == 'venv': pathlib.Path(sys.argv[-1], 'bin').mkdir(parents=True)\n"
        "else: (place / 'prowler').touch()\n",
    )
    folder = tmp_path / "env"
    for _ in range(2):
        assert peer(folder, REQUIREMENT) == folder / "bin/prowler"
    assert log.read_text().split() == [str(folder), REQUIREMENT]
    peer(folder, "prowler==5.47.0")
    assert log.read_text().split()[2:] == [str(folder), "prowler==5.47.0"]


def test_a_peer_that_did_not_run_is_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> Path:
        raise PeerMissing("the index does not answer")

    monkeypatch.setattr(peers, "peer", missing)
    assert peers.main([]) == 2
    assert "prowler 5.46.0 did not run: the index does not answer" in capsys.readouterr().err
