"""Stores of each kind for tests of the tenancy service, all with the same promises."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from services.tenancy.store.create import Tables
from services.tenancy.store.dynamodb import DynamoDbStore
from services.tenancy.store.dynamodb_client import dynamodb_client
from services.tenancy.store.recorder import Observer
from services.tenancy.store.tables import Table

REGION = "ap-south-2"
"""Of the tables that tests make: other tests list what is in the sample account's regions."""


CREDENTIALS = ("test", "test")


def new_tenant() -> str:
    """Give the id of a tenant that no other test has."""
    return f"t{uuid.uuid4().hex[:20]}"


def table_names() -> dict[Table, str]:
    """Give names of tables that no other test has."""
    prefix = f"test-{uuid.uuid4().hex[:8]}"
    return {table: f"{prefix}-{table.value}" for table in Table}


def made_tables(endpoint: str) -> dict[Table, str]:
    """Make the tables under names of their own."""
    names = table_names()
    client = dynamodb_client(REGION, endpoint, credentials=CREDENTIALS)
    Tables(client, names, lenient=True).create()
    client.close()
    return names


@contextmanager
def embedded_store(
    endpoint: str, names: dict[Table, str], *, observe: Observer | None = None
) -> Iterator[DynamoDbStore]:
    """Give the store of an endpoint on this machine, for as long as it is used."""
    client = dynamodb_client(REGION, endpoint, connections=8, credentials=CREDENTIALS)
    store = DynamoDbStore(client, names, threads=8, observe=observe)
    try:
        yield store
    finally:
        store._threads.shutdown()
        client.close()
