"""`secmesh crypto purposes|add-purpose|rm-purpose`: what sealed values may be read for."""

from typing import Annotated

import typer

from cli.completion import words
from cli.connection import connection_of
from cli.output import write_message, write_messages
from cli.persons import SEALED
from secmesh.crypto.v1 import config_service_pb2 as pb
from secmesh.crypto.v1.config_service_pb2_grpc import ConfigServiceStub
from secmesh_client import items

Purpose = Annotated[str, typer.Argument(help="Last part of its name, such as identity_check.")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of people's data."""
    app.command()(purposes)
    app.command("add-purpose")(add_purpose)
    app.command("rm-purpose")(rm_purpose)


def purposes(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=0, help="Most purposes; 0 means all.")] = 100,
) -> None:
    """List the purposes of a tenant."""
    connection = connection_of(context)
    request = pb.ListPurposesRequest(parent=connection.tenant)
    with connection.channel() as channel:
        listed = ConfigServiceStub(channel).ListPurposes
        found = items(listed, request, lambda page: page.purposes, limit)
        write_messages(found, connection.output, ["name", "fields", "description"])


def add_purpose(
    context: typer.Context,
    purpose: Purpose,
    field: Annotated[
        list[str],
        typer.Option(
            help="Field that may be read for it, any number of times.",
            autocompletion=words(SEALED),
        ),
    ],
    description: Annotated[str, typer.Option(help="What it means, for people.")] = "",
) -> None:
    """Let sealed fields be read for a purpose, by who has the permission for each."""
    connection = connection_of(context)
    request = pb.CreatePurposeRequest(
        parent=connection.tenant,
        purpose=pb.Purpose(fields=field, description=description),
        purpose_id=purpose,
    )
    with connection.channel() as channel:
        write_message(ConfigServiceStub(channel).CreatePurpose(request), connection.output)


def rm_purpose(context: typer.Context, purpose: Purpose) -> None:
    """Let nothing be read for a purpose any more."""
    connection = connection_of(context)
    name = connection.full_name(purpose if "/" in purpose else f"purposes/{purpose}")
    with connection.channel() as channel:
        ConfigServiceStub(channel).DeletePurpose(pb.DeletePurposeRequest(name=name))
