"""`secmesh security gate`: does a project pass? For people, and for pipelines by the exit code."""

import json
from typing import Annotated

import typer

from cli.connection import Connection, UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.output import Column, OutputFormat, talk, write_message, write_messages
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.security.v1 import quality_gate_service_pb2 as pb
from secmesh.security.v1 import quality_gate_service_pb2_grpc, record_service_pb2_grpc
from secmesh.security.v1.sast_quality_gate_pb2 import QualityGateStatus, SastQualityGate
from secmesh.security.v1.vocabulary_detection_pb2 import EnforcementMode

PROJECTS = {"sast_projects": "key", "projects": "key", "dast_projects": "name"}
"""Collections of projects in the order in which a key is looked for, with the key's field."""


def register(app: typer.Typer) -> None:
    """Add the command to those of security records."""
    app.command()(gate)


def gate(
    context: typer.Context,
    project: Annotated[str, typer.Argument(help="Key of a project, or COLLECTION/ID.")],
    branch: Annotated[str, typer.Option(help="Branch of the code; else the main one.")] = "",
    scan: Annotated[str, typer.Option(help="Name of the scan that must be the last one.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Judge, and keep no status.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")] = False,
) -> None:
    """Judge a project by its quality gate; ends with 4 if a gate that blocks is not passed."""
    connection = connection_of(context)
    request = pb.EvaluateGateRequest(branch=branch, scan=scan, validate_only=dry_run)
    with connection.channel() as channel:
        records = record_service_pb2_grpc.RecordServiceStub(channel)
        request.project = _name(project, connection, records)
        stub = quality_gate_service_pb2_grpc.QualityGateServiceStub(channel)
        answer = stub.EvaluateGate(request)
    if as_json or connection.output is not OutputFormat.TABLE:
        write_message(answer, OutputFormat.JSON if as_json else connection.output)
    else:
        write_messages(answer.conditions, connection.output, _columns())
    talk.print(_verdict(answer), markup=False)
    if answer.blocking:
        raise typer.Exit(ExitCode.FAILED_VERDICT)


def _name(
    project: str, connection: Connection, records: record_service_pb2_grpc.RecordServiceStub
) -> str:
    """Give the full name of a project; UsageProblem if nothing has such a key."""
    if project.startswith("tenants/"):
        return project
    if "/" in project and project.partition("/")[0] in PROJECTS:
        return f"{connection.tenant}/{project}"
    for collection, field in PROJECTS.items():
        page = records.ListRecords(
            ListRecordsRequest(
                parent=f"{connection.tenant}/{collection}",
                filter=f"{field} == {json.dumps(project, ensure_ascii=False)}",
                page_size=1,
            )
        )
        if page.records:
            return page.records[0].name
    raise UsageProblem(f"no project has the key {project!r}")


def _columns() -> list[str | Column]:
    return [
        "metric_key",
        Column("value", _value),
        Column("fails if", _limit),
        "status",
        "reason",
    ]


def _value(condition: pb.ConditionResult) -> str:
    return f"{condition.actual_value:g}" if condition.HasField("actual_value") else ""


def _limit(condition: pb.ConditionResult) -> str:
    sign = "<" if condition.comparator == SastQualityGate.OPERATOR_LT else ">"
    return f"{sign} {condition.error_threshold:g}"


def _verdict(answer: pb.EvaluateGateResponse) -> str:
    """Say in one line what became of the project, and what the gate does about it."""
    status = QualityGateStatus.Name(answer.status)
    counted = sum(each.status != each.STATUS_OK for each in answer.conditions)
    words = {"QUALITY_GATE_STATUS_OK": "passed", "QUALITY_GATE_STATUS_ERROR": "failed"}
    rest = f": {counted} of {len(answer.conditions)} conditions are not met" if counted else ""
    mode = EnforcementMode.Name(answer.enforcement).removeprefix("ENFORCEMENT_MODE_").lower()
    word = words.get(status, "not computed")
    return f"quality gate {word}{rest} (branch {answer.branch}, enforcement {mode})"
