"""The inventory and tenancy services as their processes build them, on accounts of one endpoint."""

import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc

from mesh.client import open_channel
from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import sign_token
from mesh.server.serve import Server
from secmesh.inventory.v1 import record_service_pb2_grpc, sync_service_pb2_grpc
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import ManifestEntry, Sync
from secmesh.inventory.v1.sync_service_pb2 import (
    ListManifestEntriesRequest,
    StartSyncRequest,
    WatchSyncRequest,
)
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest
from services.inventory.__main__ import build_server
from services.tenancy.credentials.aws_secrets import AwsSecrets
from services.tenancy.credentials.aws_sts import AwsSecurityTokens
from services.tenancy.credentials.parts import Custody
from services.tenancy.credentials.sts import AwsKeys
from services.tenancy.onboarding.aws_probes import AwsProber
from tests.service.collect_world import CATALOGUE, REGION, client, settings
from tests.service.credential_story import Story, as_key
from tests.service.tenancy_world import OPERATOR, World, role_account, tenancy_world
from tests.unit.fake_sts import PLATFORM

VEND = "tenancy.credentials.vend"
TOKEN_FILE = "inventory.token"
ROLE = "scan"
"""Another than that of tests' own clients, who know no external id."""


@dataclass
class LentWorld:
    """Two services: inventory has no grant of its own, and enters by sessions of tenancy."""

    tenancy: World
    aws: AwsEndpoint
    folder: Path
    inventory: Server | None = None
    tenants: list[str] = field(default_factory=list)
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    @property
    def token_file(self) -> Path:
        return self.folder / TOKEN_FILE

    def let_in(self, *, permissions: Sequence[str] = (VEND,)) -> None:
        """Give the inventory service a token for all tenants there are."""
        token = sign_token(
            self.tenancy.home,
            subject="inventory",
            tenant=OPERATOR,
            permissions=permissions,
            tenants=self.tenants,
            lifetime=timedelta(hours=1),
        )
        # A server that reads it right now finds the one or the other.
        written = self.token_file.with_suffix(".new")
        written.write_text(token)
        written.replace(self.token_file)

    def channel(self, tenant: str) -> grpc.aio.Channel:
        """Give a channel of an administrator of a tenant to the inventory service."""
        assert self.inventory is not None
        if tenant not in self._channels:
            token = sign_token(self.tenancy.home, subject="ann", tenant=tenant, roles=["admin"])
            self._channels[tenant] = open_channel(
                self.inventory.address, package=CATALOGUE.package, token=token
            )
        return self._channels[tenant]

    def syncs(self, tenant: str) -> Any:
        """Give SyncService."""
        return sync_service_pb2_grpc.SyncServiceStub(self.channel(tenant))

    async def start(self, story: Story, *collections: str, **more: Any) -> Sync:
        """Start a run over the account of a story."""
        asked = {
            "account": story.account.name,
            "cloud_account_id": story.account.cloud_account_id,
            "collections": collections,
        }
        wanted = Sync(**{**asked, **more})
        request = StartSyncRequest(parent=f"tenants/{story.tenant}", sync=wanted)
        started: Sync = await self.syncs(story.tenant).StartSync(request)
        return started

    async def ended(self, sync: Sync) -> Sync:
        """Wait for the end of a run."""
        tenant = sync.name.split("/")[1]
        watched = self.syncs(tenant).WatchSync(WatchSyncRequest(name=sync.name))
        events = [event async for event in watched]
        last: Sync = events[-2].sync
        return last

    async def records(self, tenant: str, collection: str) -> list[Record]:
        """Give what a tenant sees of a collection."""
        stub: Any = record_service_pb2_grpc.RecordServiceStub(self.channel(tenant))
        request = ListRecordsRequest(parent=f"tenants/{tenant}/{collection}", page_size=1000)
        return list((await stub.ListRecords(request)).records)

    async def manifest(self, sync: Sync) -> list[ManifestEntry]:
        """Give the manifest of a run."""
        request = ListManifestEntriesRequest(parent=sync.name, page_size=1000)
        answer = await self.syncs(sync.name.split("/")[1]).ListManifestEntries(request)
        return list(answer.manifest_entries)

    async def role_account(self, *, verified: bool = True) -> Story:
        """Make an account of a tenant of its own, which a role leads into."""
        story = await self._account()
        self.let_role_in(story)
        if verified:
            assert (await story.verify()).entered
        return story

    def let_role_in(self, story: Story) -> None:
        """Make the role that leads into an account."""
        self._make_role(ROLE, PLATFORM, story.account.external_id, story.account)

    async def key_account(self, *, role: bool = True) -> Story:
        """Make one that a user's access key leads into, by a role that trusts the user or none."""
        story = await self._account(account_pb2.CREDENTIAL_TYPE_AWS_ACCESS_KEY)
        cloud = story.account.cloud_account_id
        user = f"scanner-{secrets.token_hex(4)}"
        iam = client(self.aws, "iam", cloud)
        iam.create_user(UserName=user)
        given = iam.create_access_key(UserName=user)["AccessKey"]
        key = as_key(AwsKeys(given["AccessKeyId"], given["SecretAccessKey"]))
        if role:
            trusted = f"arn:aws:iam::{cloud}:user/{user}"
            self._make_role("reader", trusted, story.account.external_id, story.account)
            key.role_arn = f"arn:aws:iam::{cloud}:role/reader"
        await story.store(key)
        assert (await story.verify()).entered
        return story

    async def _account(
        self, kind: account_pb2.CredentialType.ValueType = account_pb2.CREDENTIAL_TYPE_AWS_IAM_ROLE
    ) -> Story:
        tenant = await self.tenancy.tenant()
        self.tenants.append(tenant)
        self.let_in()
        await self.tenancy.provider(tenant)
        # Accounts of the endpoint are those of all tests of this process.
        given = role_account(tenant, 100_000_000_000 + secrets.randbelow(800_000_000_000))
        given.credential_type = kind
        if kind != account_pb2.CREDENTIAL_TYPE_AWS_IAM_ROLE:
            given.ClearField("role_arn")
        else:
            given.role_arn = f"arn:aws:iam::{given.cloud_account_id}:role/{ROLE}"
        made = await self.tenancy.accounts(tenant).CreateAccount(
            CreateAccountRequest(parent=f"tenants/{tenant}", account=given)
        )
        return Story(self.tenancy, tenant, made)

    def _make_role(
        self, name: str, trusts: str, external_id: str, account: account_pb2.Account
    ) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": trusts},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam = client(self.aws, "iam", account.cloud_account_id)
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        if self.inventory is not None:
            await self.inventory.stop()


@asynccontextmanager
async def serving_tenancy(aws: AwsEndpoint, folder: Path, **more: Any) -> AsyncIterator[World]:
    """Serve the tenancy service on the endpoint's STS."""
    custody = Custody(
        AwsSecrets(REGION, "", aws.url),
        AwsSecurityTokens(REGION, aws.url),
        AwsProber(REGION, aws.url),
    )
    keys = folder / "keys"
    async with tenancy_world(keys, custody=custody, principal_arn=PLATFORM, **more) as made:
        yield made


@asynccontextmanager
async def inventory_beside(
    tenancy: World, aws: AwsEndpoint, folder: Path, tenants: Sequence[str] = (), **more: Any
) -> AsyncIterator[LentWorld]:
    """Serve the inventory service beside a tenancy service, let in for these tenants."""
    world = LentWorld(tenancy, aws, folder)
    world.tenants.extend(tenants)
    world.let_in()
    asked = {
        "accounts": "",
        "role": "",
        "tenancy_address": tenancy.address,
        "tenancy_token_file": world.token_file,
    }
    world.inventory = await build_server(settings(aws, folder, **{**asked, **more}))
    await world.inventory.start()
    try:
        yield world
    finally:
        await world.close()
