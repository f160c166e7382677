"""`secmesh crypto erase` and `export`: a person forgotten for good, or given all that is known."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import UsageProblem, connection_of
from cli.output import talk, write_message
from cli.persons import user_name
from secmesh.crypto.v1 import erasure_pb2 as erasures
from secmesh.crypto.v1.user_export_pb2 import ExportUserRequest
from secmesh.crypto.v1.user_service_pb2_grpc import UserServiceStub

User = Annotated[str, typer.Argument(help="The person: id, users/ID, or full name.")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of people's data."""
    app.command()(erase)
    app.command()(export)


def erase(
    context: typer.Context,
    user: User,
    user_again: Annotated[
        str, typer.Option(help="The person's id once more; asked for on a terminal.")
    ] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="Write the signed certificate into this new file.")
    ] = None,
) -> None:
    """Destroy a person's keys and data for good; answered with a signed certificate."""
    _require_new(certificate)
    connection = connection_of(context)
    name = user_name(connection, user)
    again = user_again or _asked(name)
    request = erasures.EraseUserRequest(name=name, confirm_user_id=again)
    with connection.channel() as channel:
        done = UserServiceStub(channel).EraseUser(request)
    if certificate is not None and done.certificate:
        _write(certificate, done.certificate.encode())
    write_message(done, connection.output)


def export(
    context: typer.Context,
    user: User,
    purpose: Annotated[str, typer.Option(help="Of the tenant; covers each field of the person.")],
    out: Annotated[Path, typer.Option(help="New file to write, which nobody else may read.")],
) -> None:
    """Write all that is known of a person into a signed file, in clear."""
    _require_new(out)
    connection = connection_of(context)
    request = ExportUserRequest(name=user_name(connection, user), purpose=purpose)
    with connection.channel() as channel:
        data = b"".join(part.data for part in UserServiceStub(channel).ExportUser(request))
    _write(out, data)


def _asked(name: str) -> str:
    if not sys.stdin.isatty():
        raise UsageProblem("say --user-again ID: what is erased never comes back")
    talk.print(f"{name} will be erased for good.", markup=False)
    typed: str = typer.prompt("Type the person's id to go on", err=True)
    return typed.strip()


def _require_new(path: Path | None) -> None:
    """Refuse a file that is there, before anything is done that would be written into it."""
    if path is not None and path.exists():
        raise UsageProblem(f"{path} is there already")


def _write(path: Path, data: bytes) -> None:
    """Write a file of the user's own that is not there yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
