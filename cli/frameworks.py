"""`secmesh compliance frameworks`, `coverage` and `posture`: what is tested, and how it stands."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from cli.completion import words
from cli.compliance import BASELINES, Stub, assessment_name
from cli.connection import UsageProblem, connection_of
from cli.output import (
    Column,
    OutputFormat,
    enum_word,
    talk,
    write_message,
    write_messages,
)
from secmesh.inventory.v1 import assessment_pb2, coverage_pb2, framework_pb2, ssp_pb2
from secmesh_client import items

app = typer.Typer()
DEFAULT_BASELINE = "fedramp-moderate"


@app.command()
def frameworks(
    context: typer.Context,
    framework: Annotated[
        str | None, typer.Argument(help="Id of one, to list its controls and their relations.")
    ] = None,
) -> None:
    """List the frameworks that checks are related to, or the controls of one."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = Stub(channel)
        if framework is None:
            asked = framework_pb2.ListFrameworksRequest()
            known = items(stub.ListFrameworks, asked, lambda page: page.frameworks)
            columns = ["id", "title", "controls", "mapped", "mapping.source", "mapping.date"]
            write_messages(known, connection.output, columns)
            return
        wanted = framework_pb2.ListFrameworkControlsRequest(framework=framework)
        found = items(stub.ListFrameworkControls, wanted, lambda page: page.framework_controls)
        columns = ["control_id", "title", "related_control_ids", "check_ids"]
        write_messages(found, connection.output, columns)


@app.command()
def coverage(
    context: typer.Context,
    baseline: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(BASELINES)}; if nothing is asked for, {DEFAULT_BASELINE}.",
            autocompletion=words(BASELINES),
        ),
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(help="Framework in place of a baseline, such as iso-27001-2022."),
    ] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="AWS account id, any number of times; else all.")
    ] = None,
) -> None:
    """Tell how many controls of a framework are tested, and which were read whole."""
    if baseline is not None and framework is not None:
        raise UsageProblem("--baseline and --framework go one without the other")
    if baseline is not None and baseline not in BASELINES:
        raise UsageProblem(f"--baseline is one of {', '.join(BASELINES)}")
    connection = connection_of(context)
    request = coverage_pb2.GetCoverageRequest(
        parent=connection.tenant, cloud_account_ids=account, framework=framework or ""
    )
    if framework is None:
        request.baseline = ssp_pb2.Baseline.ValueType(BASELINES[baseline or DEFAULT_BASELINE])
    with connection.channel() as channel:
        found = Stub(channel).GetCoverage(request)
    show_coverage(found, connection.output)


def show_coverage(found: coverage_pb2.Coverage, output: OutputFormat) -> None:
    """Show coverage; a table shows the controls that a check speaks for."""
    if output is not OutputFormat.TABLE:
        write_message(found, output)
        return
    shown = [each for each in found.control_coverage if each.check_ids]
    title = (
        f"{found.testable} of {found.controls} testable, {found.bound} bound, "
        f"{found.complete} complete today, {found.failing} failing"
    )
    columns = ["control_id", "title", "complete", "outcome", "failing_check_ids", "check_ids"]
    write_messages(shown, output, columns, title)
    if found.missing_actions:
        talk.print(f"Not read for want of: {', '.join(found.missing_actions)}", markup=False)


@app.command()
def posture(
    context: typer.Context,
    framework: Annotated[str, typer.Option(help="Id of the framework, such as pci-dss-4.0.")],
    assessment: Annotated[
        str | None, typer.Option(help="Id or full name; else the newest assessment.")
    ] = None,
) -> None:
    """Roll an assessment's verdicts up to the controls of a framework."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = Stub(channel)
        name = assessment_name(stub, connection, assessment)
        request = framework_pb2.GetFrameworkPostureRequest(name=name, framework=framework)
        found = stub.GetFrameworkPosture(request)
    if connection.output is not OutputFormat.TABLE:
        write_message(found, connection.output)
        return
    counted = ", ".join(_counts(found.control_counts)) or "none"
    title = f"{found.framework.title}: {counted}; {found.without_verdict} without a verdict"
    if found.excepted_control_counts:
        title += f"; by exception: {', '.join(_counts(found.excepted_control_counts))}"
    shown = [each for each in found.control_postures if each.verdict]
    judged = Column("judged", lambda each: f"{each.judged} of {each.related}")
    columns: list[str | Column] = ["control_id", "title", _VERDICT, judged, "deciding_control_ids"]
    write_messages(shown, connection.output, columns, title)


def _verdict(each: framework_pb2.FrameworkControlPosture) -> str:
    word = enum_word(assessment_pb2.Verdict.DESCRIPTOR, each.verdict)
    return f"{word} by exception" if each.rests_on_exception else word


_VERDICT = Column("verdict", _verdict)


def _counts(counts: Iterable[assessment_pb2.VerdictCount]) -> Iterator[str]:
    for each in counts:
        yield f"{each.count} {enum_word(assessment_pb2.Verdict.DESCRIPTOR, each.verdict)}"
