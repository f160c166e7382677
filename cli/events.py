"""`secmesh inventory events`: have read again what events of AWS tell of, and see what turns."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from cli.changes import follow
from cli.connection import connection_of
from cli.contradictions import Filter, name_of_plan
from cli.exit_codes import ExitCode
from cli.output import (
    Column,
    OutputFormat,
    cell,
    talk,
    visible,
    write_bytes,
    write_message,
    write_messages,
)
from secmesh.inventory.v1.event_service_pb2 import (
    EventReading,
    EventResult,
    ListCheckTurnsRequest,
    PostEventsRequest,
    PostEventsResponse,
    WatchCheckTurnsRequest,
)
from secmesh.inventory.v1.event_service_pb2_grpc import EventServiceStub
from secmesh_client import items

app = typer.Typer(
    help="Have read again what events of AWS tell of, and see which checks turn by that.",
    no_args_is_help=True,
)

Account = Annotated[str, typer.Option(help="Only of this AWS account, 12 digits.")]
Check = Annotated[str, typer.Option(help="Only of this check, such as `s3.versioning`.")]
COLUMNS = ["evaluate_time", "severity", "check_id", "old_outcome", "new_outcome"]
_TURNED = [*COLUMNS, "cloud_account_id", "arn"]
_REFUSED = {
    "MALFORMED": "it is not as EventBridge delivers events",
    "ACCOUNT_UNKNOWN": "no account that was collected (`secmesh inventory stats`); sync it first",
}
"""What there is to know of an event that was not taken, by the reason."""


@app.command()
def post(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="JSON: one event as EventBridge delivers it, a list of them, or one a line.",
        ),
    ],
    wait: Annotated[
        int, typer.Option(min=0, max=25, help="Seconds to wait for what is read.")
    ] = 20,
) -> None:
    """Post events, and show what they changed and which checks turned by that.

    Exits with 1 if one of them was refused, or could not be read.
    """
    connection = connection_of(context)
    request = PostEventsRequest(parent=connection.tenant)
    request.events.extend(_events(file))
    request.wait.FromSeconds(wait)
    with connection.channel() as channel:
        answer = EventServiceStub(channel).PostEvents(request)
    if connection.output is OutputFormat.TABLE:
        _show_answer(answer)
    else:
        write_message(answer, connection.output)
    if problems := [*_problems(answer)]:
        for each in problems:
            talk.print(visible(each), markup=False, soft_wrap=True)
        raise typer.Exit(ExitCode.REFUSED)


def _show_answer(answer: PostEventsResponse) -> None:
    syncs = Column("syncs", lambda each: " ".join(each.syncs))
    columns: list[str | Column] = ["event_id", "state", "reason", syncs]
    write_messages(answer.results, OutputFormat.TABLE, columns)
    for reading in answer.readings:
        unread = Column("unread", lambda each: " ".join(each.unread_fields))
        of = Column("of", lambda each: each.arn or each.record)
        changed: list[str | Column] = ["change", of, unread]
        if reading.records:
            write_messages(reading.records, OutputFormat.TABLE, changed, _told(reading))
        else:
            talk.print(visible(f"{_told(reading)}, nothing changed"), markup=False)
        if reading.turns:
            write_messages(reading.turns, OutputFormat.TABLE, _TURNED, "checks that turned")


def _told(reading: EventReading) -> str:
    return f"{reading.sync.name}: {cell(reading.sync, 'state')}"


def _problems(answer: PostEventsResponse) -> Iterable[str]:
    """Say which events nothing came of, and why."""
    for each in answer.results:
        event = f"event {each.event_id or 'without an id'}"
        if each.state == EventResult.STATE_REFUSED:
            yield f"Refused: {event}: {each.reason}: {_REFUSED.get(each.reason, '')}".rstrip(": ")
        elif each.state == EventResult.STATE_FAILED:
            yield f"Not read: {event}; see `secmesh inventory manifest {' '.join(each.syncs)}`"


@app.command()
def watch(
    context: typer.Context,
    account: Account = "",
    check: Check = "",
    ssp: Annotated[
        str, typer.Option(help="Only of checks that this plan is weighed by; its id or full name.")
    ] = "",
    filter_: Filter = "",
    since: Annotated[
        str, typer.Option(help="Revision after which to go on; else what turns from now on.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="End after so many; 0 means never.")] = 0,
) -> None:
    """Show each check that turns until interrupted; goes on by itself when servers restart."""
    connection = connection_of(context)
    request = WatchCheckTurnsRequest(
        parent=connection.tenant,
        revision=since,
        filter=_condition(account, check, filter_),
        ssp=name_of_plan(connection, ssp),
    )
    follow(
        connection,
        lambda channel: EventServiceStub(channel).WatchCheckTurns,
        request,
        limit,
        _show,
    )


@app.command()
def turns(
    context: typer.Context,
    account: Account = "",
    check: Check = "",
    filter_: Filter = "",
    limit: Annotated[int, typer.Option(min=0, help="Most turns; 0 means all.")] = 100,
) -> None:
    """List the checks that turned by what events told of, the newest first."""
    connection = connection_of(context)
    condition = _condition(account, check, filter_)
    request = ListCheckTurnsRequest(parent=connection.tenant, filter=condition)
    with connection.channel() as channel:
        stub = EventServiceStub(channel)
        found = items(stub.ListCheckTurns, request, lambda page: page.check_turns, limit)
        write_messages(found, connection.output, _TURNED)


def _condition(account: str, check: str, filter_: str) -> str:
    """Join what is chosen by into one condition. Raises typer.BadParameter."""
    asked = {"cloud_account_id": account, "check_id": check}
    for name, value in asked.items():
        if "'" in value:
            raise typer.BadParameter(f"{value} is no {name}")
    parts = [f"{name} == r'{value}'" for name, value in asked.items() if value]
    if filter_:
        parts.append(f"({filter_})" if parts else filter_)
    return " && ".join(parts)


def _show(event: Any, output: OutputFormat) -> None:
    """Write one event at once: a line, or JSON on a line."""
    if output is not OutputFormat.TABLE:
        write_message(event, OutputFormat.NDJSON)
        return
    turned = event.check_turn
    of = turned.arn or turned.record or turned.subject
    cells = [cell(turned, name) or "-" for name in COLUMNS]
    write_bytes(f"{'  '.join([event.revision, *cells, of])}\n".encode(errors="backslashreplace"))


def _events(file: Path) -> list[Struct]:
    """Read the events of a file. Raises typer.BadParameter."""
    try:
        read = _read(file.read_bytes())
    except orjson.JSONDecodeError as problem:
        raise typer.BadParameter(f"{file} holds no events: {problem}") from None
    events = read if isinstance(read, list) else [read]
    if not events:
        raise typer.BadParameter(f"{file} holds no events")
    try:
        return [_event(each) for each in events]
    except json_format.ParseError as problem:
        raise typer.BadParameter(f"{file} holds no events: {problem}") from None


def _event(read: Any) -> Struct:
    if not isinstance(read, dict):
        raise json_format.ParseError("an event is a JSON object")
    return json_format.ParseDict(read, Struct())


def _read(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return [orjson.loads(line) for line in text.splitlines() if line.strip()]
