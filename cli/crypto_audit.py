"""`secmesh crypto audit` and `verify`: what was done to people's data, and whether that holds."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import connection_of
from cli.enum_words import enum_value, offered
from cli.exit_codes import ExitCode
from cli.moments import parse_time
from cli.output import Column, OutputFormat, enum_word, write_messages
from cli.persons import user_name
from secmesh.crypto.v1 import audit_service_pb2 as pb
from secmesh.crypto.v1.audit_pb2 import AuditEntry, AuditOperation
from secmesh.crypto.v1.audit_service_pb2_grpc import AuditServiceStub
from secmesh_client import items

_VERIFIER = "services.crypto.audit"
_ANY = AuditOperation.AUDIT_OPERATION_UNSPECIFIED
_ENDED = {0: ExitCode.DONE, 1: ExitCode.FAILED_VERDICT}
"""What the verifier's exit codes mean; all others say that it could not verify."""


def register(app: typer.Typer) -> None:
    """Add the commands to those of people's data."""
    app.command()(audit)
    app.command()(verify)


def audit(
    context: typer.Context,
    user: Annotated[str, typer.Option(help="Of this person: its id, users/ID, or full name.")] = "",
    operation: Annotated[
        str,
        typer.Option(
            help="Of this operation, such as decrypt.",
            autocompletion=offered(AuditOperation.DESCRIPTOR),
        ),
    ] = "",
    principal: Annotated[str, typer.Option(help="Of this principal.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed.")] = False,
    since: Annotated[str, typer.Option(help="From this time on.")] = "",
    until: Annotated[str, typer.Option(help="Before this time.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most entries; 0 means all.")] = 100,
) -> None:
    """List what was done to people's data, the newest first."""
    connection = connection_of(context)
    selection = pb.AuditSelection(
        user=user_name(connection, user) if user else "",
        operation=_operation(operation),
        principal=principal,
        failed=failed,
        start_time=parse_time(since, "--since") if since else None,
        end_time=parse_time(until, "--until") if until else None,
    )
    request = pb.ListAuditEntriesRequest(parent=connection.tenant, selection=selection)
    with connection.channel() as channel:
        listed = AuditServiceStub(channel).ListAuditEntries
        entries = items(listed, request, lambda page: page.audit_entries, limit)
        columns: list[str | Column] = [
            "access_time",
            "principal",
            Column("operation", _operation_name),
            Column("fields", lambda entry: " ".join(each.field for each in entry.fields)),
            "purpose",
            "success",
            "error_code",
        ]
        write_messages(entries, connection.output, columns)


def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder that `export-audit` wrote.")],
    key: Annotated[list[str], typer.Option(help="Public key, as `audit-keys` printed it.")],
    anchors: Annotated[
        list[Path] | None, typer.Option(help="Folder of checkpoints kept elsewhere.")
    ] = None,
) -> None:
    """Verify an exported audit offline, and name what was done to it.

    Exits with 0 if it is whole and with 4 if it was tampered with.
    """
    command = [sys.executable, "-m", _VERIFIER, "verify", str(folder)]
    command += [f"--key={each}" for each in key]
    command += [f"--anchors={each}" for each in anchors or ()]
    if connection_of(context).output is not OutputFormat.TABLE:
        command.append("--output=json")
    # The verifier is the service's, which this program never imports.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    typer.echo(done.stdout, nl=False)
    typer.echo(done.stderr, nl=False, err=True)
    raise typer.Exit(_ENDED.get(done.returncode, ExitCode.USAGE))


def _operation_name(entry: AuditEntry) -> str:
    return enum_word(AuditOperation.DESCRIPTOR, entry.operation)


def _operation(word: str) -> AuditOperation.ValueType:
    enum = AuditOperation.DESCRIPTOR
    return AuditOperation.Value(enum_value(enum, word, "operation")) if word else _ANY
