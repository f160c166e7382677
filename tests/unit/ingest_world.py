"""Streams of records into a store of the record contract, without a server."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from mesh.identity.caller import Caller
from mesh.records.ingest_servicer import IngestServicer
from mesh.server.call import Call, enter_call
from secmesh.records.v1.ingest_pb2 import IngestResult
from tests.unit.record_contract import message, store_catalogue
from tests.unit.record_world import Records

TENANT = "tenants/acme"
STREAM = "01a201ab-6d72-72c3-b342-5607cc9c856d"


def numbered(records: Iterable[Any], first: int = 1) -> list[Any]:
    """Make items of records, numbered from ``first``."""
    return [
        message("IngestItem", sequence=first + place, record=record)
        for place, record in enumerate(records)
    ]


def as_caller(*permissions: str) -> None:
    """Serve what follows for a caller of acme with these permissions, all if none."""
    call = Call("/secmesh.store.v1.RecordService/IngestRecords")
    call.caller = Caller("ann", "acme", frozenset(permissions or ("store.*.*",)))
    call.request_id = "id-1"
    enter_call(call)


async def answers(
    records: Records, requests: Sequence[Any], got: list[Any] | None = None
) -> list[Any]:
    """Send messages and give the answers, the end included; ``got`` has those before an error."""

    async def send() -> AsyncIterator[Any]:
        for request in requests:
            yield request

    answered = [] if got is None else got
    served = IngestServicer(store_catalogue(), records.store, records.tick)
    async for each in served.IngestRecords(send(), None):
        answered.append(each)
    return answered


async def ingest(
    records: Records, given: Iterable[Any], *, parent: str = TENANT, first: int = 1, **fields: Any
) -> list[Any]:
    """Send records in one message and give their results."""
    as_caller()
    fields = {"stream_id": STREAM, **fields}
    request = message("IngestRecordsRequest", parent=parent, items=numbered(given, first), **fields)
    *parts, end = await answers(records, [request])
    assert end.HasField("ended")
    assert end.ended.code == 0
    return [result for part in parts for result in part.results]


def outcomes(results: Iterable[Any]) -> list[str]:
    """Give the words of the results' outcomes."""
    return [IngestResult.Outcome.Name(each.outcome).removeprefix("OUTCOME_") for each in results]
