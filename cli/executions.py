"""`secmesh executions`: what came of schedules."""

import heapq
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from cli.connection import Connection, UsageProblem, connection_of
from cli.enum_words import enum_value, offered
from cli.moments import parse_time
from cli.output import write_message, write_messages
from secmesh.tenancy.v1 import execution_service_pb2 as pb
from secmesh.tenancy.v1.execution_pb2 import Execution, ExecutionStatus
from secmesh.tenancy.v1.execution_service_pb2_grpc import ExecutionServiceStub
from secmesh.tenancy.v1.scan_result_service_pb2 import ListScanResultsRequest
from secmesh.tenancy.v1.scan_result_service_pb2_grpc import ScanResultServiceStub
from secmesh_client import items

app = typer.Typer(help="See what came of schedules.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Full name, or schedules/ID/executions/ID.")]
Etag = Annotated[str, typer.Option(help="The etag that it must still have.")]
Account = Annotated[str, typer.Option(help="Id of an account: those of it alone.")]
Month = Annotated[str, typer.Option(help="Month in UTC, such as 202611; otherwise this one.")]
_COLUMNS = ("fire_time", "status", "trigger", "attempts", "error_reason", "name")
_RESULT_COLUMNS = (
    "create_time",
    "account_id",
    "complete",
    "record_count",
    "contradicted_count",
    "filed_count",
    "name",
)


@app.command("list")
def list_(
    context: typer.Context,
    schedule: Annotated[
        str, typer.Argument(help="A schedule's name, or schedules/ID; otherwise all.")
    ] = "",
    account: Account = "",
    month: Month = "",
    since: Annotated[str, typer.Option(help="First occurrence: a time or date.")] = "",
    until: Annotated[str, typer.Option(help="Last occurrence.")] = "",
    triggered: Annotated[
        bool, typer.Option("--triggered", help="Only those that somebody triggered.")
    ] = False,
    status: Annotated[
        str,
        typer.Option(
            help="Only those that are queued, dead, ...",
            autocompletion=offered(ExecutionStatus.DESCRIPTOR),
        ),
    ] = "",
) -> None:
    """List executions of a schedule, an account or a month, the newest first."""
    if (since or until) and not (schedule or account):
        raise UsageProblem("--since and --until are of a schedule or an account")
    connection = connection_of(context)
    request = pb.ListExecutionsRequest(
        parent=connection.full_name(schedule or "schedules/-"),
        account_id=account.rsplit("/", 1)[-1],
        month=month,
        triggered=triggered,
    )
    if status:
        word = enum_value(ExecutionStatus.DESCRIPTOR, status, "status")
        request.status = ExecutionStatus.Value(word)
    if since:
        request.since_time.CopyFrom(parse_time(since, "--since"))
    if until:
        request.until_time.CopyFrom(parse_time(until, "--until"))
    with connection.channel() as channel:
        listed = ExecutionServiceStub(channel).ListExecutions
        found = items(listed, request, lambda page: page.executions)
        if schedule and not triggered:
            found = _with_triggered(listed, request, found)
        write_messages(found, connection.output, _COLUMNS)


@app.command()
def get(context: typer.Context, name: Name) -> None:
    """Show an execution."""
    connection = connection_of(context)
    _call(connection, "GetExecution", pb.GetExecutionRequest(name=connection.full_name(name)))


@app.command()
def cancel(context: typer.Context, name: Name, etag: Etag = "") -> None:
    """End an execution: one that waits at once, one that runs at its next heartbeat."""
    connection = connection_of(context)
    request = pb.CancelExecutionRequest(name=connection.full_name(name), etag=etag)
    _call(connection, "CancelExecution", request)


@app.command()
def retry(
    context: typer.Context,
    name: Name,
    etag: Etag = "",
    request_id: Annotated[str, typer.Option(help="UUID: sent again, it is done once.")] = "",
) -> None:
    """Queue an execution once more that failed, is dead or was cancelled."""
    connection = connection_of(context)
    request = pb.RetryExecutionRequest(
        name=connection.full_name(name), etag=etag, request_id=request_id
    )
    _call(connection, "RetryExecution", request)


@app.command()
def results(
    context: typer.Context,
    execution: Annotated[str, typer.Argument(help="An execution's name; otherwise all.")] = "",
    account: Account = "",
    month: Month = "",
) -> None:
    """List what executions found, the newest first."""
    connection = connection_of(context)
    request = ListScanResultsRequest(
        parent=connection.tenant,
        account_id=account.rsplit("/", 1)[-1],
        execution=connection.full_name(execution) if execution else "",
        month=month,
    )
    with connection.channel() as channel:
        listed = ScanResultServiceStub(channel).ListScanResults
        found = items(listed, request, lambda page: page.scan_results)
        write_messages(found, connection.output, _RESULT_COLUMNS)


def _with_triggered(
    listed: Any, request: pb.ListExecutionsRequest, own: Iterable[Execution]
) -> Iterator[Execution]:
    """Put those that somebody triggered, which the service lists apart, in their places."""
    others = pb.ListExecutionsRequest()
    others.CopyFrom(request)
    others.triggered = True
    made = sorted(items(listed, others, lambda page: page.executions), key=_moment, reverse=True)
    return heapq.merge(own, made, key=_moment, reverse=True)


def _moment(execution: Execution) -> int:
    return execution.fire_time.ToNanoseconds()


def _call(connection: Connection, method: str, request: Any) -> None:
    with connection.channel() as channel:
        answer = getattr(ExecutionServiceStub(channel), method)(request)
    write_message(answer, connection.output)
