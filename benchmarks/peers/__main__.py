"""Ours and Prowler on one account: calls, CPU, memory, time, and verdicts that are wrong.

Run with ``make bench-peers``. Both read the same embedded endpoint, first undisturbed, then with
reads denied, then throttled. A verdict of a disturbed run is wrong if it differs from the same
tool's undisturbed one, or is gone and not reported as unread (``verdicts.py``). Exits with 2 if the
peer did not run, with 1 if a verdict of ours is wrong or our undisturbed run did not see all.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from benchmarks.account.population import populate
from benchmarks.account.processes import REGION
from benchmarks.peers import ours, prowler
from benchmarks.peers.environment import PEER, VERSION, PeerMissing, peer
from benchmarks.peers.run import Run
from benchmarks.peers.verdicts import Difference, compare
from cli.sample.account import ANSWERS
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_canned_files import put_files
from mesh.embedded.aws_faults import Faults

DENIED = (
    "dynamodb:DescribeContinuousBackups",
    "ec2:DescribeSecurityGroups",
    "iam:GetAccountPasswordPolicy",
    "iam:GetCredentialReport",
    "iam:ListMFADevices",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "s3:GetBucketEncryption",
    "s3:GetBucketPolicy",
    "s3:GetPublicAccessBlock",
)
"""Reads that an audit role often lacks; both tools know each of them."""
RATE = 20
"""Calls a second that the throttled endpoint answers, of all services together."""
UNDISTURBED = "undisturbed"
Runs = Mapping[str, Run]
"""By condition."""


@dataclass(frozen=True)
class Tools:
    """The runs of both."""

    ours: Runs
    theirs: Runs


def counterparts() -> dict[str, str | None]:
    """Give the peer's check for each of ours; None where it has none."""
    text = (files(__package__) / "counterparts.yaml").read_text(encoding="utf-8")
    found: dict[str, str | None] = yaml.safe_load(text)
    return found


async def measure(program: Path, rate: int) -> Tools:
    """Run both tools under each condition, one after the other."""
    endpoint = AwsEndpoint(Faults())
    await asyncio.to_thread(endpoint.start)
    # The peer asks for operations that moto lacks; a trace of each would bury the tables.
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    checks = {each for each in counterparts().values() if each}
    conditions: dict[str, Callable[[], None]] = {
        UNDISTURBED: lambda: None,
        f"{len(DENIED)} reads denied": lambda: endpoint.faults.deny(*DENIED),
        f"{rate} calls a second": lambda: endpoint.faults.limit(rate),
    }
    runs, peers = {}, {}
    try:
        put_files(endpoint.canned, ANSWERS)
        await asyncio.to_thread(populate, endpoint.url, REGION)
        for condition, disturb in conditions.items():
            print(f"{condition} ...", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                endpoint.faults.clear()
                disturb()
                runs[condition] = await ours.scan(endpoint, Path(folder))
            with tempfile.TemporaryDirectory() as folder:
                endpoint.faults.clear()
                disturb()
                peers[condition] = await prowler.scan(program, checks, endpoint, Path(folder))
    finally:
        await asyncio.to_thread(endpoint.stop)
    return Tools(runs, peers)


def costs(tools: Tools) -> list[str]:
    """Write what each run took, and the peer's share of it."""
    lines = [f"{'':22}{'':10}{'calls':>8}{'CPU s':>8}{'MiB':>8}{'wall s':>8}"]
    for condition, run in tools.ours.items():
        other = tools.theirs[condition]
        own, peers = _spent(run), _spent(other)
        for label, values in (
            ("ours", own),
            (PEER, peers),
            ("ratio", [a / b for a, b in zip(own, peers, strict=True)]),
        ):
            digits = 2 if label == "ratio" else 0
            cells = "".join(f"{value:8.{digits}f}" for value in values)
            lines.append(f"{condition if label == 'ours' else '':22}{label:10}{cells}")
    return lines


def _spent(run: Run) -> list[float]:
    return [run.calls, run.cpu_seconds, run.peak_megabytes, run.wall_seconds]


def differences(runs: Runs) -> dict[str, Difference]:
    """Hold the disturbed runs of one tool against its undisturbed one."""
    truth = runs[UNDISTURBED].verdicts
    return {
        condition: compare(truth, run.verdicts, run.incomplete)
        for condition, run in runs.items()
        if condition != UNDISTURBED
    }


def wrongs(tools: Tools) -> list[str]:
    """Write how many verdicts of each disturbed run are wrong, and how."""
    names = ("right", "unread", "WRONG", "false FAIL", "false PASS", "vanished", "invented")
    lines = [f"{'':22}{'':10}" + "".join(f"{name:>11}" for name in names)]
    own, peers = differences(tools.ours), differences(tools.theirs)
    for condition, difference in own.items():
        for label, each in (("ours", difference), (PEER, peers[condition])):
            counts = (
                *(each.right, each.unread, each.wrong),
                *(each.false_fail, each.false_pass, each.vanished, each.invented),
            )
            cells = "".join(f"{count:11}" for count in counts)
            lines.append(f"{condition if label == 'ours' else '':22}{label:10}{cells}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rate", type=int, default=RATE, help="of the throttled endpoint")
    rate = parser.parse_args(argv).rate
    try:
        tools = asyncio.run(measure(peer(), rate))
    except PeerMissing as missing:
        print(f"{PEER} {VERSION} did not run: {missing}", file=sys.stderr)
        return 2
    own, peers = (len(runs[UNDISTURBED].verdicts) for runs in (tools.ours, tools.theirs))
    checks = counterparts()
    print(f"\n{own} verdicts of ours by {len(checks)} checks, {peers} of {PEER} {VERSION}'s")
    print("\n".join([*costs(tools), "", *wrongs(tools)]))
    whole = not tools.ours[UNDISTURBED].incomplete
    wrong = any(each.wrong for each in differences(tools.ours).values())
    return 0 if whole and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
