"""`secmesh SERVICE watch`: the changes of records as they happen."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from grpc import Channel, StatusCode

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
        follow(
            connection, lambda channel: records.stub(channel).WatchRecords, request, limit, _show
        )

    return watch_records


def follow(
    connection: Connection,
    method: Callable[[Channel], Callable[..., Any]],
    request: Any,
    limit: int,
    show: Callable[[Any, OutputFormat], None],
) -> None:
    """Show what a watch tells, and where to go on when it ends.

    ``method`` gives the Watch method of a channel; its events and its request have a ``revision``.
    """
    with connection.channel() as channel:
        events = _Events(method(channel), request)
        try:
            for event in events.shown(limit):
                show(event, connection.output)
        except (KeyboardInterrupt, CallRefused, StreamCut) as end:
            if told := _how_to_go_on(end, events.revision, begun=request.revision):
                talk.print(told, markup=False)
            raise


def _how_to_go_on(end: BaseException, revision: str, *, begun: str) -> str:
    """Say where a watch may go on; nothing where it was refused as it was asked for."""
    if isinstance(end, CallRefused):
        if end.code is StatusCode.OUT_OF_RANGE:
            return "go on without --since, from now on"
        if revision == begun and end.code is not StatusCode.UNAVAILABLE:
            return ""
    return f"go on with --since {revision}" if revision else ""


class _Events:
    """The events of a watch, and where it stands."""

    def __init__(self, method: Callable[..., Any], request: Any) -> None:
        self._method = method
        self._request = request
        self.revision = request.revision

    def shown(self, limit: int) -> Iterator[Any]:
        """Give what happened, without bookmarks."""
        number = 0
        for event in watch(self._method, self._request):
            self.revision = event.revision or self.revision
            if not event.HasField("bookmark"):
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
