"""`secmesh compliance watch` and `contradictions`: claims that evidence turned against."""

from typing import Annotated, Any

import typer
from grpc import StatusCode

from cli.changes import follow
from cli.connection import Connection, connection_of
from cli.output import OutputFormat, cell, write_bytes, write_message, write_messages
from secmesh.inventory.v1 import contradiction_service_pb2 as api
from secmesh.inventory.v1.compliance_service_pb2_grpc import ComplianceServiceStub
from secmesh.inventory.v1.contradiction_service_pb2_grpc import ContradictionServiceStub
from secmesh.inventory.v1.ssp_requests_pb2 import GetSspRequest
from secmesh_client import CallRefused, items

app = typer.Typer()

Filter = Annotated[
    str, typer.Option("--filter", help="CEL, such as `verdict == VERDICT_CONTRADICTED`.")
]
Plan = Annotated[str, typer.Option("--ssp", help="Only of this plan, by its id or full name.")]


@app.command()
def watch(
    context: typer.Context,
    ssp: Plan = "",
    filter_: Filter = "",
    since: Annotated[
        str, typer.Option(help="Revision after which to go on; else what is found from now on.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="End after so many; 0 means never.")] = 0,
) -> None:
    """Show each new contradiction until interrupted; goes on by itself when servers restart."""
    connection = connection_of(context)
    if ssp:
        _require_plan(connection, name_of_plan(connection, ssp))
    request = api.WatchContradictionsRequest(
        parent=connection.tenant, revision=since, filter=_condition(connection, ssp, filter_)
    )
    follow(
        connection,
        lambda channel: ContradictionServiceStub(channel).WatchContradictions,
        request,
        limit,
        _show,
    )


@app.command()
def contradictions(
    context: typer.Context,
    ssp: Plan = "",
    filter_: Filter = "",
    limit: Annotated[int, typer.Option(min=0, help="Most contradictions; 0 means all.")] = 100,
) -> None:
    """List what evidence turned against, the newest first."""
    connection = connection_of(context)
    request = api.ListContradictionsRequest(
        parent=connection.tenant, filter=_condition(connection, ssp, filter_)
    )
    with connection.channel() as channel:
        stub = ContradictionServiceStub(channel)
        found = items(stub.ListContradictions, request, lambda page: page.contradictions, limit)
        columns = [
            "evaluate_time",
            "severity",
            "verdict",
            "previous_verdict",
            "control_id",
            "reason",
        ]
        write_messages(found, connection.output, columns)


def name_of_plan(connection: Connection, ssp: str) -> str:
    """Give the full name of a plan that is told by its id or its name; empty for none."""
    return ssp if not ssp or ssp.startswith("tenants/") else f"{connection.tenant}/ssps/{ssp}"


def _require_plan(connection: Connection, name: str) -> None:
    """Let nobody wait for ever for a plan that there is not."""
    with connection.channel() as channel:
        try:
            ComplianceServiceStub(channel).GetSsp(GetSspRequest(name=name))
        except CallRefused as refused:
            # Who may watch need not be allowed to read plans.
            if refused.code is not StatusCode.PERMISSION_DENIED:
                raise


def _condition(connection: Connection, ssp: str, filter_: str) -> str:
    if not ssp:
        return filter_
    name = name_of_plan(connection, ssp)
    # A raw literal has no escapes; a name has neither quotes nor ends of lines, or is no name.
    of_plan = f"ssp == r'{name}'"
    return f"{of_plan} && ({filter_})" if filter_ else of_plan


def _show(event: Any, output: OutputFormat) -> None:
    """Write one event at once: a line, or JSON on a line."""
    if output is not OutputFormat.TABLE:
        write_message(event, OutputFormat.NDJSON)
        return
    found = event.contradiction
    shown = ("evaluate_time", "severity", "verdict", "control_id", "ssp", "reason")
    cells = [cell(found, name) for name in shown]
    line = "  ".join([event.revision, *filter(None, cells)])
    write_bytes(f"{line}\n".encode(errors="backslashreplace"))
