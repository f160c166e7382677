"""What a user of the installed client writes: run with ADDRESS and TOKEN FILE; checked by mypy."""

import asyncio
import json
import sys
from importlib.util import find_spec

import grpc

from secmesh.inventory.v1 import (
    record_service_pb2_grpc,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh_client import CallRefused, Token, TokenFile, aio, connect, items, pages, watch

LIST = ListRecordsRequest(parent="tenants/acme/iam_users")
WATCH = sync_service_pb2.WatchSyncRequest(name="tenants/acme/syncs/s1")


def refused_fields(refused: CallRefused) -> list[str]:
    return [violation.field for violation in refused.violations]


def blocking(address: str, token: Token) -> dict[str, object]:
    with connect(address, token=token) as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        listed: list[Record] = list(items(stub.ListRecords, LIST, lambda page: page.records))
        try:
            stub.GetRecord(GetRecordRequest(name="not a name"), timeout=20)
        except CallRefused as refused:
            error = refused
        syncs = sync_service_pb2_grpc.SyncServiceStub(channel)
        return {
            "records": [record.name for record in listed],
            "pages": [len(page.records) for page in pages(stub.ListRecords, LIST)],
            "error": [error.code.name, error.reason, *refused_fields(error)],
            "watched": [event.sync.name for event in watch(syncs.WatchSync, WATCH)],
        }


async def asynchronous(address: str, token: Token) -> dict[str, object]:
    async with aio.connect(address, token=token) as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        listed = aio.items(stub.ListRecords, LIST, lambda page: page.records)
        names: list[str] = [record.name async for record in listed]
        sizes = [len(page.records) async for page in aio.pages(stub.ListRecords, LIST)]
        try:
            await stub.GetRecord(GetRecordRequest(name="not a name"), timeout=20)
        except CallRefused as refused:
            error = refused
        syncs = sync_service_pb2_grpc.SyncServiceStub(channel)
        watched = [event.sync.name async for event in aio.watch(syncs.WatchSync, WATCH)]
        code: grpc.StatusCode = error.code
        return {
            "records": names,
            "pages": sizes,
            "error": [code.name, error.reason, *refused_fields(error)],
            "watched": watched,
        }


def main(address: str, token_file: str) -> None:
    token = TokenFile(token_file)
    found = {
        "blocking": blocking(address, token),
        "asynchronous": asyncio.run(asynchronous(address, token)),
        "server_code": [
            name for name in ("mesh", "services", "gateway", "cli") if find_spec(name) is not None
        ],
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
