"""The distribution secmesh-client, built, installed alone, and used against a real server."""

import asyncio
import json
import os
import re
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2

from mesh.errors import DependencyUnavailable
from secmesh.inventory.v1 import record_pb2, record_service_pb2, sync_pb2, sync_service_pb2
from tests.service.server_fixtures import SYNC, running

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("client_script.py")
OURS = {"buf", "secmesh", "secmesh_client"}
pytestmark = pytest.mark.timeout(300)


def build(project: Path, kind: str, out: Path) -> Path:
    """Build a wheel or an sdist by the project's own backend (PEP 517), without a network."""
    code = f"import sys, hatchling.build as b; print(b.build_{kind}(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(out)]
    done = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    return out / done.stdout.splitlines()[-1]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT / "client", "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and of this one's packages all but the project."""
    home = tmp_path_factory.mktemp("user")
    venv.create(home, with_pip=False, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(packages)  # noqa: S202  # built above
    # A folder named by a .pth is searched, but .pth files within it, as of an editable install,
    # are not read.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    return home / "bin" / "python"


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(python), *arguments],
        cwd=cwd,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_wheel_holds_the_client_its_stubs_and_no_server(wheel: Path) -> None:
    found = contents(wheel)
    top = {name.split("/")[0] for name in found}
    assert top == {*OURS, "secmesh_client-0.1.0.dist-info"}
    for package in OURS:
        assert f"{package}/py.typed" in found
    assert "secmesh/image.binpb" in found
    assert "secmesh/inventory/v1/sync_service_pb2_grpc.pyi" in found
    metadata = found["secmesh_client-0.1.0.dist-info/METADATA"].decode()
    needed = re.findall(r"^Requires-Dist: ([a-z-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert sorted(needed) == ["googleapis-common-protos", "grpcio", "protobuf"]
    licence = found["secmesh_client-0.1.0.dist-info/licenses/LICENSE"]
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_an_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build(ROOT / "client", "sdist", tmp_path)) as opened:
        opened.extractall(tmp_path, filter="data")
    again = build(tmp_path / "secmesh_client-0.1.0", "wheel", tmp_path)
    first, second = contents(wheel), contents(again)
    # protoc orders the image's imports alike, but their paths differ: names must be equal.
    assert first.keys() == second.keys()
    code = [name for name in first if name.endswith((".py", ".pyi"))]
    assert all(first[name] == second[name] for name in code)


def test_the_server_needs_this_very_client_and_holds_none_of_its_files(
    wheel: Path, tmp_path: Path
) -> None:
    projects: list[dict[str, Any]] = [
        tomllib.loads((ROOT / path).read_text())["project"]
        for path in ("pyproject.toml", "client/pyproject.toml")
    ]
    server, client = projects
    assert server["version"] == client["version"]
    assert f"secmesh-client=={client['version']}" in server["dependencies"]
    held = contents(build(ROOT, "wheel", tmp_path))
    assert not held.keys() & contents(wheel).keys()
    assert {name.split("/")[0] for name in held} >= {"mesh", "services", "gateway", "cli"}


def behave(started: Any) -> None:
    """Two pages of users, and a run whose watch breaks in the middle."""
    names = [f"tenants/acme/iam_users/u{number}" for number in range(3)]
    page = record_service_pb2.ListRecordsResponse

    async def listed(request: Any, _context: Any) -> Any:
        if request.page_token == "second":
            return page(records=[record_pb2.Record(name=names[2])])
        return page(
            records=[record_pb2.Record(name=name) for name in names[:2]], next_page_token="second"
        )

    calls = []

    async def watched(_request: Any, _context: Any) -> Any:
        calls.append(1)
        yield sync_service_pb2.WatchSyncResponse(sync=sync_pb2.Sync(name=SYNC))
        if len(calls) % 2:
            raise DependencyUnavailable("store", retry_after_seconds=0)
        yield sync_service_pb2.WatchSyncResponse(ended=status_pb2.Status(code=code_pb2.OK))

    started.records.list_records, started.syncs.watch = listed, watched


async def test_the_installed_client_calls_a_server(python: Path, tmp_path: Path) -> None:
    async with running(tmp_path / "server") as started:
        behave(started)
        token = tmp_path / "token"
        token.write_text(started.token() + "\n")
        done = await asyncio.to_thread(
            run, python, str(SCRIPT), started.address, str(token), cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["server_code"] == []
    expected = {
        "records": [f"tenants/acme/iam_users/u{number}" for number in range(3)],
        "pages": [2, 1],
        "error": ["INVALID_ARGUMENT", "FIELD_INVALID", "name"],
        "watched": [SYNC],
    }
    assert told["blocking"] == told["asynchronous"] == expected


def test_a_strict_type_checker_passes_a_users_program(python: Path, tmp_path: Path) -> None:
    """mypy of this environment reads the types of that one, where only the wheel has ours."""
    program = tmp_path / "program.py"
    text = SCRIPT.read_text()
    program.write_text(text)
    options = ["--strict", "--python-executable", str(python), "--config-file", os.devnull]
    checker = ["-m", "mypy", *options, "--cache-dir", str(tmp_path / "cache")]
    done = run(Path(sys.executable), *checker, str(program), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for document in ("docs/CLIENT.md", "client/README.md"):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
        assert blocks
        for block in blocks:
            program.write_text(block)
            done = run(Path(sys.executable), *checker, str(program), cwd=tmp_path)
            assert done.returncode == 0, (document, done.stdout)
    wrong = text.replace("list[Record] = list(items", "list[int] = list(items")
    assert wrong != text
    program.write_text(wrong)
    done = run(Path(sys.executable), *checker, str(program), cwd=tmp_path)
    assert done.returncode == 1
    assert 'Argument 3 to "items" has incompatible type' in done.stdout
