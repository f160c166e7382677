"""The store that the inventory service has in a test's folder: a file, or PostgreSQL when chosen.

``pytest --inventory-store postgresql`` runs the tests that have such a store, and those alone.
Tests that take the fixture ``database`` run on both kinds, and then on PostgreSQL alone.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.databases import (
    NEWEST,
    SQLITE,
    inventory_file,
    inventory_template,
    open_sync_engine,
    rename_database,
    server,
)

POSTGRESQL = "postgresql"
OPTION = "--inventory-store"
KINDS = (SQLITE, POSTGRESQL)
FILE_ONLY = "file_only"
"""The marker of a test that is of SQLite's file; its argument says why."""
_FILE = "inventory.db"
_TESTS = "tests."
_VERSION = int(NEWEST.removeprefix(POSTGRESQL))
_chosen = [SQLITE]
_made: dict[Path, str] = {}
"""The databases of the tests that run, by folder."""


def choose(kind: str) -> None:
    """Let every store that is made from now on be of this kind."""
    _chosen[0] = kind


def on_postgresql() -> bool:
    """Tell whether PostgreSQL was chosen."""
    return _chosen[0] == POSTGRESQL


def inventory_store(folder: Path) -> str:
    """Give the URL of a folder's store, which has the tables of the service and no rows at first.

    It is the same whenever it is asked for.
    """
    if not on_postgresql():
        if not (folder / _FILE).exists():
            shutil.copy(inventory_file(), folder / _FILE)
        return f"sqlite:///{folder / _FILE}"
    if folder not in _made:
        _create(folder, inventory_template(_VERSION))
    return server(_VERSION).url(_made[folder])


def store_variables(folder: Path) -> dict[str, str]:
    """Give what a service is told of its store whose home is this folder: nothing of a file there.

    The file it makes itself; a database has the tables, which take a service seconds to make.
    """
    return {"DATABASE_URL": inventory_store(folder)} if on_postgresql() else {}


def copy_store(source: Path, folder: Path) -> None:
    """Give a folder a copy of another's store, which nobody has open."""
    if on_postgresql():
        _create(folder, _made[source])
    else:
        shutil.copy(source / _FILE, folder / _FILE)


@contextmanager
def store_away(folder: Path) -> Iterator[None]:
    """Let nobody find a folder's store, which nobody has open, until the block ends."""
    if not on_postgresql():
        away = (folder / _FILE).rename(folder / f"away.{_FILE}")
        try:
            yield
        finally:
            away.rename(folder / _FILE)
        return
    name = _made[folder]
    away_name = f"away_{uuid4().hex}"
    rename_database(_VERSION, name, away_name)
    try:
        yield
    finally:
        rename_database(_VERSION, away_name, name)


def stored_bytes(folder: Path) -> bytes:
    """Give all that a store holds, as it lies there or as its rows are shown."""
    if not on_postgresql():
        return b"".join(path.read_bytes() for path in folder.glob(f"{_FILE}*"))
    engine = open_sync_engine(inventory_store(folder))
    with engine.connect() as connection:
        rows: list[str] = []
        for table in sa.inspect(connection).get_table_names():
            rows += connection.scalars(sa.text(f'SELECT t::text FROM "{table}" t'))  # noqa: S608
    engine.dispose()
    return "\n".join(rows).encode()


def _create(folder: Path, template: str) -> None:
    name = f"test_{uuid4().hex}"
    server(_VERSION).create_database(name, template)
    _made[folder] = name


@contextmanager
def stores_dropped() -> Iterator[None]:
    """Drop in the end the databases that were made meanwhile; files go with their folders."""
    before = set(_made)
    yield
    for folder in _made.keys() - before:
        server(_VERSION).drop_database(_made.pop(folder))


def keep_those_with_a_store(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that can have such a store, and skip those of them that are of a file."""
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (kept if _reaches(_modules(item)) else others).append(item)
        if (marker := item.get_closest_marker(FILE_ONLY)) is not None:
            item.add_marker(pytest.mark.skip(reason=marker.args[0]))
    config.hook.pytest_deselected(items=others)
    items[:] = kept


def _modules(item: pytest.Item) -> list[ModuleType]:
    """Give the module of a test, and those that its shared fixtures come from."""
    module = item.getparent(pytest.Module)
    assert module is not None
    found = [module.obj]
    for plugin in item.config.pluginmanager.get_plugins():
        if isinstance(plugin, ModuleType) and plugin.__name__.startswith(_TESTS):
            taken = (vars(plugin).get(name) for name in getattr(item, "fixturenames", ()))
            origins = set(map(_origin, taken)) - {plugin.__name__}
            found += (sys.modules[name] for name in origins if name.startswith(_TESTS))
    return found


def _reaches(modules: list[ModuleType]) -> bool:
    """Follow what modules of tests take from each other."""
    seen = set[str]()
    while modules:
        module = modules.pop()
        if module.__name__ == __name__:
            return True
        if module.__name__ in seen:
            continue
        seen.add(module.__name__)
        for value in vars(module).values():
            name = value.__name__ if isinstance(value, ModuleType) else _origin(value)
            if name.startswith(_TESTS):
                modules.append(sys.modules[name])
    return False


def _origin(value: object) -> str:
    found = getattr(value, "__module__", None)
    return found if isinstance(found, str) else ""
