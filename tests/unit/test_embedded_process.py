"""Children come up, say why they do not, and never outlive their parent."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.embedded.process import Child, ChildFailed, Reaper

SERVE = """
import signal, sys, time
print('LISTENING {"address": "127.0.0.1:1"}', flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed child of a dead parent may linger as a zombie of this process's group.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while alive(pid):
            await asyncio.sleep(0.02)


@pytest.fixture
async def reaper() -> AsyncIterator[Reaper]:
    reaper = Reaper()
    await reaper.start()
    yield reaper
    await reaper.stop()


def child(code: str, folder: Path) -> Child:
    return Child("toy", [sys.executable, "-c", code], dict(os.environ), folder / "toy.log")


async def test_a_child_tells_where_it_listens_and_stops(reaper: Reaper, tmp_path: Path) -> None:
    toy = child(SERVE, tmp_path)
    await toy.start(reaper)
    assert await toy.listening() == {"address": "127.0.0.1:1"}
    pid = toy.pid
    await toy.stop(reaper)
    assert not alive(pid)
    assert toy.log.stat().st_mode & 0o777 == 0o600


async def test_a_child_that_dies_early_is_reported_with_its_words(
    reaper: Reaper, tmp_path: Path
) -> None:
    toy = child("raise SystemExit('the port is taken')", tmp_path)
    await toy.start(reaper)
    with pytest.raises(ChildFailed, match="the port is taken"):
        await toy.listening()
    await toy.stop(reaper)


async def test_a_child_that_ignores_terminate_is_killed(
    reaper: Reaper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.embedded.process.STOP_SECONDS", 0.2)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE
    toy = child(stubborn, tmp_path)
    await toy.start(reaper)
    await toy.listening()
    await toy.stop(reaper)
    assert await toy.ended() == -signal.SIGKILL


async def test_children_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    parent_code = textwrap.dedent(
        f"""
        import asyncio, os, pathlib, sys
        from mesh.embedded.process import Child, Reaper

        async def main():
            reaper = Reaper()
            await reaper.start()
            toy = Child("toy", [sys.executable, "-c", {SERVE!r}], dict(os.environ),
                        pathlib.Path({str(tmp_path / "toy.log")!r}))
            await toy.start(reaper)
            await toy.listening()
            print(toy.pid, flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
        """
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent_code, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    await parent.wait()
    await gone(pid)
