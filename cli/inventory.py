"""`secmesh inventory`: collect AWS accounts and look at what was found."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from cli import events, history, many_syncs, organizations, policy
from cli.accounts import account_name
from cli.completion import collections
from cli.connection import Connection, UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.output import talk, visible, write_message, write_messages
from cli.record_service import INVENTORY
from cli.records import record_commands
from secmesh.inventory.v1 import (
    sync_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.inventory.v1.sync_pb2 import ManifestEntry
from secmesh.tenancy.v1.account_service_pb2 import GetAccountRequest
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceStub
from secmesh_client import StreamCut, items, watch

app = typer.Typer(help="Collect AWS accounts and look at what was found.", no_args_is_help=True)
app.add_typer(history.app)
app.add_typer(events.app, name="events")
app.add_typer(policy.app)
app.add_typer(organizations.app, name="accounts")
app.add_typer(record_commands(INVENTORY))

RunName = Annotated[str, typer.Argument(help="Name of the run, as `syncs` lists it, or its id.")]

_CLOUD_ID = re.compile(r"[0-9]{12}")
_COLUMNS = (
    *("name", "cloud_account_id", "state", "start_time", "end_time"),
    *(f"progress.{name}" for name in ("resources", "rows_written", "denied")),
)
PATIENCE = 30.0
"""Seconds without an answer after which a run is no longer followed."""


@app.command()
def sync(
    context: typer.Context,
    account: Annotated[
        str,
        typer.Option(help="AWS account id, 12 digits; or an account of `accounts`, by its id."),
    ] = "",
    all_accounts: Annotated[
        bool, typer.Option("--all-accounts", help="All AWS accounts of `accounts`, a run for each.")
    ] = False,
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
    """Collect an account, or all of them, and follow the runs to their end."""
    if bool(account) == all_accounts:
        raise UsageProblem("give an --account, or --all-accounts")
    connection = connection_of(context)
    wanted = sync_pb2.Sync(regions=region, collections=collection)
    if all_accounts:
        _sync_all(connection, wanted)
        return
    with connection.channel() as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        if _CLOUD_ID.fullmatch(account):
            wanted.cloud_account_id = account
        else:
            wanted.account = account_name(connection, account)
            kept = AccountServiceStub(channel).GetAccount(GetAccountRequest(name=wanted.account))
            wanted.cloud_account_id = kept.cloud_account_id
        request = sync_service_pb2.StartSyncRequest(parent=connection.tenant, sync=wanted)
        done = follow(stub, stub.StartSync(request))
        write_message(done, connection.output)
    finish(done)


def _sync_all(connection: Connection, wanted: sync_pb2.Sync) -> None:
    """Collect all accounts of the tenant; a success if each was."""
    with connection.channel() as channel:
        stub = sync_service_pb2_grpc.SyncServiceStub(channel)
        accounts = list(many_syncs.accounts_to_read(connection, channel))
        started = many_syncs.start_all(stub, accounts, wanted)
        done = many_syncs.follow_all(stub, connection.tenant, started, PATIENCE)
        covered = (run.cloud_account_id for run in done)
        organizations.tell_uncovered(connection, channel, covered)
    write_messages(done, connection.output, _COLUMNS)
    for run in done:
        _tell_unanswered(run)
    failed = [run for run in done if run.state == sync_pb2.Sync.STATE_FAILED]
    for run in failed:
        told = f"{run.cloud_account_id}: {run.error.message}"
        talk.print(visible(told), markup=False, style="bold red")
    if failed or len(done) < len(accounts):
        raise typer.Exit(ExitCode.REFUSED)


def finish(done: sync_pb2.Sync) -> None:
    """Leave with the exit code of a run that ended."""
    if done.state == sync_pb2.Sync.STATE_FAILED:
        talk.print(visible(done.error.message), markup=False, style="bold red")
        raise typer.Exit(ExitCode.REFUSED)
    _tell_unanswered(done)


def _tell_unanswered(done: sync_pb2.Sync) -> None:
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
        except KeyboardInterrupt:
            told = f"The run goes on; end it with: secmesh inventory cancel {run.name}"
            talk.print(told, markup=False, soft_wrap=True)
            raise
    return run


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
        runs = items(stub.ListSyncs, request, lambda page: page.syncs, limit)
        write_messages(runs, connection.output, _COLUMNS)


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
        advice: dict[str, str] = {}
        write_messages(_noted(entries, advice), connection.output, columns)
    for code, told in advice.items():
        talk.print(visible(f"{code}: {told}"), markup=False, soft_wrap=True)


def _noted(entries: Iterable[ManifestEntry], advice: dict[str, str]) -> Iterator[ManifestEntry]:
    """Give entries as they come, and note what to do about each code."""
    for each in entries:
        if each.advice:
            advice[each.code] = each.advice
        yield each
