"""Several writes in one transaction: all of them, or each by itself."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import BadRequest
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, Reason, Refusal
from mesh.records.writing import RecordWriter

Written = tuple[Message | None, status_pb2.Status | None]
"""What became of one write: the record, nothing where it was deleted, or why it failed."""


class WriteRefused(Refusal):
    """One write of a batch is refused, and with it the batch; its place stands in the path."""

    def __init__(self, place: str, cause: Refusal) -> None:
        # The cause's own reason: its class is made for this error alone.
        self.reason: Reason = cause.reason  # type: ignore[misc]  # of this one, not of all
        super().__init__(
            f"{place}: {cause.message}",
            metadata=cause.metadata,
            details=[_placed(place, cause), *_others(cause)],
        )


def _placed(place: str, cause: Refusal) -> BadRequest:
    """Say which write it is, and which of its fields."""
    found = [each for each in cause.details if isinstance(each, BadRequest)]
    violations = [violation for each in found for violation in each.field_violations]
    return BadRequest(
        field_violations=[
            BadRequest.FieldViolation(
                field=f"{place}.{each.field}", description=each.description, reason=each.reason
            )
            for each in violations
        ]
        or [
            BadRequest.FieldViolation(
                field=place, description=cause.message, reason=cause.reason.name
            )
        ]
    )


def _others(cause: Refusal) -> Iterator[Message]:
    return (each for each in cause.details if not isinstance(each, BadRequest))


async def write_batch(
    writer: RecordWriter, connection: AsyncConnection, request: Any, request_id: str
) -> list[Written]:
    """Do the writes of a BatchWriteRecordsRequest in their order.

    Each sees what those before it wrote. WriteRefused at the first that fails, with nothing
    written, unless each stands by itself; ``request_id`` is then told in its status.
    With ``validate_only`` nothing is kept.
    """
    results: list[Written] = []
    async with connection.begin_nested() as savepoint:
        for number, write in enumerate(request.writes):
            kind = write.WhichOneof("write")
            try:
                async with connection.begin_nested():
                    record = await _write(writer, connection, request.parent, write, kind)
            except Refusal as refused:
                error = WriteRefused(f"writes[{number}].{kind}", refused)
                if not request.return_partial_success:
                    raise error from refused
                results.append((None, error.status(request_id)))
            else:
                results.append((record, None))
        if request.validate_only:
            await savepoint.rollback()
    return results


async def _write(
    writer: RecordWriter, connection: AsyncConnection, parent: str, write: Any, kind: str
) -> Message | None:
    wanted = getattr(write, kind)
    field = {"create": "parent", "update": "record.name", "delete": "name"}[kind]
    name = wanted.record.name if kind == "update" else getattr(wanted, field)
    if tenant_of(name) != tenant_of(parent):
        raise FieldInvalid.of(field, f"is not under {parent}", "PARENT_MISMATCH")
    if wanted.request_id:
        raise FieldInvalid.of("request_id", "is of the whole batch alone", "NOT_ALLOWED")
    if kind == "create":
        return await writer.create(connection, wanted)
    if kind == "update":
        return await writer.update(connection, wanted)
    await writer.delete(connection, wanted)
    return None
