"""ImportService: reports of scanners in, what became of them out."""

import asyncio
from collections.abc import AsyncIterator

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.records.moments import Clock, now
from mesh.server.upload import Uploads
from mesh.sql.store import Store
from secmesh.security.v1 import import_service_pb2 as api
from secmesh.security.v1 import import_service_pb2_grpc
from secmesh.security.v1.vocabulary_pb2 import ImportFormat
from services.security.findings.life import FindingLife
from services.security.import_result import Result, Wanted
from services.security.import_store import Fate
from services.security.importer import Importer
from services.security.importing.spool import CHUNK, Spool

_PREFIX = "IMPORT_FORMAT_"


class ImportServicer(import_service_pb2_grpc.ImportServiceServicer):
    """Answers ImportService; see docs/IMPORTING.md for its promises."""

    def __init__(
        self, catalogue: Catalogue, store: Store, life: FindingLife, clock: Clock = now
    ) -> None:
        """Import into the record kinds of a catalogue."""
        self._importer = Importer(catalogue, store, life, clock)
        self._uploads = Uploads()

    async def ImportReport(  # noqa: N802  # the contract's name
        self, requests: AsyncIterator[api.ImportReportRequest], _context: object
    ) -> api.ImportReportResponse:
        async with self._uploads.received(requests) as (first, file):
            chunks = iter(lambda: file.read(CHUNK), b"")
            with await asyncio.to_thread(Spool.of, chunks) as spool:
                return _answer(await self._importer.run(_wanted(first), spool))


def _wanted(request: api.ImportReportRequest) -> Wanted:
    named = ImportFormat.Name(request.format).removeprefix(_PREFIX) if request.format else ""
    return Wanted(
        tenant=tenant_of(request.parent) or "",
        project=request.project,
        branch=request.branch,
        format_name=named,
        close_absent=request.close_absent or not request.HasField("close_absent"),
        keep=not request.validate_only,
    )


def _answer(result: Result) -> api.ImportReportResponse:
    outcomes = api.ImportReportResponse
    answer = api.ImportReportResponse(
        outcome=outcomes.OUTCOME_UNCHANGED if result.unchanged else outcomes.OUTCOME_IMPORTED,
        format=result.format_name,
        report_sha256=result.sha256,
        scans=result.scans,
        rejected=result.rejected,
        problem=result.problem,
        absent_closed=result.absent_closed,
    )
    for each in result.rejections:
        answer.rejections.add(index=each.index, pointer=each.pointer, reason=each.reason)
    counts = result.records.counts if result.records and not result.unchanged else {}
    for collection, fates in sorted(counts.items()):
        answer.counts.add(
            collection=collection, **{fate.value: fates[fate] for fate in Fate if fates[fate]}
        )
    return answer
