"""`secmesh security import`: reports of scanners and feeds."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated

import typer
from google.api.httpbody_pb2 import HttpBody

from cli.connection import UsageProblem, connection_of
from cli.output import OutputFormat, talk, visible, write_message, write_messages
from secmesh.options.v1 import method_pb2
from secmesh.security.v1 import import_service_pb2, import_service_pb2_grpc
from secmesh.security.v1.vocabulary_pb2 import ImportFormat

app = typer.Typer()

PART_BYTES = 1 << 20
UPLOAD_BYTES: int = (
    import_service_pb2.DESCRIPTOR.services_by_name["ImportService"]
    .methods_by_name["ImportReport"]
    .GetOptions()
    .Extensions[method_pb2.method]
    .upload_bytes
)
"""Largest report that is taken."""
AUTO = "auto"
_PREFIX = "IMPORT_FORMAT_"
FORMATS = {
    name.removeprefix(_PREFIX).lower().replace("_", "-"): number
    for name, number in ImportFormat.items()
    if number
}
"""Formats by the words of the command line."""
_FATES = ("created", "updated", "moved", "unchanged", "closed", "reopened", "rejected")


@app.command("import")
def import_report(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="Report to import.")
    ],
    project: Annotated[
        str, typer.Option(help="Project that was scanned: its key, or the name of its record.")
    ] = "",
    branch: Annotated[str, typer.Option(help="Branch; else what the report says, or main.")] = "",
    format_: Annotated[
        str, typer.Option("--format", help=f"{AUTO}, or one of {', '.join(FORMATS)}.")
    ] = AUTO,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would happen, and store nothing.")
    ] = False,
    keep_absent: Annotated[
        bool, typer.Option("--keep-absent", help="Leave open what the report no longer shows.")
    ] = False,
) -> None:
    """Import a report of a scanner; show what became of it in each collection."""
    if format_ != AUTO and format_ not in FORMATS:
        raise UsageProblem(f"--format is {AUTO} or one of {', '.join(FORMATS)}")
    if file.stat().st_size > UPLOAD_BYTES:
        raise UsageProblem(f"{file} is larger than a report may be, {UPLOAD_BYTES} bytes")
    connection = connection_of(context)
    first = import_service_pb2.ImportReportRequest(
        parent=connection.tenant,
        project=project,
        branch=branch,
        format=ImportFormat.ValueType(FORMATS.get(format_, 0)),
        validate_only=dry_run,
        close_absent=not keep_absent,
    )
    with file.open("rb") as opened, connection.channel() as channel:
        stub = import_service_pb2_grpc.ImportServiceStub(channel)
        answer = stub.ImportReport(_parts(first, opened))
        _show(answer, connection.output)


def _parts(
    first: import_service_pb2.ImportReportRequest, file: IO[bytes]
) -> Iterator[import_service_pb2.ImportReportRequest]:
    yield first
    while part := file.read(PART_BYTES):
        yield import_service_pb2.ImportReportRequest(file=HttpBody(data=part))


def _show(answer: import_service_pb2.ImportReportResponse, output: OutputFormat) -> None:
    unchanged = import_service_pb2.ImportReportResponse.OUTCOME_UNCHANGED
    if output is not OutputFormat.TABLE:
        write_message(answer, output)
    elif answer.outcome != unchanged:
        write_messages(answer.counts, output, ["collection", *_FATES])
    if answer.outcome == unchanged:
        talk.print("The same report was imported before; nothing changed.")
    for each in answer.rejections:
        talk.print(visible(f"{each.index} {each.pointer}: {each.reason}"), markup=False)
    if answer.rejected > len(answer.rejections):
        talk.print(f"and {answer.rejected - len(answer.rejections)} more")
    if answer.problem:
        talk.print(visible(f"The report is not whole: {answer.problem}"), markup=False)
