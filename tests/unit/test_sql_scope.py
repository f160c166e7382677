"""Statements are written in store modules alone, where each begins from a tenant's rows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATEMENTS = frozenset({"select", "insert", "update", "delete", "text"})
CONNECTION_CALLS = frozenset({"exec_driver_sql", "executescript"})


def is_store(path: Path) -> bool:
    """Tell whether a module may hold statements: mesh.sql, stores and migrations of services.

    mesh.cel too: what it selects from is the JSON of one row, never a table.
    """
    parts = path.relative_to(ROOT).parts
    if parts[:2] in (("mesh", "sql"), ("mesh", "cel")):
        return True
    if parts[0] == "services" and "migrations" in parts:
        return True
    return path.stem == "store" or path.stem.endswith(("_store", "repository"))


def statements(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find calls of SQLAlchemy's own statement makers, by module or by imported name."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
        for alias in node.names
        if alias.name in STATEMENTS
    }
    modules = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.partition(".")[0] == "sqlalchemy"
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or _reads_nothing(node):
            continue
        match node.func:
            case ast.Name(id=name) if name in imported:
                yield node.lineno, name
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (
                module in modules and name in STATEMENTS
            ):
                yield node.lineno, f"{module}.{name}"
            case ast.Attribute(attr=name) if name in CONNECTION_CALLS:
                yield node.lineno, name


def _reads_nothing(call: ast.Call) -> bool:
    """Tell whether a call selects numbers alone, as a probe of the database does."""
    return bool(call.args) and all(
        isinstance(argument, ast.Constant) and isinstance(argument.value, int)
        for argument in call.args
    )


def sources() -> list[Path]:
    folders = ("mesh", "services", "gateway", "cli")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_statements_are_in_store_modules() -> None:
    outside = [path for path in sources() if not is_store(path)]
    assert len(outside) > 10
    found = [
        f"{path.relative_to(ROOT)}:{line}: {call}"
        for path in outside
        for line, call in statements(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import sqlalchemy as sa\nsa.select(table)",
        "import sqlalchemy\nsqlalchemy.delete(table)",
        "from sqlalchemy import select\nselect(table)",
        "from sqlalchemy import text as raw\nraw('SELECT 1')",
        "connection.exec_driver_sql('SELECT 1')",
    ],
)
def test_each_way_to_write_a_statement_is_seen(source: str) -> None:
    assert len(list(statements(ast.parse(source)))) == 1


def test_other_calls_of_the_same_name_are_no_statements() -> None:
    source = (
        "import sqlalchemy as sa\nstore.select('iam_users', tenant)\nsa.literal(1)\nsa.select(1)\n"
    )
    assert list(statements(ast.parse(source))) == []
