"""An AWS account on this machine, and what collects it into a database of one test."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
import sqlalchemy as sa
from botocore.config import Config

from mesh.aws.operations import action
from mesh.contract.catalogue import load_catalogue
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.sql.store import Store
from secmesh.inventory.v1.record_pb2 import Record, Unread
from secmesh.inventory.v1.sync_pb2 import ManifestEntry, Sync
from services.inventory.__main__ import PACKAGE, build_runner, open_store
from services.inventory.collect.runner import SyncRunner
from services.inventory.settings import InventorySettings
from tests.inventory_store import inventory_store

CATALOGUE = load_catalogue(PACKAGE)
TENANT = "tenants/acme"
SAMPLE_ACCOUNT = "123456789012"
REGION = "us-east-1"
ROLE = "arn:aws:iam::{account}:role/audit"

Rows = Mapping[str, Record]
"""Records by name."""


def settings(endpoint: AwsEndpoint, folder: Path, **more: Any) -> InventorySettings:
    """Give settings that read an endpoint with little patience."""
    reach: dict[str, Any] = {"role": ROLE, "aws_region": REGION, "accounts": "acme=*"}
    chosen = {"attempts": 2, "home": folder, **reach, **more}
    if "database_url" not in more:
        chosen["database_url"] = inventory_store(folder)
    return InventorySettings(aws_endpoint_url=endpoint.url, **chosen)


@dataclass
class World:
    """A runner with its store."""

    endpoint: AwsEndpoint
    store: Store
    runner: SyncRunner

    async def sync(self, *collections: str, account: str = SAMPLE_ACCOUNT, **more: Any) -> Sync:
        """Run a sync to its end."""
        wanted = Sync(cloud_account_id=account, collections=collections, **more)
        return await self.ended(await self.runner.start(TENANT, wanted, ""))

    async def ended_in(
        self, seconds: float, *collections: str, account: str = SAMPLE_ACCOUNT
    ) -> Sync:
        """Run a sync that takes its time."""
        wanted = Sync(cloud_account_id=account, collections=collections)
        return await self.ended(await self.runner.start(TENANT, wanted, ""), seconds)

    async def ended(self, sync: Sync, seconds: float = 90) -> Sync:
        """Wait for the end of a sync."""
        async with asyncio.timeout(seconds):
            while sync.state == Sync.STATE_RUNNING:
                await self.runner.changed(sync.name, 1)
                sync = await self.runner.get(sync.name)
        return sync

    async def rows(self, collection: str) -> dict[str, Record]:
        """Give the current records of a collection by name."""
        found = await self.store.messages(collection, self.store.select(collection, "acme"))
        return {record.name: record for record in found if isinstance(record, Record)}

    async def versions(self, collection: str) -> list[Record]:
        """Give every version of a collection's records, the oldest first."""
        statement = self.store.select(collection, "acme", past=True)
        found = [
            record
            for record in await self.store.messages(collection, statement)
            if isinstance(record, Record)
        ]
        return sorted(found, key=lambda record: record.valid_from.ToMicroseconds())

    async def syncs(self) -> list[Sync]:
        """Give every run."""
        page = await self.store.page("syncs", TENANT, page_size=1000)
        return [sync for sync in page.items if isinstance(sync, Sync)]

    async def manifest(self, sync: Sync) -> list[ManifestEntry]:
        """Give the manifest of a run."""
        page = await self.store.page("manifest_entries", sync.name, page_size=1000)
        return [entry for entry in page.items if isinstance(entry, ManifestEntry)]

    async def content(self) -> dict[str, list[Any]]:
        """Give every row of every record table."""
        found: dict[str, list[Any]] = {}
        async with self.store.connection() as connection:
            for collection in CATALOGUE.record_kinds:
                rows = await connection.execute(sa.select(self.store.tables[collection].table))
                found[collection] = sorted(map(tuple, rows), key=repr)
        return found


@asynccontextmanager
async def world(endpoint: AwsEndpoint, folder: Path, **more: Any) -> AsyncIterator[World]:
    """Open a database in a folder and what collects into it."""
    chosen = settings(endpoint, folder, **more)
    store = await open_store(chosen, CATALOGUE)
    runner = build_runner(chosen, CATALOGUE, store)
    try:
        yield World(endpoint, store, runner)
    finally:
        await runner.close()
        await store.engine.dispose()


@pytest.fixture
async def collecting(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator[World]:
    """A database of its own and what collects into it."""
    async with world(aws, tmp_path) as made:
        yield made


def client(endpoint: AwsEndpoint, service: Any, account: str, region: str = REGION) -> Any:
    """Give a client in an account of the endpoint."""
    return _client(endpoint.url, service, account, region)


@cache
def _client(url: str, service: Any, account: str, region: str) -> Any:
    base = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test")
    options: dict[str, Any] = {"endpoint_url": url, "region_name": region}
    config = Config(retries={"total_max_attempts": 1})
    role = ROLE.replace("{account}", account)
    made = base.client("sts", **options).assume_role(RoleArn=role, RoleSessionName="test")
    given = made["Credentials"]
    session = boto3.session.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    return session.client(service, config=config, **options)


def body_of(record: Record) -> Any:
    """Give the body of a record."""
    return getattr(record, str(record.WhichOneof("body")))


def by(rows: Rows, field: str) -> dict[str, Record]:
    """Index records by a field of their body."""
    return {getattr(body_of(record), field): record for record in rows.values()}


def gaps(record: Record) -> dict[str, Unread]:
    """Give a record's unread fields by name."""
    return {each.field: each for each in record.unread}


def actions(operations: set[str]) -> set[str]:
    """Give the IAM actions of operations."""
    return {action(operation) for operation in operations}
