"""`secmesh security workflow`: let workflows run, and look after their runs."""

from typing import Annotated, Any

import orjson
import typer
from google.protobuf.json_format import ParseDict, ParseError

from cli.connection import Connection, UsageProblem, connection_of
from cli.output import Column, write_message, write_messages
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.workflow_run_pb2 import WorkflowStepRun
from secmesh.security.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from secmesh_client import items

app = typer.Typer(help="Let workflows run, and look after their runs.", no_args_is_help=True)
Workflow = Annotated[str, typer.Argument(help="Full name, or workflows/ID.")]
Run = Annotated[str, typer.Argument(help="Full name, or workflow_executions/ID.")]
Etag = Annotated[str, typer.Option(help="The etag that it must still have.")]
DryRun = Annotated[bool, typer.Option(help="Only say what would be.")]
RequestId = Annotated[str, typer.Option(help="UUID: sent again, it is done once.")]


@app.command()
def activate(
    context: typer.Context, name: Workflow, etag: Etag = "", dry_run: DryRun = False
) -> None:
    """Check a workflow, and let it run as it is now, by your permissions."""
    connection = connection_of(context)
    full = connection.full_name(name)
    request = pb.ActivateWorkflowRequest(name=full, etag=etag, validate_only=dry_run)
    _call(connection, "ActivateWorkflow", request)


@app.command()
def deactivate(context: typer.Context, name: Workflow, etag: Etag = "") -> None:
    """Let a workflow run no more; runs that have begun go on."""
    connection = connection_of(context)
    request = pb.DeactivateWorkflowRequest(name=connection.full_name(name), etag=etag)
    _call(connection, "DeactivateWorkflow", request)


@app.command()
def run(
    context: typer.Context,
    name: Workflow,
    given: Annotated[str, typer.Option("--input", help="What it is given, as JSON.")] = "{}",
    incident: Annotated[str, typer.Option(help="The incident that it is about.")] = "",
    request_id: RequestId = "",
    dry_run: DryRun = False,
) -> None:
    """Start a run of an active workflow."""
    connection = connection_of(context)
    request = pb.RunWorkflowRequest(
        name=connection.full_name(name),
        incident=connection.full_name(incident) if incident else "",
        request_id=request_id,
        validate_only=dry_run,
    )
    try:
        ParseDict(orjson.loads(given), request.input)
    except (orjson.JSONDecodeError, ParseError) as error:
        raise UsageProblem(f"--input is no object of JSON: {error}") from None
    _call(connection, "RunWorkflow", request)


@app.command()
def cancel(
    context: typer.Context,
    name: Run,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Stop a run: what is being done is ended, nothing else begun."""
    connection = connection_of(context)
    request = pb.CancelExecutionRequest(name=connection.full_name(name), reason=reason)
    _call(connection, "CancelExecution", request)


@app.command()
def resume(context: typer.Context, name: Run) -> None:
    """Let a run go on that waits at a step which failed."""
    connection = connection_of(context)
    request = pb.ResumeExecutionRequest(name=connection.full_name(name))
    _call(connection, "ResumeExecution", request)


@app.command()
def decide(
    context: typer.Context,
    name: Run,
    path: Annotated[str, typer.Argument(help="Path of the step that asks.")],
    approve: Annotated[bool, typer.Option("--approve/--reject", help="Whether it may go on.")],
    comment: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Answer a question that a run waits with."""
    connection = connection_of(context)
    request = pb.DecideApprovalRequest(
        name=connection.full_name(name), path=path, approve=approve, comment=comment
    )
    _call(connection, "DecideApproval", request)


@app.command()
def steps(
    context: typer.Context,
    name: Run,
    filter_: Annotated[str, typer.Option("--filter", help="CEL condition on a step.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most steps; 0 means all.")] = 0,
) -> None:
    """List the steps of a run."""
    connection = connection_of(context)
    request = pb.ListStepRunsRequest(parent=connection.full_name(name), filter=filter_)
    with connection.channel() as channel:
        stub = WorkflowServiceStub(channel)
        found = items(stub.ListStepRuns, request, lambda page: page.step_runs, limit)
        columns: list[str | Column] = ["path", "state", Column("tries", _tries), "start_time"]
        write_messages(found, connection.output, [*columns, "end_time", "error_message"])


def _tries(step: WorkflowStepRun) -> str:
    return str(len(step.attempts) or "")


def _call(connection: Connection, method: str, request: Any) -> None:
    with connection.channel() as channel:
        write_message(getattr(WorkflowServiceStub(channel), method)(request), connection.output)
