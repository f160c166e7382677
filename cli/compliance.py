"""`secmesh compliance`: compare a System Security Plan with what was collected."""

import re
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cli.completion import collections, words
from cli.connection import Connection, UsageProblem, connection_of
from cli.exceptions import show_ends
from cli.exit_codes import ExitCode
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
from cli.plan_upload import UPLOAD_BYTES, send_plan
from cli.saving import save
from cli.unseen import show_unseen
from secmesh.inventory.v1 import (
    assessment_pb2,
    assessment_requests_pb2,
    check_pb2,
    check_requests_pb2,
    compliance_service_pb2_grpc,
    report_pb2,
    ssp_pb2,
    ssp_requests_pb2,
)
from secmesh_client import StreamCut, items, whole

app = typer.Typer(help="Compare a plan's claims with what was collected.", no_args_is_help=True)

Stub = compliance_service_pb2_grpc.ComplianceServiceStub
VERDICTS = {
    enum_word(assessment_pb2.Verdict.DESCRIPTOR, number): number
    for number in assessment_pb2.Verdict.values()
    if number
}
BASELINES = {
    enum_word(ssp_pb2.Baseline.DESCRIPTOR, number): number
    for number in ssp_pb2.Baseline.values()
    if number
}
SSP_FORMATS = {
    enum_word(ssp_pb2.SspFormat.DESCRIPTOR, number): number
    for number in ssp_pb2.SspFormat.values()
    if number
}
OUTCOMES = {
    enum_word(ssp_pb2.Passage.Outcome.DESCRIPTOR, number): number
    for number in ssp_pb2.Passage.Outcome.values()
    if number
}
_AGE = re.compile(r"([0-9]{1,6})([hd])")


class ReportFormat(StrEnum):
    JSON = "json"
    MD = "md"
    OSCAL = "oscal"
    POAM = "poam"
    CSV = "csv"
    HTML = "html"


FORMATS = {
    ReportFormat.JSON: report_pb2.REPORT_FORMAT_JSON,
    ReportFormat.MD: report_pb2.REPORT_FORMAT_MARKDOWN,
    ReportFormat.OSCAL: report_pb2.REPORT_FORMAT_OSCAL_RESULTS,
    ReportFormat.POAM: report_pb2.REPORT_FORMAT_OSCAL_POAM,
    ReportFormat.CSV: report_pb2.REPORT_FORMAT_CSV,
    ReportFormat.HTML: report_pb2.REPORT_FORMAT_HTML,
}


@app.command("import-ssp")
def import_ssp(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    ssp_id: Annotated[
        str | None, typer.Option("--id", help="Id for the plan; else from the file's name.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(BASELINES)}; else as the plan says.",
            autocompletion=words(BASELINES),
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"One of {', '.join(SSP_FORMATS)}; else by content and file name.",
            autocompletion=words(SSP_FORMATS),
        ),
    ] = None,
) -> None:
    """Import a System Security Plan: OSCAL, CSV, XLSX, Markdown, text, DOCX or PDF."""
    if format_ is not None and format_ not in SSP_FORMATS:
        raise UsageProblem(f"--format is one of {', '.join(SSP_FORMATS)}")
    if baseline is not None and baseline not in BASELINES:
        raise UsageProblem(f"--baseline is one of {', '.join(BASELINES)}")
    if file.stat().st_size > UPLOAD_BYTES:
        raise UsageProblem(f"{file} is larger than a plan may be, {UPLOAD_BYTES} bytes")
    connection = connection_of(context)
    request = ssp_requests_pb2.ImportSspRequest(
        parent=connection.tenant,
        ssp_id=ssp_id or id_from(file),
        baseline=ssp_pb2.Baseline.ValueType(BASELINES[baseline] if baseline else 0),
        format=ssp_pb2.SspFormat.ValueType(SSP_FORMATS[format_] if format_ else 0),
        file_name=file.name[-255:],
    )
    with file.open("rb") as opened, connection.channel() as channel:
        ssp = send_plan(Stub(channel), request, opened)
        for issue in ssp.issues:
            told = f"{issue.pointer}: {issue.problem}" if issue.pointer else issue.problem
            talk.print(visible(told), markup=False)
        write_message(ssp, connection.output)


def id_from(file: Path) -> str:
    """Make an id of a file's name: lower case, other characters become hyphens."""
    made = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:63].rstrip("-")
    if not made:
        raise UsageProblem("the file's name makes no id; give one by --id")
    return made


@app.command()
def passages(
    context: typer.Context,
    ssp: Annotated[str, typer.Option(help="Id or full name of the plan.")],
    outcome: Annotated[
        str | None,
        typer.Option(help=f"Only {', '.join(OUTCOMES)}.", autocompletion=words(OUTCOMES)),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most passages; 0 means all.")] = 0,
) -> None:
    """List what the import made of a plan's document, passage by passage."""
    if outcome is not None and outcome not in OUTCOMES:
        raise UsageProblem(f"--outcome is one of {', '.join(OUTCOMES)}")
    connection = connection_of(context)
    name = ssp if ssp.startswith("tenants/") else f"{connection.tenant}/ssps/{ssp}"
    request = ssp_requests_pb2.ListPassagesRequest(parent=name)
    if outcome is not None:
        request.filter = f"outcome == {OUTCOMES[outcome]}"
    with connection.channel() as channel:
        found = items(Stub(channel).ListPassages, request, lambda page: page.passages, limit)
        columns = ["source", "end_source", "outcome", "control_id", "reason", "text"]
        write_messages(found, connection.output, columns)


@app.command()
def evaluate(
    context: typer.Context,
    ssp: Annotated[str, typer.Option(help="Id or full name of the plan.")],
    account: Annotated[
        list[str] | None, typer.Option(help="AWS account id, any number of times; else all.")
    ] = None,
    max_age: Annotated[str, typer.Option(help="Oldest evidence, such as 36h or 7d.")] = "7d",
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Verdict that makes the exit code 4, any number of times.",
            autocompletion=words(VERDICTS),
        ),
    ] = None,
) -> None:
    """Weigh every claim of a plan; show the verdicts' counts."""
    if unknown := [word for word in fail_on or () if word not in VERDICTS]:
        raise UsageProblem(f"{unknown[0]} is no verdict; one of {', '.join(VERDICTS)}")
    connection = connection_of(context)
    name = ssp if ssp.startswith("tenants/") else f"{connection.tenant}/ssps/{ssp}"
    request = assessment_requests_pb2.EvaluateRequest(
        ssp=name, cloud_account_ids=account, max_age=parse_age(max_age)
    )
    with connection.channel() as channel:
        assessment = run_evaluation(Stub(channel), request)
        show_counts(assessment, connection.output)
        show_ends(assessment)
        show_unseen(assessment)
    found = {count.verdict for count in assessment.claim_counts if count.count}
    if any(VERDICTS[word] in found for word in fail_on or ()):
        raise typer.Exit(ExitCode.FAILED_VERDICT)


def parse_age(text: str) -> Duration:
    """Read hours or days, such as `36h` or `7d`."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageProblem("--max-age is a number of hours or days, such as 36h or 7d")
    unit = timedelta(hours=1) if match[2] == "h" else timedelta(days=1)
    duration = Duration()
    duration.FromTimedelta(int(match[1]) * unit)
    return duration


def run_evaluation(
    stub: Stub, request: assessment_requests_pb2.EvaluateRequest
) -> assessment_pb2.Assessment:
    """Evaluate and show progress; give the stored assessment."""
    assessment: assessment_pb2.Assessment | None = None
    bar = Progress(
        TextColumn("checks"), BarColumn(), MofNCompleteColumn(), console=talk, transient=True
    )
    with bar:
        task = bar.add_task("", total=None)
        try:
            for event in whole(stub.Evaluate(request)):
                if event.HasField("progress"):
                    done, total = event.progress.checks_done, event.progress.checks
                    bar.update(task, completed=done, total=total)
                else:
                    assessment = event.assessment
        except StreamCut:
            assessment = None
    if assessment is None:
        talk.print("The stream was cut; look for the result with: secmesh compliance assessments")
        raise typer.Exit(ExitCode.UNREACHABLE)
    return assessment


def show_counts(assessment: assessment_pb2.Assessment, output: OutputFormat) -> None:
    """Show an assessment; a table shows the counts of each verdict."""
    if output is not OutputFormat.TABLE:
        write_message(assessment, output)
        return
    columns = ["verdict", "count"]
    title = f"{assessment.controls} controls"
    write_messages(assessment.control_counts, output, columns, title)
    write_messages(assessment.claim_counts, output, columns, f"{assessment.claims} claims")
    talk.print(assessment.name, markup=False)
    if assessment.excepted_claims:
        told = f"{assessment.excepted_claims} claims have failures that are excepted"
        talk.print(told, markup=False)
    if assessment.missing_actions:
        actions = ", ".join(assessment.missing_actions)
        talk.print(f"Not read for want of: {actions}", markup=False)


@app.command()
def assessments(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=0, help="Most assessments; 0 means all.")] = 20,
) -> None:
    """List assessments, the newest first."""
    connection = connection_of(context)
    with connection.channel() as channel:
        found = list_assessments(Stub(channel), connection, limit)
        columns = ["name", "ssp", "evaluate_time", "controls", "claims", "below_baseline"]
        write_messages(found, connection.output, columns)


def list_assessments(
    stub: Stub, connection: Connection, limit: int
) -> Iterator[assessment_pb2.Assessment]:
    request = assessment_requests_pb2.ListAssessmentsRequest(parent=connection.tenant)
    return items(stub.ListAssessments, request, lambda page: page.assessments, limit)


@app.command()
def verdicts(
    context: typer.Context,
    assessment: Annotated[
        str | None, typer.Option(help="Id or full name; else the newest assessment.")
    ] = None,
    filter_: Annotated[
        str, typer.Option("--filter", help="CEL, such as `verdict == VERDICT_CONTRADICTED`.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most verdicts; 0 means all.")] = 100,
) -> None:
    """List the verdicts of an assessment, the worst first."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = Stub(channel)
        parent = assessment_name(stub, connection, assessment)
        found = list_verdicts(stub, parent, filter_, limit)
        columns = ["control_id", "component_title", "state", "verdict", "reason"]
        write_messages(found, connection.output, columns)


def list_verdicts(
    stub: Stub, parent: str, filter_: str, limit: int
) -> Iterator[assessment_pb2.ClaimVerdict]:
    request = assessment_requests_pb2.ListVerdictsRequest(parent=parent, filter=filter_)
    return items(stub.ListVerdicts, request, lambda page: page.verdicts, limit)


def assessment_name(stub: Stub, connection: Connection, given: str | None) -> str:
    """Give an assessment's full name; the newest one's if none is given."""
    if given is not None:
        whole = given.startswith("tenants/")
        return given if whole else f"{connection.tenant}/assessments/{given}"
    newest = next(list_assessments(stub, connection, 1), None)
    if newest is None:
        raise UsageProblem("there is no assessment yet; make one with `compliance evaluate`")
    return newest.name


@app.command()
def report(
    context: typer.Context,
    assessment: Annotated[
        str | None, typer.Option(help="Id or full name; else the newest assessment.")
    ] = None,
    format_: Annotated[
        ReportFormat, typer.Option("--format", help="Form of the document.")
    ] = ReportFormat.MD,
    out: Annotated[
        Path | None, typer.Option(help="File to write; else standard output.", dir_okay=False)
    ] = None,
) -> None:
    """Write an assessment as one document."""
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = Stub(channel)
        name = assessment_name(stub, connection, assessment)
        body = stub.ExportAssessment(
            report_pb2.ExportAssessmentRequest(name=name, format=FORMATS[format_])
        )
    if out is not None:
        save(out, body.data)
    else:
        write_bytes(body.data.rstrip(b"\n") + b"\n")


@app.command()
def checks(
    context: typer.Context,
    collection: Annotated[
        str, typer.Option(help="Only of this collection.", autocompletion=collections)
    ] = "",
    control: Annotated[str, typer.Option(help="Only of this control, such as AC-2(3).")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most checks; 0 means all.")] = 0,
) -> None:
    """List the checks by which claims are judged."""
    connection = connection_of(context)
    with connection.channel() as channel:
        request = check_requests_pb2.ListChecksRequest(collection=collection, control_id=control)
        found = items(Stub(channel).ListChecks, request, lambda page: page.checks, limit)
        controls = Column("controls", lambda check: " ".join(map(_control, check.controls)))
        write_messages(found, connection.output, ["id", "severity", "grade", "title", controls])


def _control(mapping: check_pb2.ControlMapping) -> str:
    return mapping.control_id
