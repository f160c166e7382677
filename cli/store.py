"""`secmesh inventory stats|sample|reset|reload|load|check-store`: what is stored, upkeep."""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.inventory import finish, follow
from cli.one_message import document_in
from cli.output import Column, OutputFormat, talk, visible, write_message, write_messages
from cli.records import shown_columns
from secmesh.inventory.v1 import store_service_pb2_grpc, sync_service_pb2_grpc
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sqlite_import_pb2 import ImportedTable, ImportSqliteRequest
from secmesh.inventory.v1.store_service_pb2 import (
    CheckStoreProgress,
    CheckStoreRequest,
    CollectionStats,
    GetStatsRequest,
    LoadRecordsRequest,
    ReloadAccountRequest,
    ResetAccountRequest,
    ResetAccountResponse,
    SampleRecordsRequest,
    StoreFinding,
    StoreStats,
)

app = typer.Typer(help="What is stored, and its upkeep.")

Account = Annotated[str, typer.Option(help="AWS account id, 12 digits.")]


@app.command()
def stats(context: typer.Context) -> None:
    """Count what is stored, and tell where."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = store_service_pb2_grpc.StoreServiceStub(channel)
        answer = stub.GetStats(GetStatsRequest(parent=connection.tenant))
    if connection.output is OutputFormat.TABLE:
        _show(answer)
    else:
        write_message(answer, connection.output)


def _show(stats: StoreStats) -> None:
    columns = list(CollectionStats.DESCRIPTOR.fields_by_name)
    stored = [each for each in stats.collections if each.current_rows or each.past_rows]
    write_messages(stored, OutputFormat.TABLE, columns)
    last = [f"last_sync.{name}" for name in ("name", "state", "end_time")]
    accounts = ["cloud_account_id", "current_rows", "past_rows", "runs", *last]
    write_messages(stats.accounts, OutputFormat.TABLE, accounts)
    talk.print(
        f"{stats.database} {stats.database_version}, {stats.store_bytes} bytes in all; "
        f"contract {stats.contract_digest[:12]}",
        markup=False,
    )
    schedule = stats.backup_schedule
    if schedule.failure:
        when = schedule.failure_time.ToJsonString()
        told = visible(f"Scheduled backups fail, last at {when}: {schedule.failure}")
        talk.print(told, markup=False, style="bold red")


@app.command()
def sample(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(help="Such as s3_buckets; else each.")] = "-",
    size: Annotated[int, typer.Option(min=1, max=100, help="Records of each collection.")] = 3,
    seed: Annotated[int, typer.Option(help="Another number gives another sample.")] = 0,
) -> None:
    """Show some records of a collection, or of each."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = store_service_pb2_grpc.StoreServiceStub(channel)
        parent = f"{connection.tenant}/{collection}"
        answer = stub.SampleRecords(SampleRecordsRequest(parent=parent, size=size, seed=seed))
    if connection.output is not OutputFormat.TABLE:
        write_messages(answer.records, connection.output, [])
        return
    for name, records in groupby(answer.records, key=_collection):
        chosen = list(records)
        write_messages(chosen, OutputFormat.TABLE, shown_columns(chosen[0]), title=name)


def _collection(record: Record) -> str:
    return record.name.split("/")[2]


@app.command()
def reset(
    context: typer.Context,
    account: Account,
    account_again: Annotated[
        str, typer.Option(help="The account id once more; asked for on a terminal.")
    ] = "",
    dry_run: Annotated[bool, typer.Option(help="Only count what would be deleted.")] = False,
) -> None:
    """Delete an account's records, all versions, and its runs."""
    connection = connection_of(context)
    request = ResetAccountRequest(
        parent=connection.tenant,
        cloud_account_id=account,
        confirm_cloud_account_id=account_again,
        validate_only=True,
    )
    with connection.channel() as channel:
        stub = store_service_pb2_grpc.StoreServiceStub(channel)
        if not dry_run:
            if not account_again:
                _require_terminal()
                request.confirm_cloud_account_id = _confirmed(stub.ResetAccount(request), account)
            request.validate_only = False
        answer = stub.ResetAccount(request)
    write_messages(answer.deleted, connection.output, ["collection", "rows"])


def is_interactive() -> bool:
    """Tell whether someone can be asked."""
    return sys.stdin.isatty()


def _require_terminal() -> None:
    if not is_interactive():
        raise UsageProblem("say --account-again ID: what is reset is gone")


def _confirmed(counted: ResetAccountResponse, account: str) -> str:
    """Ask for the account's id."""
    rows = sum(each.rows for each in counted.deleted)
    talk.print(f"{rows} rows of account {account} will be deleted.", markup=False)
    typed: str = typer.prompt("Type the account id to go on", err=True)
    return typed.strip()


@app.command()
def reload(context: typer.Context, account: Account) -> None:
    """Read all of an account again, wherever it was ever read, and follow the run."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = store_service_pb2_grpc.StoreServiceStub(channel)
        request = ReloadAccountRequest(parent=connection.tenant, cloud_account_id=account)
        syncs = sync_service_pb2_grpc.SyncServiceStub(channel)
        done = follow(syncs, stub.ReloadAccount(request))
        write_message(done, connection.output)
    finish(done)


@app.command()
def load(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="Records, as `-o ndjson ls` writes them."),
    ],
    account: Account,
    dry_run: Annotated[bool, typer.Option(help="Only tell what would be done.")] = False,
) -> None:
    """Load records from a file, all of them or none."""
    connection = connection_of(context)
    request = LoadRecordsRequest(
        parent=connection.tenant,
        cloud_account_id=account,
        document=document_in(file, LoadRecordsRequest),
        validate_only=dry_run,
    )
    with connection.channel() as channel:
        stub = store_service_pb2_grpc.StoreServiceStub(channel)
        write_message(stub.LoadRecords(request), connection.output)


@app.command("import-sqlite")
def import_sqlite(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="An old `protecht.db`.")
    ],
    account: Account,
    region: Annotated[str, typer.Option(help="Region of the things that have one.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Only tell what would be done.")] = False,
) -> None:
    """Import an old database, and tell what of it was not taken."""
    connection = connection_of(context)
    request = ImportSqliteRequest(
        parent=connection.tenant,
        cloud_account_id=account,
        region=region,
        document=document_in(file, ImportSqliteRequest),
        validate_only=dry_run,
    )
    with connection.channel() as channel:
        stub = store_service_pb2_grpc.StoreServiceStub(channel)
        answer = stub.ImportSqlite(request)
    if connection.output is not OutputFormat.TABLE:
        write_message(answer, connection.output)
        return
    counts = ["table", "collection", "rows", "written", "unchanged", "outdated", "refused"]
    left = Column("columns not taken", _columns_left)
    write_messages(answer.tables, OutputFormat.TABLE, [*counts, left])
    for table in answer.tables:
        for each in table.problems:
            place = f"{table.table} row {each.row} {each.column}".rstrip()
            talk.print(visible(f"{place}: {each.problem}"), markup=False)


def _columns_left(table: ImportedTable) -> str:
    return ", ".join(column.column for column in table.columns if not column.field)


@app.command("check-store")
def check_store(
    context: typer.Context,
    optimise: Annotated[
        bool, typer.Option(help="Then give free space back and renew the planner's numbers.")
    ] = False,
) -> None:
    """Look at the whole store, every tenant's rows; leave with 1 if something is wrong."""
    connection = connection_of(context)
    at = CheckStoreProgress()
    whole = False

    def findings(stub: store_service_pb2_grpc.StoreServiceStub) -> Iterator[StoreFinding]:
        nonlocal whole
        for event in stub.CheckStore(CheckStoreRequest(optimise=optimise)):
            if event.WhichOneof("event") == "finding":
                yield event.finding
            elif event.WhichOneof("event") == "progress":
                at.CopyFrom(event.progress)
            else:
                whole = True

    with connection.channel() as channel:
        found = findings(store_service_pb2_grpc.StoreServiceStub(channel))
        write_messages(found, connection.output, list(StoreFinding.DESCRIPTOR.fields_by_name))
    if not whole:
        talk.print("The stream was cut; the rest was not looked at.")
        raise typer.Exit(ExitCode.UNREACHABLE)
    talk.print(f"{at.rows} rows, {at.findings} findings")
    if at.findings:
        raise typer.Exit(ExitCode.REFUSED)
