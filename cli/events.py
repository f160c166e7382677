"""`secmesh inventory events`: have read again what events of AWS tell of, and see what turns."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from cli.changes import follow
from cli.connection import connection_of
from cli.contradictions import Filter, name_of_plan
from cli.output import (
    OutputFormat,
    cell,
    talk,
    visible,
    write_bytes,
    write_message,
    write_messages,
)
from secmesh.inventory.v1.event_service_pb2 import (
    EventResult,
    ListCheckTurnsRequest,
    PostEventsRequest,
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
    """Post events, and show what they changed and which checks turned by that."""
    connection = connection_of(context)
    request = PostEventsRequest(parent=connection.tenant)
    request.events.extend(_events(file))
    request.wait.FromSeconds(wait)
    with connection.channel() as channel:
        answer = EventServiceStub(channel).PostEvents(request)
        write_message(answer, connection.output)
    for result in answer.results:
        if result.state == EventResult.STATE_REFUSED:
            told = f"Refused: event {result.event_id or 'without an id'}: {result.reason}"
            talk.print(visible(told), markup=False, soft_wrap=True)


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
        write_messages(found, connection.output, [*COLUMNS, "cloud_account_id", "arn"])


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
        read = _read(file.read_text(encoding="utf-8"))
        events = read if isinstance(read, list) else [read]
        return [json_format.ParseDict(each, Struct()) for each in events]
    except (ValueError, json_format.ParseError) as problem:
        raise typer.BadParameter(f"{file} holds no events: {problem}") from None


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
