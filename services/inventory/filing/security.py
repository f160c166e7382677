"""The security service, called for the caller of this one."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import grpc

from mesh.client.passing import passed_on
from secmesh.records.v1.ingest_pb2 import IngestResult
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.security.v1 import finding_service_pb2 as findings
from secmesh.security.v1 import finding_service_pb2_grpc, record_service_pb2_grpc
from secmesh.security.v1.record_ingest_pb2 import IngestRecordsRequest
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import (
    BatchWriteRecordsRequest,
    RecordWriteResult,
    UpdateRecordRequest,
)
from secmesh_client import CallRefused
from secmesh_client.aio import ingest, items

_PAGE = 1000
_BATCH = 200
"""Updates of one request."""
_STEPS = 8
"""Steps of findings at a time."""
_MOVED = frozenset({"ETAG_MISMATCH", "TRANSITION_REFUSED", "RESOURCE_NOT_FOUND"})
"""Reasons of a step that came too late: somebody else changed the finding."""
RESOLVED = "FINDING_STATUS_RESOLVED"


class Security:
    """Typed calls of the security service; each raises what it refused, or that it is away."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._records = record_service_pb2_grpc.RecordServiceStub(channel)
        self._findings = finding_service_pb2_grpc.FindingServiceStub(channel)
        self._channel = channel

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def records(self, parent: str, condition: str) -> list[Record]:
        """Give the records of a collection that meet a condition."""
        request = ListRecordsRequest(parent=parent, filter=condition, page_size=_PAGE)
        with _told():
            found = items(self._records.ListRecords, request, lambda page: page.records)
            return [record async for record in found]

    async def ingest(self, parent: str, records: Iterable[Record]) -> list[IngestResult]:
        """Store records, each by its name or key; give what became of them, in their order."""
        request = IngestRecordsRequest(parent=parent)
        with _told():
            return [
                result async for result in ingest(self._records.IngestRecords, request, records)
            ]

    async def update(
        self, parent: str, updates: Sequence[UpdateRecordRequest]
    ) -> list[RecordWriteResult]:
        """Update records, each by itself; give what became of them, in their order."""
        results: list[RecordWriteResult] = []
        for start in range(0, len(updates), _BATCH):
            request = BatchWriteRecordsRequest(parent=parent, return_partial_success=True)
            for update in updates[start : start + _BATCH]:
                request.writes.add(update=update)
            with _told():
                answer = await self._records.BatchWriteRecords(request)
            results += answer.results
        return results

    async def resolve(self, known: Sequence[Record], justification: str) -> list[bool]:
        """Resolve findings; tell of each whether it still was as it was known."""
        return await self._steps(
            [
                findings.TransitionFindingRequest(
                    name=each.name,
                    status=RESOLVED,
                    justification=justification,
                    etag=each.etag,
                )
                for each in known
            ]
        )

    async def reopen(self, known: Sequence[Record], justification: str) -> list[bool]:
        """Reopen findings; tell of each whether it still was as it was known."""
        return await self._steps(
            [
                findings.ReopenFindingRequest(
                    name=each.name, justification=justification, etag=each.etag
                )
                for each in known
            ]
        )

    async def _steps(
        self,
        requests: Sequence[findings.TransitionFindingRequest | findings.ReopenFindingRequest],
    ) -> list[bool]:
        places = asyncio.Semaphore(_STEPS)

        async def step(
            request: findings.TransitionFindingRequest | findings.ReopenFindingRequest,
        ) -> bool:
            async with places:
                return await self._step(request)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step(request)) for request in requests]
        return [task.result() for task in tasks]

    async def _step(
        self, request: findings.TransitionFindingRequest | findings.ReopenFindingRequest
    ) -> bool:
        try:
            if isinstance(request, findings.ReopenFindingRequest):
                await self._findings.ReopenFinding(request)
            else:
                await self._findings.TransitionFinding(request)
        except CallRefused as refused:
            if refused.reason in _MOVED:
                return False
            raise passed_on(refused, "security") from refused
        return True


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except CallRefused as refused:
        raise passed_on(refused, "security") from refused
