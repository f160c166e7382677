"""`secmesh up` that cannot go on, or cannot even begin: it says why and leaves nothing."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.up_process import (
    SECMESH,
    STOP_SECONDS,
    environment,
    gone,
    refused,
    running,
    user_folder,
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with user_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def crashed() -> Iterator[Path]:
    """A home whose meshes end badly; the next one starts over what the last one left."""
    with user_folder() as folder:
        yield folder / "home"


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("inventory", "services.inventory"),
        ("postgres", "bin/postgres"),
        ("scheduler", "services.tenancy scheduler"),
    ],
)
def test_a_child_that_dies_ends_the_mesh_and_is_named(
    crashed: Path, name: str, program: str
) -> None:
    with running(crashed, SECMESH_STORY="0") as up:
        children = up.children()
        (dying,) = (pid for command, pid in children.items() if program in command)
        os.kill(dying, signal.SIGKILL)
        assert up.process.wait(STOP_SECONDS) == 1
        said = (crashed.parent / "said.txt").read_text()
        assert f"{name} ended with code -9" in said.replace("\n", " ")
    assert all(gone(pid) for pid in children.values())


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(tmp_path / "home", SECMESH_GATEWAY_PORT=port)
        assert f"port {port} is taken" in said
        assert "SECMESH_GATEWAY_PORT" in said
        said = refused(tmp_path / "home", SECMESH_GATEWAY_PORT="0", SECMESH_TENANCY_PORT=port)
    assert f"port {port} is taken" in said
    assert "SECMESH_TENANCY_PORT" in said


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "signing_key.pem").write_text("no key")
    failed = subprocess.run(
        [SECMESH, "up"], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "holds no usable signing key" in failed.stderr.replace("\n", " ")
    assert "Traceback" not in failed.stderr
