"""A server of the record contract whose records can be watched, and a client of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory

from mesh.records.watch_servicer import WatchServicer
from secmesh.records.v1.watch_pb2 import RecordChangeType, WatchRecordsRequest
from tests.service.server_fixtures import Running, running
from tests.unit.record_contract import PACKAGE, store_catalogue
from tests.unit.record_world import Records, records_on

PATH = f"/{PACKAGE}.RecordService/WatchRecords"


@dataclass
class Watching:
    """What tests of watches use."""

    records: Records
    server: Running

    @asynccontextmanager
    async def watch(
        self,
        parent: str,
        *,
        seconds: float = 30,
        claims: dict[str, Any] | None = None,
        **fields: Any,
    ) -> AsyncIterator[Any]:
        """Open a stream; its first bookmark is not taken."""
        answer = message_factory.GetMessageClass(
            store_catalogue().methods[PATH].descriptor.output_type
        )
        async with grpc.aio.insecure_channel(self.server.address) as channel:
            method = channel.unary_stream(
                PATH,
                request_serializer=WatchRecordsRequest.SerializeToString,
                response_deserializer=answer.FromString,
            )
            stream = method(
                WatchRecordsRequest(parent=parent, **fields),
                metadata=self.server.metadata(**(claims or {"permissions": ("store.*.*",)})),
                timeout=seconds,
            )
            try:
                yield stream
            finally:
                stream.cancel()


@asynccontextmanager
async def watching(url: str, folder: Path, **settings: Any) -> AsyncIterator[Watching]:
    """Serve WatchRecords of a database."""
    async with records_on(url) as records:

        def register(target: grpc.aio.Server) -> None:
            draining = made[0].server.draining if made else _Late()
            WatchServicer(store_catalogue(), records.store, draining).add_to(target)  # type: ignore[arg-type]  # the server is made after

        made: list[Running] = []
        async with running(
            folder, catalogue=store_catalogue(), register=register, **settings
        ) as server:
            made.append(server)
            yield Watching(records, server)


class _Late:
    """Stands for the server's own event: it never drains here."""

    def is_set(self) -> bool:
        return False


async def events(stream: Any, number: int) -> list[Any]:
    """Read so many changes, without bookmarks."""
    found: list[Any] = []
    while len(found) < number:
        event = await stream.read()
        assert event is not grpc.aio.EOF
        assert not event.HasField("ended"), event
        if event.HasField("changed"):
            found.append(event)
    return found


def told(found: list[Any]) -> list[tuple[str, str]]:
    """Give type and id of changes."""
    return [
        (
            RecordChangeType.Name(each.changed.type).removeprefix("RECORD_CHANGE_TYPE_"),
            each.changed.name.rpartition("/")[2],
        )
        for each in found
    ]
