"""`secmesh inventory diff|history`: what changed in what was collected."""

import re
from typing import Annotated

import orjson
import typer

from cli.completion import collections, record_names
from cli.connection import Connection, connection_of
from cli.moments import parse_time
from cli.output import Column, as_json, write_messages
from secmesh.inventory.v1 import (
    history_service_pb2_grpc,
    record_service_pb2_grpc,
)
from secmesh.inventory.v1.history_service_pb2 import DiffRecordsRequest, FieldChange, RecordChange
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.records.v1.record_requests_pb2 import ListRecordVersionsRequest
from secmesh_client import items

app = typer.Typer(help="What changed in what was collected.")

_BEGINS_WITH_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}(T|$)")


@app.command()
def diff(
    context: typer.Context,
    old: Annotated[
        str, typer.Option("--from", help="Time such as 2026-01-31T12:00:00Z, date, or run.")
    ],
    new: Annotated[
        str, typer.Option("--to", help="Time, date, or run as `syncs` lists it; else now.")
    ] = "",
    collection: Annotated[
        str, typer.Option(help="Such as s3_buckets; else all.", autocompletion=collections)
    ] = "-",
    account: Annotated[str, typer.Option(help="AWS account id; else the runs', or all.")] = "",
    filter_: Annotated[str, typer.Option("--filter", help="CEL condition on both states.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most records; 0 means all.")] = 0,
) -> None:
    """Show what came, went and changed between two times or runs, field by field."""
    connection = connection_of(context)
    asked = DiffRecordsRequest(
        parent=f"{connection.tenant}/{collection}", cloud_account_id=account, filter=filter_
    )
    for side, text in (("from", old), ("to", new)):
        _set_state(asked, side, text, connection)
    with connection.channel() as channel:
        stub = history_service_pb2_grpc.HistoryServiceStub(channel)
        changes = items(stub.DiffRecords, asked, lambda page: page.changes, limit)
        what, fields = Column("what", _what), Column("fields", _fields)
        columns: list[str | Column] = ["type", "region", what, "change_time", fields]
        write_messages(changes, connection.output, columns)


def _set_state(request: DiffRecordsRequest, side: str, text: str, connection: Connection) -> None:
    """Fill one side of a comparison with what was written: a time or a run."""
    if _BEGINS_WITH_DATE.match(text):
        getattr(request, f"{side}_time").CopyFrom(parse_time(text, f"--{side}"))
    elif text:
        full = text if text.startswith("tenants/") else f"{connection.tenant}/syncs/{text}"
        setattr(request, f"{side}_sync", full)


def _what(change: RecordChange) -> str:
    """Name a record: its collection, and its ARN or id."""
    _, _, collection, record = change.name.split("/")
    return f"{collection} {change.arn or record}"


def _fields(change: RecordChange) -> str:
    if change.type != RecordChange.TYPE_CHANGED:
        return ""
    return "\n".join(_field(each) for each in change.fields)


def _field(change: FieldChange) -> str:
    """Write one field's change on a line."""
    if change.redacted:
        return f"{change.field}: changed, secret"
    if change.type == FieldChange.TYPE_READING:
        old, new = (
            f"unread ({gap.code})" if side else "read"
            for gap, side in (
                (change.old_unread, change.HasField("old_unread")),
                (change.new_unread, change.HasField("new_unread")),
            )
        )
        return f"{change.field}: {old} -> {new}"
    old = change.old_value if change.HasField("old_value") else "absent"
    new = change.new_value if change.HasField("new_value") else "absent"
    return f"{change.field}: {old} -> {new}"


@app.command()
def history(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Full name, or COLLECTION/ID.", autocompletion=record_names)
    ],
    filter_: Annotated[str, typer.Option("--filter", help="CEL condition on a version.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most versions; 0 means all.")] = 20,
) -> None:
    """List the versions of a record, the newest first."""
    connection = connection_of(context)
    full = name if name.startswith("tenants/") else f"{connection.tenant}/{name}"
    with connection.channel() as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        request = ListRecordVersionsRequest(parent=full, filter=filter_)
        versions = items(stub.ListRecordVersions, request, lambda page: page.records, limit)
        sync = Column("sync", lambda version: version.sync.rpartition("/")[2])
        content = Column("content", _content)
        shown: list[str | Column] = ["valid_from", "valid_to", sync, content]
        write_messages(versions, connection.output, shown)


def _content(version: Record) -> str:
    """Write a version's body on a line, as the REST gateway would."""
    body = version.WhichOneof("body")
    return orjson.dumps(as_json(getattr(version, body))).decode() if body else ""
