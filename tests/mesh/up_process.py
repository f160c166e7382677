"""A `secmesh up` in a process of its own, as a user has it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SECMESH = Path(sys.executable).parent / "secmesh"
START_SECONDS = 90
STOP_SECONDS = 40
RETRY_SECONDS = 20


@dataclass
class Up:
    """A running `secmesh up`."""

    process: subprocess.Popen[str]
    home: Path
    ready: dict[str, Any]
    said: str
    """What it wrote on standard error up to READY."""

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SECMESH, *arguments],
            env={**os.environ, "SECMESH_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )

    def get(self, path: str) -> httpx.Response:
        """Ask, again for some seconds while a machine with other work answers too late."""
        return self.call_rest("GET", path)

    def call_rest(self, verb: str, path: str, body: Any = None) -> httpx.Response:
        token = Path(self.ready["token_file"]).read_text()
        headers = {"authorization": f"Bearer {token}"}
        url = self.ready["gateway"] + path
        until = time.monotonic() + RETRY_SECONDS
        while True:
            answer = httpx.request(
                verb, url, headers=headers, json=body, trust_env=False, timeout=30
            )
            if answer.status_code not in (503, 504) or time.monotonic() > until:
                return answer
            time.sleep(0.2)

    def children(self) -> dict[str, int]:
        """Process ids of the children by what they run."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
                command = (stat.parent / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if parent == self.process.pid:
                found[command] = int(stat.parent.name)
        return found


def environment(home: Path, **settings: str) -> dict[str, str]:
    ports = {f"SECMESH_{name}_PORT": "0" for name in ("GATEWAY", "INVENTORY", "TENANCY")}
    return {**os.environ, "SECMESH_HOME": str(home), **ports, **settings}


@contextmanager
def running(home: Path, **settings: str) -> Iterator[Up]:
    log = home.parent / "said.txt"
    with log.open("w") as said:
        process = subprocess.Popen(
            [SECMESH, "up"],
            env=environment(home, **settings),
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("READY "), f"{line!r}, {log.read_text()}"
        yield Up(process, home, json.loads(line.removeprefix("READY ")), log.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()


@contextmanager
def user_folder() -> Iterator[Path]:
    """A folder of its own: at its start, any pytest closes its folders to PostgreSQL's user."""
    with tempfile.TemporaryDirectory(prefix="secmesh-up-") as folder:
        yield Path(folder)


def refused(home: Path, **settings: str) -> str:
    """Run `up` where it cannot start; give what it says in one line."""
    done = subprocess.run(
        [SECMESH, "up"],
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
