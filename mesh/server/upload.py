"""Files that come as a stream of requests, kept on disk until they are whole."""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, TypeVar
from weakref import WeakValueDictionary

from google.protobuf.message import Message

from mesh.contract.catalogue import Method, Upload
from mesh.errors import BodyInvalid, BodyTooLarge, FieldInvalid
from mesh.server.call import current_call

MEMORY_BYTES = 1 << 20
"""Of each upload; what is more waits in an unnamed file."""
PER_TENANT = 4
_PATH_FIELD = re.compile(r"\{([a-z_]+)[=}]")
Request = TypeVar("Request", bound=Message)


class Uploads:
    """Takes files, some of each tenant at once; the rest wait, held back by flow control.

    Args:
        per_tenant: How many at once; times the largest file, what a tenant can fill of the disk.
    """

    def __init__(self, per_tenant: int = PER_TENANT) -> None:
        self._per_tenant = per_tenant
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def received(
        self, requests: AsyncIterator[Request]
    ) -> AsyncIterator[tuple[Request, IO[bytes]]]:
        """Give the first message of the running call without its part, and the whole file.

        The file is at its beginning, and gone afterwards, also if the caller leaves half-way:
        then this never gives anything. Raises BodyTooLarge as soon as more has come than the
        contract allows, FieldInvalid if the first message lacks what a path would say or a later
        one holds more than its part, BodyInvalid if there is no message.
        """
        call = current_call()
        if call.method is None or call.method.upload is None:
            raise TypeError(f"{call.path} takes no upload")
        turn = self._turns.setdefault(call.caller.tenant, asyncio.Semaphore(self._per_tenant))
        async with turn:
            with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as file:
                first = await _receive(requests, file, call.method, call.method.upload)
                file.seek(0)
                yield first, file


async def _receive(
    requests: AsyncIterator[Request], file: IO[bytes], method: Method, upload: Upload
) -> Request:
    first: Request | None = None
    async for message in requests:
        _take(message, file, upload)
        if first is None:
            _require_path_fields(message, method)
            first = message
        elif fields := message.ListFields():
            field, _ = fields[0]
            raise FieldInvalid.of(field.name, "belongs in the first message", "MISPLACED")
    if first is None:
        raise BodyInvalid("the upload holds no message")
    return first


def _take(message: Message, file: IO[bytes], upload: Upload) -> None:
    """Move a part from a message into the file."""
    part: bytes = getattr(message, upload.field).data
    if file.tell() + len(part) > upload.max_bytes:
        raise BodyTooLarge(upload.max_bytes)
    file.write(part)
    message.ClearField(upload.field)


def _require_path_fields(message: Message, method: Method) -> None:
    for name in _PATH_FIELD.findall(method.routes[0].template):
        if not getattr(message, name):
            raise FieldInvalid.of(name, "is required in the first message", "REQUIRED")
