"""`secmesh inventory backup|backups|restore|delete-backup`: the whole store, every tenant in it."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from cli.connection import UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.output import enum_word, talk, write_message, write_messages
from secmesh.inventory.v1.backup_pb2 import Backup, BackupProgress
from secmesh.inventory.v1.backup_service_pb2 import (
    CreateBackupRequest,
    DeleteBackupRequest,
    ListBackupsRequest,
    RestoreBackupRequest,
    RestoreResult,
)
from secmesh.inventory.v1.backup_service_pb2_grpc import BackupServiceStub
from secmesh_client import items

app = typer.Typer(help="Back up and restore the whole store.")

BackupName = Annotated[str, typer.Argument(help="Name of the backup, as `backups` lists it.")]
COLUMNS = [
    "name",
    "create_time",
    "origin",
    "database",
    "size_bytes",
    "encryption_key_id",
    "problem",
]


@app.command()
def backup(context: typer.Context) -> None:
    """Back up the whole store, and read the backup back."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = BackupServiceStub(channel)
        made = _follow(stub.CreateBackup(CreateBackupRequest()), "backup")
    write_message(made, connection.output)


@app.command()
def backups(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=0, help="Most backups; 0 means all.")] = 20,
) -> None:
    """List backups, the newest first."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = BackupServiceStub(channel)
        found = items(stub.ListBackups, ListBackupsRequest(), lambda page: page.backups, limit)
        write_messages(found, connection.output, COLUMNS)


@app.command()
def restore(
    context: typer.Context,
    name: BackupName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only tell whether it could be done.")] = False,
) -> None:
    """Replace the whole store, every tenant's rows, by a backup."""
    connection = connection_of(context)
    request = RestoreBackupRequest(name=_full(name), validate_only=dry_run)
    if not (yes or dry_run):
        if not sys.stdin.isatty():
            raise UsageProblem("say --yes: a restore replaces every tenant's rows")
        typer.confirm(f"Replace every tenant's rows by {request.name}?", abort=True, err=True)
    with connection.channel() as channel:
        done = _follow(BackupServiceStub(channel).RestoreBackup(request), "result")
    write_message(done, connection.output)
    talk.print("It can be restored." if dry_run else "Restored.")


@app.command("delete-backup")
def delete_backup(context: typer.Context, name: BackupName) -> None:
    """Delete a backup."""
    connection = connection_of(context)
    with connection.channel() as channel:
        BackupServiceStub(channel).DeleteBackup(DeleteBackupRequest(name=_full(name)))
    talk.print("Deleted.")


def _full(name: str) -> str:
    return name if name.startswith("backups/") else f"backups/{name}"


def _follow(events: Iterable[Any], wanted: str) -> Backup | RestoreResult:
    """Show how far it is until the end; give what it made."""
    made: Backup | RestoreResult | None = None
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        console=talk,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)
        for event in events:
            kind = event.WhichOneof("event")
            if kind == "progress":
                phase = enum_word(BackupProgress.Phase.DESCRIPTOR, event.progress.phase)
                total = event.progress.total or None
                bar.update(task, description=phase, completed=event.progress.done, total=total)
            elif kind == wanted:
                made = getattr(event, wanted)
            elif kind == "ended" and made is not None:
                return made
    talk.print("The stream was cut; nobody knows whether it was done: secmesh inventory backups")
    raise typer.Exit(ExitCode.UNREACHABLE)
