"""`secmesh crypto stats` and `check`: what was sealed and done, and whether all is there."""

from collections.abc import Iterator
from typing import Annotated

import typer
from google.protobuf.message import Message

from cli.connection import Connection, connection_of
from cli.exit_codes import ExitCode
from cli.output import OutputFormat, write_message, write_messages
from secmesh.crypto.v1 import statistics_service_pb2 as pb
from secmesh.crypto.v1.statistics_service_pb2_grpc import StatisticsServiceStub


def register(app: typer.Typer) -> None:
    """Add the commands to those of people's data."""
    app.command()(stats)
    app.command()(check)


def stats(
    context: typer.Context,
    days: Annotated[
        int, typer.Option(min=1, max=366, help="Days of the audit to look at, back from now.")
    ] = 7,
    database: Annotated[
        bool,
        typer.Option("--database", help="Sizes, indexes and connections of all tenants' database."),
    ] = False,
) -> None:
    """Count sealed values, operations, failures, principals, rotations and keys by age.

    `--database` needs the role `platform`.
    """
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = StatisticsServiceStub(channel)
        if database:
            _show(connection, stub.GetDatabaseUsage(pb.GetDatabaseUsageRequest()))
        else:
            name = f"{connection.tenant}/statistics"
            _show(connection, stub.GetStatistics(pb.GetStatisticsRequest(name=name, days=days)))


def check(context: typer.Context) -> None:
    """Hold database and custodians against what the service needs; exit code 1 if not all is there.

    Needs the role `platform`. Where the service does not run: `python -m services.crypto check`.
    """
    connection = connection_of(context)
    with connection.channel() as channel:
        answer = StatisticsServiceStub(channel).CheckInstallation(pb.CheckInstallationRequest())
    write_messages(answer.checks, connection.output, _titles(pb.InstallationCheck()))
    if not all(each.passed for each in answer.checks):
        raise typer.Exit(ExitCode.REFUSED)


def _show(connection: Connection, answer: Message) -> None:
    """Write an answer; as text each of its lists is a table, called as its field."""
    if connection.output is not OutputFormat.TABLE:
        write_message(answer, connection.output)
        return
    for name, rows in _lists(answer):
        write_messages(rows, OutputFormat.TABLE, _titles(rows[0]), title=name.replace("_", " "))


def _lists(answer: Message) -> Iterator[tuple[str, list[Message]]]:
    for field, value in answer.ListFields():
        if field.is_repeated:
            yield field.name, list(value)


def _titles(message: Message) -> list[str]:
    return [field.name for field in message.DESCRIPTOR.fields]
