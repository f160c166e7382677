"""`secmesh crypto rotate` and `rollback`: keys replaced by new versions, and back."""

import time
from typing import Annotated

import grpc
import typer

from cli.connection import Connection, connection_of
from cli.enum_words import enum_value, offered
from cli.exit_codes import ExitCode
from cli.output import write_message
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from secmesh.crypto.v1.key_service_pb2_grpc import KeyServiceStub

SECONDS = 0.5
"""Between looks at a rotation that is waited for."""
Wait = Annotated[bool, typer.Option(help="Wait until it ended; else it goes on by itself.")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of people's data."""
    app.command()(rotate)
    app.command()(rollback)


def rotate(
    context: typer.Context,
    key: Annotated[
        str,
        typer.Argument(
            help="kms-cmk, tenant-kek, user-dek or app-key.",
            autocompletion=offered(key_pb2.KeyType.DESCRIPTOR),
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be written.")
    ] = False,
    wait: Wait = True,
) -> None:
    """Replace a key by a new version, while calls go on."""
    connection = connection_of(context)
    key_type = enum_value(key_pb2.KeyType.DESCRIPTOR, key, "key")
    request = pb.PlanRotationRequest(
        parent=connection.tenant, key_type=key_pb2.KeyType.Value(key_type)
    )
    with connection.channel() as channel:
        rotation = KeyServiceStub(channel).PlanRotation(request)
        if not dry_run:
            started = pb.RunRotationRequest(name=rotation.name)
            rotation = KeyServiceStub(channel).RunRotation(started)
            rotation = ended(channel, rotation, wait=wait)
    _show(connection, rotation)


def rollback(
    context: typer.Context,
    rotation: Annotated[str, typer.Argument(help="Full name, or key_rotations/ID.")],
    wait: Wait = True,
) -> None:
    """Undo a rotation, while calls go on."""
    connection = connection_of(context)
    request = pb.RollBackRotationRequest(name=connection.full_name(rotation))
    with connection.channel() as channel:
        undoing = KeyServiceStub(channel).RollBackRotation(request)
        undoing = ended(channel, undoing, wait=wait)
    _show(connection, undoing)


def ended(
    channel: grpc.Channel, rotation: key_pb2.KeyRotation, *, wait: bool = True
) -> key_pb2.KeyRotation:
    """Give a rotation as it is when nobody works on it any more, at once without ``wait``."""
    while wait and rotation.status == key_pb2.KEY_ROTATION_STATUS_RUNNING:
        time.sleep(SECONDS)
        asked = pb.GetRotationRequest(name=rotation.name)
        rotation = KeyServiceStub(channel).GetRotation(asked)
    return rotation


def _show(connection: Connection, rotation: key_pb2.KeyRotation) -> None:
    """Print a rotation; one that failed ends the program as what is refused does."""
    write_message(rotation, connection.output)
    if rotation.status == key_pb2.KEY_ROTATION_STATUS_FAILED:
        raise typer.Exit(ExitCode.REFUSED)
