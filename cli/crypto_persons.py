"""`secmesh crypto put|get|ls|find`: persons, masked unless a purpose asks for more."""

from typing import Annotated

import typer

from cli.completion import words
from cli.connection import Connection, UsageProblem, connection_of
from cli.output import write_message, write_messages
from cli.persons import (
    SEALED,
    offered_fields,
    paths_of,
    read_user,
    read_values,
    set_values,
    user_name,
)
from secmesh.crypto.v1 import user_service_pb2 as pb
from secmesh.crypto.v1.user_pb2 import User
from secmesh.crypto.v1.user_service_pb2_grpc import UserServiceStub
from secmesh_client import items

_SHOWN = ("name", "email", "first_name", "last_name", "phone", "masked")
Person = Annotated[str, typer.Argument(help="Its id, users/ID, or full name.")]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        help="NAME=VALUE of what is kept in clear; NAME=- to be asked, or to read a line of "
        "standard input; NAME=@FILE; NAME= takes it away. Any number of times.",
        autocompletion=offered_fields,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to those of people's data."""
    for command in (put, get, ls, find):
        app.command()(command)


def put(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(help="A person as JSON, as `get -o json` writes it; - for standard input."),
    ] = "",
    field: Values = None,
    user: Annotated[str, typer.Option(help="The person to change: id or full name.")] = "",
    new_id: Annotated[
        str, typer.Option("--id", help="UUID of version 7 for a new one, to be sent again safely.")
    ] = "",
) -> None:
    """Store a person, or change one; it is answered masked.

    Values that are sealed never stand on the command line, where other users and the shell's
    history see them. A person with a name is changed, and with an etag only if it still has it.
    """
    if not file and not field:
        raise UsageProblem("give a file, or --field")
    person = read_user(file) if file else User()
    values = read_values(field or ())
    set_values(person, values)
    connection = connection_of(context)
    if user:
        person.name = user
    if person.name and new_id:
        raise UsageProblem("--id is for a new person; this one has a name")
    with connection.channel() as channel:
        stub = UserServiceStub(channel)
        if person.name:
            done = stub.UpdateUser(_update(connection, person, values))
        else:
            asked = pb.CreateUserRequest(parent=connection.tenant, user=person, user_id=new_id)
            done = stub.CreateUser(asked)
    write_message(done, connection.output)


def get(
    context: typer.Context,
    user: Person,
    unmask: Annotated[
        list[str] | None,
        typer.Option(
            help="Sealed field to show, any number of times.", autocompletion=words(SEALED)
        ),
    ] = None,
    purpose: Annotated[
        str, typer.Option(help="What the values are for: a purpose of the tenant.")
    ] = "",
) -> None:
    """Show a person; what is sealed is masked, unless a purpose and a permission allow it."""
    connection = connection_of(context)
    name = user_name(connection, user)
    request = pb.GetUserRequest(name=name, unmask=unmask or (), purpose=purpose)
    with connection.channel() as channel:
        write_message(UserServiceStub(channel).GetUser(request), connection.output)


def ls(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=0, help="Most persons; 0 means all.")] = 100,
) -> None:
    """List persons in the order in which they were stored, masked."""
    connection = connection_of(context)
    request = pb.ListUsersRequest(parent=connection.tenant)
    with connection.channel() as channel:
        listed = UserServiceStub(channel).ListUsers
        found = items(listed, request, lambda page: page.users, limit)
        write_messages(found, connection.output, _SHOWN)


def find(
    context: typer.Context,
    value: Annotated[
        str,
        typer.Argument(
            help="NAME=VALUE, NAME=- or NAME=@FILE, as with `put`.", autocompletion=offered_fields
        ),
    ],
) -> None:
    """Find the persons who have a value, also a sealed one; they are shown masked."""
    ((name, wanted),) = read_values([value]).items()
    if not wanted:
        raise UsageProblem(f"{name} needs a value to find")
    connection = connection_of(context)
    request = pb.SearchUsersRequest(parent=connection.tenant, field=name, value=wanted)
    with connection.channel() as channel:
        answer = UserServiceStub(channel).SearchUsers(request)
    write_messages(answer.users, connection.output, _SHOWN)


def _update(
    connection: Connection, person: User, values: dict[str, str | None]
) -> pb.UpdateUserRequest:
    person.name = user_name(connection, person.name)
    request = pb.UpdateUserRequest(user=person)
    request.update_mask.paths.extend(paths_of(person, values))
    return request
