"""What is derived from a contract alone, made once for each process of the tests."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import LRUCache

from mesh.contract.catalogue import Catalogue
from mesh.sealing.keyring import KeyRing
from mesh.sql.engine import open_engine
from mesh.sql.migration_history import contract_digest
from mesh.sql.settings import Pool
from mesh.sql.tables import Tables

_TABLES: dict[tuple[str, bool], tuple[Catalogue, Tables]] = {}
_DIGESTS: dict[tuple[int, str], str] = {}


class _Statements(MutableMapping[Any, Compiled]):
    """Statements as they are written for a database, whichever engine asked first.

    An engine's own go with it, and each test has a new one. SQLAlchemy's keys begin with the
    engine's dialect: all of one database write the same.
    """

    def __init__(self) -> None:
        self._kept: MutableMapping[Any, Compiled] = LRUCache(3000)

    def __getitem__(self, key: Any) -> Compiled:
        return self._kept[_of_database(key)]

    def __setitem__(self, key: Any, statement: Compiled) -> None:
        self._kept[_of_database(key)] = statement

    def __delitem__(self, key: Any) -> None:
        del self._kept[_of_database(key)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def _of_database(key: Any) -> Any:
    dialect, *rest = key
    version = getattr(dialect, "server_version_info", None)
    return (dialect.name, dialect.driver, version, *rest)


_STATEMENTS = _Statements()


def engine_of(url: str, pool: Pool | None = None) -> AsyncEngine:
    """Open an engine that writes no statement that another has written."""
    engine = open_engine(url, pool)
    engine.update_execution_options(compiled_cache=_STATEMENTS)
    return engine


def tables_of(
    catalogue: Catalogue, *, isolated: bool = False, keys: KeyRing | None = None
) -> Tables:
    """Give the tables of a catalogue; those with keys are made anew."""
    if keys is not None:
        return Tables(catalogue, isolated=isolated, keys=keys)
    place = catalogue.package, isolated
    kept = _TABLES.get(place)
    if kept is None or kept[0] is not catalogue:
        kept = _TABLES[place] = catalogue, Tables(catalogue, isolated=isolated)
    return kept[1]


def digest_of(
    metadata: sa.MetaData,
    dialect: sa.Dialect,
    made: Mapping[str, tuple[str, ...]] | None = None,
) -> str:
    """Give the digest of a contract's tables."""
    if all(tables.metadata is not metadata for _, tables in _TABLES.values()):
        return contract_digest(metadata, dialect, made)
    place = id(metadata), dialect.name
    if place not in _DIGESTS:
        _DIGESTS[place] = contract_digest(metadata, dialect, made)
    return _DIGESTS[place]


@contextmanager
def derived_once() -> Iterator[None]:
    """Let the stores that services open in this process share what is derived."""
    with pytest.MonkeyPatch.context() as patch:
        made: Any
        for place, made in (
            ("mesh.server.deployable.Tables", tables_of),
            ("mesh.server.deployable.open_engine", engine_of),
            ("mesh.sql.schema.contract_digest", digest_of),
            ("mesh.sql.migration.contract_digest", digest_of),
        ):
            patch.setattr(place, made)
        yield
