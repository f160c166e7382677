"""`secmesh compliance webhooks`: where new contradictions are sent."""

from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from cli.connection import Connection, UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.output import talk, write_message, write_messages
from cli.tenants import Etag, RequestId
from secmesh.inventory.v1 import webhook_service_pb2 as api
from secmesh.inventory.v1.webhook_pb2 import Webhook
from secmesh.inventory.v1.webhook_service_pb2_grpc import WebhookServiceStub
from secmesh_client import items

app = typer.Typer(help="Where new contradictions are sent, signed.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Id, or full name.")]
Limit = Annotated[int, typer.Option(min=0, help="At most so many; 0 means all.")]
_COLLECTION = "webhooks"


@app.command("ls")
def ls(context: typer.Context, limit: Limit = 0) -> None:
    """List the webhooks."""
    connection = connection_of(context)
    request = api.ListWebhooksRequest(parent=connection.tenant)
    with connection.channel() as channel:
        listed = WebhookServiceStub(channel).ListWebhooks
        found = items(listed, request, lambda page: page.webhooks, limit)
        write_messages(found, connection.output, ["name", "url", "filter", "disabled"])


@app.command()
def get(context: typer.Context, webhook: Id) -> None:
    """Show a webhook; its secret is not shown again."""
    connection = connection_of(context)
    _call(connection, "GetWebhook", api.GetWebhookRequest(name=_name(connection, webhook)))


@app.command()
def create(
    context: typer.Context,
    webhook: Annotated[str, typer.Argument(metavar="ID", help="Id for the webhook.")],
    url: Annotated[str, typer.Option(help="Where it is sent, https://...")],
    filter_: Annotated[
        str, typer.Option("--filter", help="CEL, such as `severity >= SEVERITY_HIGH`; else all.")
    ] = "",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    request_id: RequestId = "",
) -> None:
    """Create a webhook. Its secret is shown now and never again."""
    connection = connection_of(context)
    made = Webhook(url=url, filter=filter_, description=description)
    request = api.CreateWebhookRequest(
        parent=connection.tenant, webhook_id=webhook, webhook=made, request_id=request_id
    )
    _call(connection, "CreateWebhook", request)


@app.command()
def update(
    context: typer.Context,
    webhook: Id,
    url: Annotated[str | None, typer.Option(help="Where it is sent, https://...")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="CEL over contradictions; empty for all.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether nothing is sent.")
    ] = None,
    etag: Etag = "",
    request_id: RequestId = "",
) -> None:
    """Change a webhook."""
    connection = connection_of(context)
    given = {"url": url, "filter": filter_, "description": description, "disabled": disabled}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise UsageProblem("name what is to change, such as --url")
    changed = Webhook(name=_name(connection, webhook), etag=etag)
    for name, value in changes.items():
        setattr(changed, name, value)
    request = api.UpdateWebhookRequest(
        webhook=changed, update_mask=FieldMask(paths=list(changes)), request_id=request_id
    )
    _call(connection, "UpdateWebhook", request)


@app.command("rm")
def rm(context: typer.Context, webhook: Id, etag: Etag = "", request_id: RequestId = "") -> None:
    """Delete a webhook with what it was still to be sent."""
    connection = connection_of(context)
    request = api.DeleteWebhookRequest(
        name=_name(connection, webhook), etag=etag, request_id=request_id
    )
    _call(connection, "DeleteWebhook", request)


@app.command("rotate-secret")
def rotate_secret(context: typer.Context, webhook: Id, request_id: RequestId = "") -> None:
    """Make another secret and show it; the one before signs beside it for a day."""
    connection = connection_of(context)
    request = api.RotateWebhookSecretRequest(name=_name(connection, webhook), request_id=request_id)
    _call(connection, "RotateWebhookSecret", request)


@app.command("test")
def test(context: typer.Context, webhook: Id) -> None:
    """Send a signed ping now. Exits with 1 if the receiver does not take it."""
    connection = connection_of(context)
    request = api.TestWebhookRequest(name=_name(connection, webhook))
    with connection.channel() as channel:
        answer = WebhookServiceStub(channel).TestWebhook(request)
    write_message(answer, connection.output)
    if not answer.delivered:
        talk.print(f"the receiver {answer.problem}", style="red", markup=False)
        raise typer.Exit(ExitCode.REFUSED)


@app.command()
def deliveries(
    context: typer.Context,
    webhook: Id,
    condition: Annotated[str, typer.Option("--filter", help="CEL, such as `attempts > 3`.")] = "",
    limit: Limit = 100,
) -> None:
    """List what was and is to be sent, the newest first."""
    connection = connection_of(context)
    request = api.ListWebhookDeliveriesRequest(parent=_name(connection, webhook), filter=condition)
    with connection.channel() as channel:
        listed = WebhookServiceStub(channel).ListWebhookDeliveries
        found = items(listed, request, lambda page: page.webhook_deliveries, limit)
        columns = ["create_time", "state", "attempts", "next_attempt_time", "problem", "name"]
        write_messages(found, connection.output, columns)


def _name(connection: Connection, webhook: str) -> str:
    if webhook.startswith("tenants/"):
        return webhook
    return f"{connection.tenant}/{_COLLECTION}/{webhook.removeprefix(f'{_COLLECTION}/')}"


def _call(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        write_message(getattr(WebhookServiceStub(channel), method)(request), connection.output)
