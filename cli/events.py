"""`secmesh inventory events`: have read again what events of AWS tell of."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from cli.connection import connection_of
from cli.output import talk, visible, write_message
from secmesh.inventory.v1.event_service_pb2 import EventResult, PostEventsRequest
from secmesh.inventory.v1.event_service_pb2_grpc import EventServiceStub

app = typer.Typer(help="Have read again what events of AWS tell of.", no_args_is_help=True)


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
