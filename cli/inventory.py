"""`secmesh inventory`: collect AWS accounts and look at what was found."""

from collections.abc import Iterator
from itertools import chain
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from cli import aggregate, changes, history, policy
from cli.completion import collections, record_names
from cli.connection import Connection, connection_of
from cli.exit_codes import ExitCode
from cli.moments import parse_time
from cli.output import Column, talk, visible, write_message, write_messages
from secmesh.inventory.v1 import (
    record_pb2,
    record_service_pb2_grpc,
    sync_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.records.v1 import record_requests_pb2
from secmesh_client import StreamCut, items, watch

app = typer.Typer(help="Collect AWS accounts and look at what was found.", no_args_is_help=True)
app.add_typer(history.app)
app.add_typer(aggregate.app)
app.add_typer(policy.app)
app.add_typer(changes.app)

AT_HELP = "Show what stood at a time, such as 2026-01-31T12:00:00Z; else what stands now."
RunName = Annotated[str, typer.Argument(help="Name of the run, as `syncs` lists it, or its id.")]

PATIENCE = 30.0
"""Seconds without an answer after which a run is no longer followed."""
SHOWN_FIELDS = 6
"""Fields of the body that a table shows, the first of the contract."""


@app.command()
def sync(
    context: typer.Context,
    account: Annotated[str, typer.Option(help="AWS account id, 12 digits.")],
    region: Annotated[
        list[str] | None,
        typer.Option(help="Region to read, any number of times; else the server's default."),
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            help="Collection to read, any number of times; else all.", autocompletion=collections
        ),
    ] = None,
) -> None:
    """Collect an account and follow the run to its end."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        wanted = sync_pb2.Sync(cloud_account_id=account, regions=region, collections=collection)
        request = sync_service_pb2.StartSyncRequest(parent=connection.tenant, sync=wanted)
        done = follow(stub, stub.StartSync(request))
        write_message(done, connection.output)
    finish(done)


def finish(done: sync_pb2.Sync) -> None:
    """Leave with the exit code of a run that ended."""
    if done.state == sync_pb2.Sync.STATE_FAILED:
        talk.print(visible(done.error.message), markup=False, style="bold red")
        raise typer.Exit(ExitCode.REFUSED)
    if done.progress.denied or done.state == sync_pb2.Sync.STATE_PARTIAL:
        told = f"Some reads were not answered: secmesh inventory manifest {done.name}"
        talk.print(told, markup=False, soft_wrap=True)


def follow(stub: sync_service_pb2_grpc.SyncServiceStub, run: sync_pb2.Sync) -> sync_pb2.Sync:
    """Show a run's progress until it ends; give its last state."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        console=talk,
        transient=True,
    )
    with bar:
        task = bar.add_task(f"account {run.cloud_account_id}", total=None, counts="")
        request = sync_service_pb2.WatchSyncRequest(name=run.name)
        try:
            for event in watch(stub.WatchSync, request, patience=PATIENCE):
                run = event.sync
                counts = f"{run.progress.resources} resources, {run.progress.calls} calls"
                bar.update(
                    task,
                    total=run.progress.units or None,
                    completed=run.progress.units_done,
                    counts=counts,
                )
        except StreamCut:
            talk.print("The stream was cut; the run goes on: secmesh inventory syncs")
            raise typer.Exit(ExitCode.UNREACHABLE) from None
    return run


@app.command()
def ls(
    context: typer.Context,
    collection: Annotated[
        str,
        typer.Argument(help="Such as s3_buckets; `kinds` lists them.", autocompletion=collections),
    ],
    filter_: Annotated[
        str, typer.Option("--filter", help='CEL condition, such as `encryption == "NONE"`.')
    ] = "",
    order_by: Annotated[str, typer.Option(help="Such as `last_login desc, username`.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most records; 0 means all.")] = 100,
    at: Annotated[str | None, typer.Option(help=AT_HELP)] = None,
) -> None:
    """List the records of a collection."""
    moment = parse_time(at, "--at") if at else None
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        request = record_requests_pb2.ListRecordsRequest(
            parent=f"{connection.tenant}/{collection}",
            filter=filter_,
            order_by=order_by,
            read_time=moment,
        )
        records = list_records(stub, request, limit)
        first = next(records, None)
        if first is None:
            write_messages([], connection.output, ["name"])
        else:
            write_messages(chain([first], records), connection.output, shown_columns(first))


def list_records(
    stub: record_service_pb2_grpc.RecordServiceStub,
    request: record_requests_pb2.ListRecordsRequest,
    limit: int,
) -> Iterator[record_pb2.Record]:
    """Read records page by page."""
    return items(stub.ListRecords, request, lambda page: page.records, limit)


def shown_columns(record: record_pb2.Record) -> list[str | Column]:
    """Choose a table's columns: the body's first plain fields, what is unread, the id."""
    body = record.WhichOneof("body")
    if body is None:  # a kind newer than this command
        return ["name", "region"]
    fields = getattr(record, body).DESCRIPTOR.fields
    plain = [field.name for field in fields if not field.is_repeated][:SHOWN_FIELDS]
    return [
        "region",
        *(f"{body}.{name}" for name in plain),
        Column("unread", lambda each: ", ".join(unread.field for unread in each.unread)),
        Column("id", lambda each: each.name.rpartition("/")[2]),
    ]


@app.command()
def get(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Full name, or COLLECTION/ID.", autocompletion=record_names)
    ],
    at: Annotated[str | None, typer.Option(help=AT_HELP)] = None,
) -> None:
    """Show one record with all its fields."""
    moment = parse_time(at, "--at") if at else None
    connection = connection_of(context)
    full = name if name.startswith("tenants/") else f"{connection.tenant}/{name}"
    with connection.channel() as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        record = stub.GetRecord(record_requests_pb2.GetRecordRequest(name=full, read_time=moment))
        write_message(record, connection.output)


@app.command()
def kinds(context: typer.Context) -> None:
    """List the collections and what they hold."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        answer = stub.ListKinds(record_requests_pb2.ListKindsRequest())
        write_messages(answer.kinds, connection.output, ["collection", "description"])


@app.command()
def syncs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=0, help="Most runs; 0 means all.")] = 20,
) -> None:
    """List collection runs, the newest first."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        request = sync_service_pb2.ListSyncsRequest(parent=connection.tenant)
        columns = ["name", "cloud_account_id", "state", "start_time", "end_time"]
        counters = [f"progress.{name}" for name in ("resources", "rows_written", "denied")]
        runs = items(stub.ListSyncs, request, lambda page: page.syncs, limit)
        write_messages(runs, connection.output, columns + counters)


def run_name(connection: Connection, name: str) -> str:
    """Give the full name of a run from its name or its id alone."""
    return name if name.startswith("tenants/") else f"{connection.tenant}/syncs/{name}"


@app.command()
def cancel(context: typer.Context, name: RunName) -> None:
    """End a run; what it has collected stays."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        request = sync_service_pb2.CancelSyncRequest(name=run_name(connection, name))
        write_message(stub.CancelSync(request), connection.output)


@app.command()
def resume(context: typer.Context, name: RunName) -> None:
    """Go on with a run that broke off, failed or was cancelled, and follow it to its end."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        request = sync_service_pb2.ResumeSyncRequest(name=run_name(connection, name))
        done = follow(stub, stub.ResumeSync(request))
        write_message(done, connection.output)
    finish(done)


@app.command()
def manifest(
    context: typer.Context,
    name: RunName,
    filter_: Annotated[
        str, typer.Option("--filter", help="CEL condition on the entries.")
    ] = "outcome != READ_OUTCOME_READ && outcome != READ_OUTCOME_ABSENT",
) -> None:
    """List how a run's reads were answered; by default those that were not."""
    connection = connection_of(context)
    full = run_name(connection, name)
    with connection.channel() as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        request = sync_service_pb2.ListManifestEntriesRequest(parent=full, filter=filter_)
        columns = ["region", "collection", "operation", "action", "outcome", "code", "calls"]
        entries = items(stub.ListManifestEntries, request, lambda page: page.manifest_entries)
        write_messages(entries, connection.output, columns)
