"""`secmesh security transition` and `history`: the life of a finding."""

from typing import Annotated

import typer
from google.protobuf.descriptor import EnumDescriptor

from cli.connection import Connection, UsageProblem, connection_of
from cli.enum_words import enum_value
from cli.moments import parse_time
from cli.output import Column, write_message, write_messages
from secmesh.options.v1 import kind_pb2
from secmesh.security.v1 import finding_service_pb2, finding_service_pb2_grpc, record_pb2
from secmesh.security.v1.finding_event_pb2 import FindingEvent
from secmesh_client import items

Name = Annotated[str, typer.Argument(help="Full name, or COLLECTION/ID.")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of security records."""
    app.command()(transition)
    app.command()(history)


def transition(
    context: typer.Context,
    name: Name,
    status: Annotated[str, typer.Argument(help="The status to come, such as confirmed.")],
    reason: Annotated[str, typer.Option(help="Why; some statuses must have it.")] = "",
    until: Annotated[str, typer.Option(help="Time until which a risk is accepted.")] = "",
    resolution: Annotated[str, typer.Option(help="What was decided, such as fixed.")] = "",
    etag: Annotated[str, typer.Option(help="The etag that it must still have.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Only say what would be.")] = False,
) -> None:
    """Change the status of a finding."""
    connection = connection_of(context)
    full = _full(name, connection)
    request = finding_service_pb2.TransitionFindingRequest(
        name=full,
        status=_value(full, "status", status),
        justification=reason,
        expire_time=parse_time(until, "--until") if until else None,
        resolution=_value(full, "resolution", resolution) if resolution else "",
        etag=etag,
        validate_only=dry_run,
    )
    with connection.channel() as channel:
        stub = finding_service_pb2_grpc.FindingServiceStub(channel)
        write_message(stub.TransitionFinding(request), connection.output)


def history(
    context: typer.Context,
    name: Name,
    limit: Annotated[int, typer.Option(min=0, help="Most steps; 0 means all.")] = 0,
) -> None:
    """List the steps in the life of a finding, oldest first."""
    connection = connection_of(context)
    request = finding_service_pb2.ListFindingHistoryRequest(parent=_full(name, connection))
    with connection.channel() as channel:
        stub = finding_service_pb2_grpc.FindingServiceStub(channel)
        steps = items(stub.ListFindingHistory, request, lambda page: page.events, limit)
        columns: list[str | Column] = ["event_time", "actor", "from_status", "to_status"]
        columns += ["justification", Column("fields", _fields)]
        write_messages(steps, connection.output, columns)


def _fields(event: FindingEvent) -> str:
    """Write what a step changed, one field on a line."""
    lines = []
    for each in event.fields:
        old = each.old_value if each.HasField("old_value") else "absent"
        new = each.new_value if each.HasField("new_value") else "absent"
        lines.append(f"{each.field}: {old} -> {new}")
    return "\n".join(lines)


def _full(name: str, connection: Connection) -> str:
    return name if name.startswith("tenants/") else f"{connection.tenant}/{name}"


def _value(name: str, field: str, word: str) -> str:
    """Give the value of an enum that a word means, with or without its prefix."""
    enum = _enum(name, field)
    if enum is None:
        raise UsageProblem(f"{name} is of no kind with a {field}")
    return enum_value(enum, word, field)


def _enum(name: str, field: str) -> EnumDescriptor | None:
    """Find the enum of a field of the kind that a name is of."""
    collection = (name.split("/")[2:3] or [""])[0]
    for body in record_pb2.Record.DESCRIPTOR.oneofs_by_name["body"].fields:
        message = body.message_type
        if message is None:
            continue
        kind = message.GetOptions().Extensions[kind_pb2.kind]
        if kind.collection == collection and field in message.fields_by_name:
            return message.fields_by_name[field].enum_type
    return None
