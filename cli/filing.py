"""`secmesh compliance file`: what an assessment found, as records of the security service."""

from typing import Annotated

import typer

from cli.compliance import Stub, assessment_name
from cli.connection import connection_of
from cli.output import OutputFormat, talk, visible, write_message, write_messages
from secmesh.inventory.v1 import filing_pb2

app = typer.Typer()
FATES = tuple(
    field.name
    for field in filing_pb2.FileAssessmentResponse.Counts.DESCRIPTOR.fields
    if field.name != "collection"
)


@app.command("file")
def file_assessment(
    context: typer.Context,
    assessment: Annotated[
        str | None, typer.Option(help="Id or full name; else the newest assessment.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would happen, and write nothing.")
    ] = False,
) -> None:
    """File contradicted claims and their resources in the security service.

    What is mended is closed, what returns is reopened; filing again changes nothing.
    """
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = Stub(channel)
        name = assessment_name(stub, connection, assessment)
        request = filing_pb2.FileAssessmentRequest(name=name, validate_only=dry_run)
        show(stub.FileAssessment(request), connection.output)


def show(answer: filing_pb2.FileAssessmentResponse, output: OutputFormat) -> None:
    """Show what became of an assessment."""
    if output is not OutputFormat.TABLE:
        write_message(answer, output)
        return
    write_messages(answer.counts, output, ["collection", *FATES])
    for each in answer.rejections:
        talk.print(visible(f"{each.collection}, {each.subject}: {each.reason}"), markup=False)
