"""What is derived from a contract alone, made once for each process of the tests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.contract.catalogue import Catalogue
from mesh.sealing.keyring import KeyRing
from mesh.sql.migration_history import contract_digest
from mesh.sql.tables import Tables

_TABLES: dict[tuple[str, bool], tuple[Catalogue, Tables]] = {}
_DIGESTS: dict[tuple[int, str], str] = {}


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
            ("mesh.sql.schema.contract_digest", digest_of),
            ("mesh.sql.migration.contract_digest", digest_of),
        ):
            patch.setattr(place, made)
        yield
