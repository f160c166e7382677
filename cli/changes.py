"""`secmesh SERVICE watch`: the changes of records as they happen."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from cli.connection import Connection, connection_of
from cli.output import OutputFormat, cell, talk, write_bytes, write_message
from cli.record_service import RecordsOf
from secmesh.records.v1.watch_pb2 import WatchRecordsRequest
from secmesh_client import CallRefused, StreamCut, watch


def watch_command(records: RecordsOf) -> Callable[..., None]:
    """Make the command that shows the changes of one service's records."""

    def watch_records(
        context: typer.Context,
        collection: Annotated[
            str,
            typer.Argument(
                help=f"Such as {records.example}; `-` for all.",
                autocompletion=records.words.collections,
            ),
        ] = "-",
        filter_: Annotated[
            str,
            typer.Option("--filter", help="CEL condition; of all collections on record.* alone."),
        ] = "",
        since: Annotated[
            str, typer.Option(help="Revision after which to go on; else changes from now on.")
        ] = "",
        existing: Annotated[
            bool, typer.Option("--existing", help="Show what is there first.")
        ] = False,
        limit: Annotated[int, typer.Option(min=0, help="End after so many; 0 means never.")] = 0,
    ) -> None:
        """Show changes of records until interrupted; goes on by itself when servers restart."""
        connection = connection_of(context)
        request = WatchRecordsRequest(
            parent=f"{connection.tenant}/{collection}",
            filter=filter_,
            revision=since,
            include_existing=existing,
        )
        _watch(records, connection, request, limit)

    return watch_records


def _watch(
    records: RecordsOf, connection: Connection, request: WatchRecordsRequest, limit: int
) -> None:
    with connection.channel() as channel:
        events = _Events(records.stub(channel), request)
        try:
            for event in events.shown(limit):
                _show(event, connection.output)
        except (KeyboardInterrupt, CallRefused, StreamCut) as end:
            if events.revision:
                talk.print(f"go on with --since {events.revision}", markup=False)
            if not isinstance(end, KeyboardInterrupt):
                raise


class _Events:
    """The events of a watch, and where it stands."""

    def __init__(self, stub: Any, request: WatchRecordsRequest) -> None:
        self._stub = stub
        self._request = request
        self.revision = request.revision

    def shown(self, limit: int) -> Iterator[Any]:
        """Give the changes, without bookmarks."""
        number = 0
        for event in watch(self._stub.WatchRecords, self._request):
            self.revision = event.revision or self.revision
            if event.HasField("changed"):
                yield event
                number += 1
                if number == limit:
                    return


def _show(event: Any, output: OutputFormat) -> None:
    """Write one event at once: a line, or JSON on a line."""
    if output is not OutputFormat.TABLE:
        write_message(event, OutputFormat.NDJSON)
        return
    changed = event.changed
    cells = [cell(changed, "change_time"), cell(changed, "type"), cell(changed, "name")]
    line = "  ".join([event.revision, *filter(None, cells)])
    write_bytes(f"{line}\n".encode(errors="backslashreplace"))
