"""`secmesh compliance recommend`: what to mend first, and by which commands."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from cli.compliance import Stub, assessment_name
from cli.connection import UsageProblem, connection_of
from cli.output import (
    Column,
    OutputFormat,
    enum_word,
    talk,
    visible,
    write_bytes,
    write_message,
    write_messages,
)
from secmesh.inventory.v1 import check_pb2, narration_pb2, recommendation_pb2
from secmesh_client import items

app = typer.Typer()
OFF = "off"
"""Why no model narrates if none was set up, which is nothing to complain of."""
COLUMNS: list[str | Column] = [
    "recommendation_id",
    "severity",
    "effort",
    Column("contradicts", lambda each: " ".join(each.contradicted_control_ids)),
    Column("fails", lambda each: str(len(each.mendings))),
    "title",
]


@app.command()
def recommend(
    context: typer.Context,
    assessment: Annotated[
        str | None, typer.Argument(help="Id or full name; else the newest assessment.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most recommendations; 0 means all.")] = 20,
    commands: Annotated[
        bool, typer.Option("--commands", help="Write commands and steps in place of a table.")
    ] = False,
    narrate: Annotated[
        bool, typer.Option("--narrate", help="Tell it in sentences in place of a table.")
    ] = False,
) -> None:
    """Tell what to mend first, and by which commands; none is executed."""
    if narrate and commands:
        raise UsageProblem("--narrate tells sentences and --commands a script; ask for one")
    connection = connection_of(context)
    with connection.channel() as channel:
        name = assessment_name(Stub(channel), connection, assessment)
        request = recommendation_pb2.ListRecommendationsRequest(parent=name)
        if narrate:
            asked = narration_pb2.NarrateAssessmentRequest(name=name)
            told = Stub(channel).NarrateAssessment(asked)
            _tell(told, connection.output)
            return
        found = items(
            Stub(channel).ListRecommendations, request, lambda page: page.recommendations, limit
        )
        if commands and connection.output is OutputFormat.TABLE:
            for each in found:
                write_bytes("\n".join(script(each)).encode() + b"\n")
        else:
            write_messages(found, connection.output, COLUMNS)


def _tell(told: narration_pb2.Narration, output: OutputFormat) -> None:
    if output is not OutputFormat.TABLE:
        write_message(told, output)
        return
    if told.why_not not in ("", OFF):
        talk.print(f"No model told this: {visible(told.why_not)}.", markup=False)
    for each in told.sentences:
        write_bytes(f"{visible(each.text)} [{visible(each.recommendation_id)}]\n".encode())


def script(each: recommendation_pb2.Recommendation) -> Iterator[str]:
    """Write a recommendation as lines of a shell: commands, and all else as comments."""
    effort = enum_word(check_pb2.Effort.DESCRIPTOR, each.effort) if each.effort else "unknown"
    severity = enum_word(check_pb2.Severity.DESCRIPTOR, each.severity)
    yield _comment(f"{each.recommendation_id}: {each.title}")
    yield _comment(f"  severity {severity}, effort {effort}")
    if each.contradicted_control_ids:
        yield _comment(f"  contradicts {', '.join(each.contradicted_control_ids)}")
    for words in (*each.advice, *each.manual_steps):
        yield _comment(f"  {words}")
    yield from _mendings(each.mendings)
    if each.more:
        yield _comment("  More fail than are listed; the verdict's failing_filter lists all.")


def _mendings(mendings: Iterable[recommendation_pb2.Mending]) -> Iterator[str]:
    for each in mendings:
        values = ", ".join(f"{name} = {value}" for name, value in sorted(each.values.items()))
        yield _comment(f"  {each.subject}: {values}" if values else f"  {each.subject}")
        yield from map(visible, each.commands)


def _comment(text: str) -> str:
    """Write a text that no shell reads, in one line."""
    return f"# {visible(' '.join(text.split()))}"
