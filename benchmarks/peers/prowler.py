"""Prowler over an endpoint, as its user would run it: one process, findings as OCSF."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.account.processes import CREDENTIALS, REGION
from benchmarks.peers.environment import PeerMissing
from benchmarks.peers.run import Run
from benchmarks.peers.verdicts import Question, Status
from mesh.embedded.aws import AwsEndpoint

_EXIT_CODES = {0, 3}
"""3 says that there are failing findings."""
_STATUS = {"PASS": Status.PASS, "FAIL": Status.FAIL, "MANUAL": Status.UNREAD}
_WORST_FIRST = (Status.FAIL, Status.UNREAD, Status.PASS)
_KIBI_IN_MEBI = 1024.0
"""Linux tells ru_maxrss in KiB."""


async def scan(program: Path, checks: Iterable[str], endpoint: AwsEndpoint, folder: Path) -> Run:
    """Run the peer's checks. Raises PeerMissing if it ended otherwise than with findings."""
    return await asyncio.to_thread(_scan, program, sorted(checks), endpoint, folder)


def _scan(program: Path, checks: list[str], endpoint: AwsEndpoint, folder: Path) -> Run:
    written = ["--output-directory", str(folder), "--output-filename", "findings"]
    command = [str(program), "aws", "--checks", *checks, "--region", REGION, *written]
    command += ["--output-formats", "json-ocsf", "--no-banner", "--no-color"]
    environment = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": endpoint.url,
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
    }
    before, began = endpoint.faults.calls.total(), time.monotonic()
    log = folder / "prowler.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    findings = folder / "findings.ocsf.json"
    if process.returncode not in _EXIT_CODES or not findings.is_file():
        said = log.read_text(errors="replace").strip()[-2000:]
        raise PeerMissing(f"it ended with {process.returncode}:\n{said}")
    found = verdicts(json.loads(findings.read_bytes()))
    if not found:
        raise PeerMissing("it ended without a finding")
    return Run(
        verdicts=found,
        calls=endpoint.faults.calls.total() - before,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_megabytes=used.ru_maxrss / _KIBI_IN_MEBI,
        wall_seconds=wall,
    )


def verdicts(findings: Iterable[dict[str, Any]]) -> dict[Question, Status]:
    """Read findings of OCSF; of several on one resource by one check, the worst counts."""
    found: dict[Question, Status] = {}
    for finding in findings:
        (resource,) = finding["resources"]
        question = Question(finding["metadata"]["event_code"], resource["uid"])
        status = _STATUS[finding["status_code"]]
        found[question] = min(status, found.get(question, status), key=_WORST_FIRST.index)
    return found
