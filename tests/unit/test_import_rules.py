"""The shared runtime knows no deployable, and deployables know each other by stubs only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYABLES = sorted(
    [f"services.{folder.parent.name}" for folder in ROOT.glob("services/*/__init__.py")]
    + ["gateway", "cli"]
)


def imported(folder: Path) -> list[tuple[str, str]]:
    """Give (file, module) of every import under a folder, those inside functions too."""
    found = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [(str(path), alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append((str(path), "." * node.level + (node.module or "")))
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
