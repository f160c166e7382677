"""Events as EventBridge delivers them, and an inventory service that takes them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from mesh.client import CallRefused, open_channel
from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import create_signing_key, sign_token
from mesh.server.serve import Server
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1.compliance_service_pb2_grpc import ComplianceServiceStub
from secmesh.inventory.v1.event_service_pb2 import PostEventsRequest, PostEventsResponse
from secmesh.inventory.v1.event_service_pb2_grpc import EventServiceStub
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import StartSyncRequest, WatchSyncRequest
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from services.inventory.__main__ import build_server
from tests.service.collect_world import CATALOGUE, REGION, TENANT, client, settings


def recorded(account: str, source: str, name: str, **more: Any) -> dict[str, Any]:
    """Give a call that CloudTrail recorded, in its envelope."""
    detail = {
        "eventVersion": "1.11",
        "eventSource": f"{source}.amazonaws.com",
        "eventName": name,
        "awsRegion": more.pop("region", REGION),
        "readOnly": False,
        "eventCategory": "Management",
        "recipientAccountId": account,
        **more,
    }
    return {
        "version": "0",
        "id": secrets.token_hex(16),
        "detail-type": "AWS API Call via CloudTrail",
        "source": f"aws.{source}",
        "account": account,
        "time": "2026-01-31T12:00:00Z",
        "region": REGION,
        "resources": [],
        "detail": detail,
    }


def on_bucket(account: str, name: str, bucket: str, **more: Any) -> dict[str, Any]:
    """Give a recorded call on a bucket."""
    return recorded(account, "s3", name, requestParameters={"bucketName": bucket}, **more)


def posting(*events: dict[str, Any], parent: str = TENANT, seconds: int = 20) -> PostEventsRequest:
    """Give a request that posts events and waits."""
    request = PostEventsRequest(parent=parent)
    request.events.extend(json_format.ParseDict(event, Struct()) for event in events)
    request.wait.FromSeconds(seconds)
    return request


class Live:
    """A served account of its own."""

    def __init__(
        self, channel: grpc.aio.Channel, aws: AwsEndpoint, account: str, server: Server
    ) -> None:
        self.server = server
        self.address = server.address
        self.events: Any = EventServiceStub(channel)
        self.syncs: Any = SyncServiceStub(channel)
        self.records: Any = RecordServiceStub(channel)
        self.compliance: Any = ComplianceServiceStub(channel)
        self.account = account
        self.s3: Any = client(aws, "s3", account)
        self.ec2: Any = client(aws, "ec2", account)

    async def collect(self, *collections: str) -> Sync:
        wanted = Sync(cloud_account_id=self.account, collections=collections)
        started = await self.syncs.StartSync(StartSyncRequest(parent=TENANT, sync=wanted))
        seen = [each async for each in self.syncs.WatchSync(WatchSyncRequest(name=started.name))]
        last: Sync = seen[-2].sync
        return last

    async def post(self, *events: dict[str, Any]) -> PostEventsResponse:
        """Post events until they are taken, as EventBridge does."""
        async with asyncio.timeout(120):
            while True:
                try:
                    answer: PostEventsResponse = await self.events.PostEvents(posting(*events))
                except CallRefused as refused:
                    if refused.reason != "EVENTS_WAITING":
                        raise
                else:
                    return answer

    async def rows(self, collection: str) -> dict[str, Record]:
        asked = ListRecordsRequest(parent=f"{TENANT}/{collection}", page_size=1000)
        page = await self.records.ListRecords(asked)
        return {
            getattr(getattr(each, each.WhichOneof("body")), CHOSEN[collection]): each
            for each in page.records
        }


CHOSEN = {
    "s3_buckets": "bucket_name",
    "security_groups": "group_id",
    "cloudtrail_trails": "trail_name",
    "kms_keys": "key_id",
}


@asynccontextmanager
async def serving(aws: AwsEndpoint, folder: Path, **more: Any) -> AsyncIterator[Live]:
    """Serve a folder or database that an account of its own is collected into."""
    if not (folder / "keys").exists():
        create_signing_key(folder / "keys")
    server = await build_server(settings(aws, folder, **more))
    await server.start()
    token = sign_token(folder / "keys", subject="ann", tenant="acme", roles=["operator"])
    try:
        async with open_channel(server.address, package=CATALOGUE.package, token=token) as channel:
            yield Live(channel, aws, new_account(), server)
    finally:
        await server.stop()


def new_account() -> str:
    """Give an account that nobody else has."""
    return f"5{secrets.randbelow(10**11):011d}"


def turned(answer: PostEventsResponse) -> dict[str, tuple[str, str]]:
    word = check_pb2.EvidenceOutcome.Name
    return {
        turn.check_id: (
            word(turn.old_outcome).removeprefix("EVIDENCE_OUTCOME_"),
            word(turn.new_outcome).removeprefix("EVIDENCE_OUTCOME_"),
        )
        for reading in answer.readings
        for turn in reading.turns
    }
