"""Stores of each kind for tests of the tenancy service, all with the same promises."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mesh.embedded.aws import AwsEndpoint
from services.tenancy.store.create import Tables
from services.tenancy.store.dynamodb import DynamoDbStore
from services.tenancy.store.dynamodb_client import EMBEDDED_READ_SECONDS, dynamodb_client
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Item, Key, Store
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
    client = dynamodb_client(
        REGION, endpoint, read_seconds=EMBEDDED_READ_SECONDS, credentials=CREDENTIALS
    )
    Tables(client, names, lenient=True).create()
    client.close()
    return names


@contextmanager
def embedded_store(
    endpoint: str, names: dict[Table, str], *, observe: Observer | None = None
) -> Iterator[DynamoDbStore]:
    """Give the store of an endpoint on this machine, for as long as it is used."""
    client = dynamodb_client(
        REGION,
        endpoint,
        connections=8,
        read_seconds=EMBEDDED_READ_SECONDS,
        credentials=CREDENTIALS,
    )
    store = DynamoDbStore(client, names, threads=8, observe=observe)
    try:
        yield store
    finally:
        store._threads.shutdown()
        client.close()


ELSEWHERE = os.environ.get("SECMESH_TEST_DYNAMODB_ENDPOINT", "")
"""A DynamoDB Local to be held to the same promises, such as http://127.0.0.1:8000."""


@pytest.fixture(scope="session")
def embedded_tenancy_store(aws: AwsEndpoint) -> Iterator[DynamoDbStore]:
    """The store of the endpoint on this machine, in tables that tests of the store share."""
    with embedded_store(aws.url, made_tables(aws.url)) as made:
        yield made


@pytest.fixture(scope="session")
def other_tenancy_store() -> Iterator[DynamoDbStore]:
    """The store of the endpoint that the environment names."""
    with embedded_store(ELSEWHERE, made_tables(ELSEWHERE)) as made:
        yield made


@pytest.fixture(params=["memory", "embedded", *(["other"] if ELSEWHERE else [])])
def tenancy_store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn; each test has a tenant of its own in it."""
    if request.param == "memory":
        return MemoryStore()
    made: Store = request.getfixturevalue(f"{request.param}_tenancy_store")
    return made


def full(key: Key, **attributes: Any) -> Item:
    return {"pk": key.pk, "sk": key.sk, **attributes}
