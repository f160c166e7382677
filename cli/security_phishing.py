"""`secmesh security phishing`: lead campaigns, and see what came of them."""

from typing import Annotated, Any

import typer

from cli.connection import Connection, connection_of
from cli.enum_words import enum_value
from cli.moments import parse_time
from cli.output import OutputFormat, write_message, write_messages
from secmesh.security.v1 import phishing_service_pb2 as pb
from secmesh.security.v1.phishing_service_pb2_grpc import PhishingServiceStub

app = typer.Typer(help="Lead campaigns, and see what came of them.", no_args_is_help=True)
Campaign = Annotated[str, typer.Argument(help="Full name, or phishing_campaigns/ID.")]


@app.command()
def launch(context: typer.Context, name: Campaign) -> None:
    """Launch a campaign: its mails can be sent."""
    connection = connection_of(context)
    request = pb.LaunchCampaignRequest(name=connection.full_name(name))
    _call(connection, "LaunchCampaign", request)


@app.command()
def record(
    context: typer.Context,
    name: Campaign,
    recipient: Annotated[str, typer.Argument(help="Key of whose mail it was.")],
    event: Annotated[str, typer.Argument(help="What was noticed, such as clicked.")],
    at: Annotated[str, typer.Option(help="When it was; else now.")] = "",
    request_id: Annotated[str, typer.Option(help="UUID: sent again, it is done once.")] = "",
) -> None:
    """Tell what was noticed of a mail."""
    connection = connection_of(context)
    kind = enum_value(pb.PhishingEventType.DESCRIPTOR, event, "event")
    request = pb.RecordEventsRequest(parent=connection.full_name(name), request_id=request_id)
    request.events.add(
        recipient_key=recipient,
        type=pb.PhishingEventType.Value(kind),
        event_time=parse_time(at, "--at") if at else None,
    )
    _call(connection, "RecordEvents", request)


@app.command()
def complete(context: typer.Context, name: Campaign) -> None:
    """End a campaign: nothing more counts."""
    connection = connection_of(context)
    request = pb.CompleteCampaignRequest(name=connection.full_name(name))
    _call(connection, "CompleteCampaign", request)


@app.command()
def results(context: typer.Context, name: Campaign) -> None:
    """Show what came of a campaign, of each group and in all."""
    connection = connection_of(context)
    request = pb.GetCampaignResultsRequest(name=connection.full_name(name))
    with connection.channel() as channel:
        answer = PhishingServiceStub(channel).GetCampaignResults(request)
    if connection.output is not OutputFormat.TABLE:
        write_message(answer, connection.output)
        return
    rows = [*answer.groups, pb.CampaignGroup(group="all", numbers=answer.total)]
    fields = ("targets", "sent", "opened", "clicked", "submitted", "reported", "errors")
    write_messages(rows, connection.output, ["group", *(f"numbers.{each}" for each in fields)])


def _call(connection: Connection, method: str, request: Any) -> None:
    with connection.channel() as channel:
        write_message(getattr(PhishingServiceStub(channel), method)(request), connection.output)
