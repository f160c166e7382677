"""`secmesh security dashboard`, `measure` and `report`: figures from records as they are."""

from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from cli.connection import connection_of
from cli.enum_words import enum_value
from cli.output import OutputFormat, talk, write_bytes, write_message, write_rows
from cli.saving import save
from secmesh.security.v1 import analytics_service_pb2 as pb
from secmesh.security.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from secmesh.security.v1.vocabulary_pb2 import TrendPeriod

Dashboard = Annotated[str, typer.Argument(help="Full name, or analytics_dashboards/ID.")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of security records."""
    app.command()(dashboard)
    app.command()(measure)
    app.command()(report)


def dashboard(context: typer.Context, name: Dashboard) -> None:
    """Show the points of each widget of a dashboard, or why it has none."""
    connection = connection_of(context)
    request = pb.EvaluateDashboardRequest(name=connection.full_name(name))
    with connection.channel() as channel:
        answer = AnalyticsServiceStub(channel).EvaluateDashboard(request)
    if connection.output is not OutputFormat.TABLE:
        write_message(answer, connection.output)
        return
    write_rows([row for widget in answer.widgets for row in _rows(widget)], connection.output)


def measure(
    context: typer.Context,
    name: Dashboard,
    period: Annotated[str, typer.Option(help="Span that it stands for, such as day.")] = "day",
) -> None:
    """Keep the present values of a dashboard as metrics."""
    connection = connection_of(context)
    value = enum_value(TrendPeriod.DESCRIPTOR, period, "span of time")
    request = pb.RecordMetricsRequest(
        dashboard=connection.full_name(name), period=TrendPeriod.Value(value)
    )
    with connection.channel() as channel:
        write_message(AnalyticsServiceStub(channel).RecordMetrics(request), connection.output)


def report(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Full name, or analytics_reports/ID.")],
    file: Annotated[Path | None, typer.Option(help="Where to write it; else it is shown.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Keep nothing of it in the record.")] = False,
) -> None:
    """Make the document of a report."""
    connection = connection_of(context)
    request = pb.GenerateReportRequest(name=connection.full_name(name), validate_only=dry_run)
    with connection.channel() as channel:
        answer = AnalyticsServiceStub(channel).GenerateReport(request)
    if file is None:
        write_bytes(answer.document)
        return
    save(file, answer.document)
    talk.print(f"{file}: {len(answer.document)} bytes of {answer.media_type}", markup=False)


def _rows(widget: pb.WidgetSeries) -> list[dict[str, Any]]:
    """Give a row for each point, or one that says why there is none."""
    title = widget.title or widget.key
    if widget.WhichOneof("result") == "error":
        return [{"widget": title, "keys": "", "value": "", "problem": widget.error.message}]
    return [
        {
            "widget": title,
            "keys": ", ".join(_word(each) for each in point.keys),
            "value": _word(point.value),
            "problem": "",
        }
        for point in widget.series.points
    ]


def _word(scalar: Any) -> str:
    return " ".join(str(value) for value in MessageToDict(scalar).values())
