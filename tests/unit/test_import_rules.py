"""The shared runtime knows no deployable, and deployables know each other by stubs only."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYABLES = sorted(
    [f"services.{folder.parent.name}" for folder in ROOT.glob("services/*/__init__.py")]
    + ["gateway", "cli"]
)


def imported(folder: Path) -> list[tuple[str, str]]:
    """Give (file, module) of every import under a folder, those inside functions too."""
    return [(str(path), module) for path in folder.rglob("*.py") for module in modules_of(path)]


@cache
def modules_of(path: Path) -> list[str]:
    """Give the module of every import of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append("." * node.level + (node.module or ""))
    return found


def test_there_is_something_to_check() -> None:
    assert "services.inventory" in DEPLOYABLES
    assert any(module.startswith("secmesh.") for _, module in imported(ROOT / "services"))


def test_mesh_imports_no_deployable() -> None:
    wrong = [
        (path, module)
        for path, module in imported(ROOT / "mesh")
        if module.split(".")[0] in {"services", "gateway", "cli"}
    ]
    assert not wrong


@pytest.mark.parametrize("deployable", DEPLOYABLES)
def test_a_deployable_imports_no_other(deployable: str) -> None:
    others = [other for other in DEPLOYABLES if other != deployable]
    wrong = [
        (path, module)
        for path, module in imported(ROOT / deployable.replace(".", "/"))
        if any(module == other or module.startswith(f"{other}.") for other in others)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("program", "spared"),
    [
        ("cli.app", {"httpx", "jwt", "pydantic"}),
        ("services.security.__main__", {"httpx", "rich"}),
    ],
)
def test_what_few_calls_need_is_not_loaded_at_the_start(program: str, spared: set[str]) -> None:
    told = f"import sys, {program}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert program in loaded
    assert not spared & loaded


def test_imports_are_absolute() -> None:
    relative = [
        entry
        for folder in ("secmesh_client", "mesh", "services", "gateway", "cli")
        for entry in imported(ROOT / folder)
        if entry[1].startswith(".")
    ]
    assert not relative


def test_the_client_stands_alone() -> None:
    wrong = [
        (path, module)
        for path, module in imported(ROOT / "secmesh_client")
        if module.split(".")[0] in {"mesh", "services", "gateway", "cli"}
    ]
    assert not wrong


def test_other_packages_use_what_the_client_names() -> None:
    """What is not in __all__ may change; mesh alone is built on the inside."""
    wrong = [
        (path, module)
        for folder in ("services", "gateway", "cli")
        for path, module in imported(ROOT / folder)
        if module.startswith("secmesh_client.") and module != "secmesh_client.aio"
    ]
    assert not wrong


def test_commands_that_call_a_mesh_import_nothing_else_of_it() -> None:
    # These run a mesh, or keep its keys, on this machine.
    here = [ROOT / "cli" / name for name in ("embedded", "sample", "token.py", "keys.py")]
    wrong = [
        (path, module)
        for path, module in imported(ROOT / "cli")
        if module.split(".")[0] == "mesh"
        and not any(Path(path).is_relative_to(folder) for folder in here)
    ]
    assert not wrong
