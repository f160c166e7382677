"""One stream of ImportUsers: its messages in order, held against one another."""

import asyncio
from collections.abc import AsyncIterator

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, Refusal
from mesh.server.call import current_call
from secmesh.crypto.v1 import user_import_pb2 as pb
from services.crypto.persons.import_store import Progress
from services.crypto.persons.importing import IMPORT, Import, Importing

_END = object()
_MOST_PROBLEMS = 100
"""Problems of a stream that are told."""


async def import_users(
    importing: Importing,
    requests: AsyncIterator[pb.ImportUsersRequest],
    draining: asyncio.Event,
) -> pb.ImportUsersResponse:
    """Store the persons of a stream, part by part. FieldInvalid ends it; what is stored stays.

    When ``draining`` is set the part at hand is stored, and the answer says to go on elsewhere.
    """
    response = pb.ImportUsersResponse()
    wanted: Import | None = None
    last = 0
    async for request in _until(draining, requests):
        if request is None:
            response.resume = True
            break
        if wanted is None:
            wanted = _first(request)
        elif (request.parent and tenant_of(request.parent) != wanted.tenant) or (
            request.import_id and request.import_id != wanted.import_id
        ):
            raise FieldInvalid.of("import_id", "is another than in the first message", "CHANGED")
        for user in request.users:
            if user.sequence <= last:
                raise FieldInvalid.of("users.sequence", f"must lie above {last}", "SEQUENCE")
            last = user.sequence
        if request.users:
            _tell(response, await importing.write(wanted, request.users))
    if wanted is None and not response.resume:
        raise FieldInvalid.of("parent", "must be set in the first message", "REQUIRED")
    if wanted is not None and last:
        response.user_import.CopyFrom(message_of(wanted, await importing.progress(wanted)))
    return response


async def _until(
    draining: asyncio.Event, requests: AsyncIterator[pb.ImportUsersRequest]
) -> AsyncIterator[pb.ImportUsersRequest | None]:
    """Give the messages of a stream; None, and no more, once the process begins to end."""
    ending = asyncio.create_task(draining.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(requests, _END))
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                coming.cancel()
                yield None
                return
            request = await coming
            if not isinstance(request, pb.ImportUsersRequest):
                return
            yield request
    finally:
        ending.cancel()


def message_of(wanted: Import, progress: Progress) -> pb.UserImport:
    """Write how far an import is."""
    shown = pb.UserImport(
        name=IMPORT.format(wanted.tenant, wanted.import_id),
        resume_after=progress.resume_after,
        stored=progress.stored,
        refused=progress.refused,
    )
    if progress.updated_at is not None:
        shown.update_time.FromDatetime(progress.updated_at)
    return shown


def _first(request: pb.ImportUsersRequest) -> Import:
    tenant = tenant_of(request.parent)
    for field, value in (("parent", tenant), ("import_id", request.import_id)):
        if not value:
            raise FieldInvalid.of(field, "must be set in the first message", "REQUIRED")
    return Import(tenant or "", request.import_id)


def _tell(response: pb.ImportUsersResponse, problems: dict[int, Refusal]) -> None:
    request_id = current_call().request_id
    for sequence, refusal in sorted(problems.items()):
        if len(response.problems) < _MOST_PROBLEMS:
            status = refusal.status(request_id)
            response.problems.add(sequence=sequence, error=status)
