"""Rows of the sample contract, and stores to keep them in."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh.errors import DependencyUnavailable
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.unit.sql_contract import new, sample_catalogue

KEY = b"k" * 32


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    engine = open_engine(url)
    try:
        yield Store(engine, Tables(sample_catalogue()), page_key=KEY)
    finally:
        await engine.dispose()


def plain(record: str, tenant: str = "acme", **body: Any) -> Any:
    message = new("plains")
    message.name = f"tenants/{tenant}/plains/{record}"
    message.plain.SetInParent()
    for name, value in body.items():
        setattr(message.plain, name, value)
    return message


def vault(seen: int, owner: str, closed: int | None = None) -> Any:
    message = new("vaults")
    message.name = "tenants/acme/vaults/v"
    message.vault.owner = owner
    message.valid_from.seconds = seen
    if closed is not None:
        message.valid_to.seconds = closed
    return message


def boxed(box: str, record: str, tenant: str = "acme") -> Any:
    message = new("everythings")
    message.name = f"tenants/{tenant}/boxes/{box}/everythings/{record}"
    message.an_sfixed32 = 101
    # What must differ within a tenant: the natural key and the unique index.
    message.a_string, message.an_sint32 = record, sum(f"{box}{record}".encode())
    return message


async def put(store: Store, collection: str, *messages: Any) -> None:
    async with store.transaction() as connection:
        await store.upsert(connection, collection, messages)


async def names(store: Store, collection: str, parent: str) -> list[str]:
    page = await store.page(collection, parent)
    return [message.name for message in page.items]  # type: ignore[attr-defined]  # has a name


def file_of(store: Store) -> Path:
    return Path(str(store.engine.url.database))


async def refused_everywhere(store: Store) -> None:
    """Check that every call says that the store does not answer, and nothing else."""

    async def write() -> None:
        await put(store, "plains", plain("a", title="personal"))

    async def create() -> None:
        await create_tables(store.engine, store.tables)

    for call in (
        lambda: store.get("plains", "tenants/acme/plains/a"),
        lambda: store.page("plains", "tenants/acme"),
        write,
        create,
    ):
        assert not await store.ready()
        with pytest.raises(DependencyUnavailable) as refused:
            await call()
        assert refused.value.metadata == {"dependency": "store"}
        assert refused.value.message == "store does not answer"
