"""`secmesh SERVICE ls|get|kinds|aggregate|watch`: the records of any service, looked at."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Annotated, Any

import typer

from cli.aggregate import aggregate_command
from cli.changes import watch_command
from cli.connection import connection_of
from cli.moments import parse_time
from cli.output import Column, write_message, write_messages
from cli.record_service import RecordsOf
from secmesh.records.v1 import record_requests_pb2 as pb
from secmesh_client import items

Command = Callable[..., None]

AT_HELP = "Show what stood at a time, such as 2026-01-31T12:00:00Z; else what stands now."
SHOWN_FIELDS = 6
"""Fields of the body that a table shows, the first of the contract."""


def record_commands(records: RecordsOf) -> typer.Typer:
    """Make the commands that look at the records of one service."""
    app = typer.Typer()
    app.command("ls")(_ls_command(records))
    app.command("get")(_get_command(records))
    app.command("kinds")(_kinds_command(records))
    app.command("aggregate")(aggregate_command(records))
    app.command("watch")(watch_command(records))
    return app


def _ls_command(records: RecordsOf) -> Command:
    def ls(
        context: typer.Context,
        collection: Annotated[
            str,
            typer.Argument(
                help=f"Such as {records.example}; `kinds` lists them.",
                autocompletion=records.words.collections,
            ),
        ],
        filter_: Annotated[
            str, typer.Option("--filter", help=f"CEL condition, such as `{records.condition}`.")
        ] = "",
        order_by: Annotated[str, typer.Option(help="Such as `last_login desc, username`.")] = "",
        limit: Annotated[int, typer.Option(min=0, help="Most records; 0 means all.")] = 100,
        at: Annotated[str | None, typer.Option(help=AT_HELP, hidden=not records.keeps_past)] = None,
    ) -> None:
        """List the records of a collection."""
        moment = parse_time(at, "--at") if at else None
        connection = connection_of(context)
        request = pb.ListRecordsRequest(
            parent=f"{connection.tenant}/{collection}",
            filter=filter_,
            order_by=order_by,
            read_time=moment,
        )
        with connection.channel() as channel:
            found = list_records(records.stub(channel), request, limit)
            first = next(found, None)
            if first is None:
                write_messages([], connection.output, ["name"])
            else:
                write_messages(chain([first], found), connection.output, shown_columns(first))

    return ls


def list_records(stub: Any, request: pb.ListRecordsRequest, limit: int) -> Iterator[Any]:
    """Read records page by page."""
    return items(stub.ListRecords, request, lambda page: page.records, limit)


def shown_columns(record: Any) -> list[str | Column]:
    """Choose a table's columns: the body's first plain fields, what is unread, the id."""
    envelope = record.DESCRIPTOR.fields_by_name
    region = ["region"] if "region" in envelope else []
    body = record.WhichOneof("body")
    if body is None:  # a kind newer than this command
        return ["name", *region]
    fields = getattr(record, body).DESCRIPTOR.fields
    plain = [field.name for field in fields if not field.is_repeated][:SHOWN_FIELDS]
    unread = Column("unread", lambda each: ", ".join(unread.field for unread in each.unread))
    return [
        *region,
        *(f"{body}.{name}" for name in plain),
        *([unread] if "unread" in envelope else ()),
        Column("id", lambda each: each.name.rpartition("/")[2]),
    ]


def _get_command(records: RecordsOf) -> Command:
    def get(
        context: typer.Context,
        name: Annotated[
            str,
            typer.Argument(
                help="Full name, or COLLECTION/ID.", autocompletion=records.words.record_names
            ),
        ],
        at: Annotated[str | None, typer.Option(help=AT_HELP, hidden=not records.keeps_past)] = None,
    ) -> None:
        """Show one record with all its fields."""
        moment = parse_time(at, "--at") if at else None
        connection = connection_of(context)
        request = pb.GetRecordRequest(name=connection.full_name(name), read_time=moment)
        with connection.channel() as channel:
            write_message(records.stub(channel).GetRecord(request), connection.output)

    return get


def _kinds_command(records: RecordsOf) -> Command:
    def kinds(context: typer.Context) -> None:
        """List the collections and what they hold."""
        connection = connection_of(context)
        with connection.channel() as channel:
            answer = records.stub(channel).ListKinds(pb.ListKindsRequest())
            write_messages(answer.kinds, connection.output, ["collection", "description"])

    return kinds
