"""`secmesh api-keys`: API keys that the tenancy service keeps."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from cli.connection import Connection, UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.moments import parse_expiry
from cli.output import OutputFormat, talk, visible, write_message, write_messages
from cli.tenants import Etag, RequestId
from secmesh.tenancy.v1 import api_key_service_pb2 as pb
from secmesh.tenancy.v1.api_key_pb2 import ApiKey
from secmesh.tenancy.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from secmesh_client import items

app = typer.Typer(
    help="Make, list and revoke API keys of a tenant, over the gateway.", no_args_is_help=True
)
Id = Annotated[str, typer.Argument(metavar="ID", help="Id, apiKeys/ID, or full name.")]
_COLUMNS = ("name", "display_name", "state", "roles", "permissions", "expire_time", "last_use_time")
_COLLECTION = "apiKeys"


@app.command()
def create(
    context: typer.Context,
    role: Annotated[list[str] | None, typer.Option(help="Role, any number of times.")] = None,
    permission: Annotated[
        list[str] | None,
        typer.Option(help="Permission such as inventory.*.list, any number of times."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Only for this method, such as secmesh.inventory.v1.SyncService/*, repeatable."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for, as `ci pipeline`.")] = "",
    expires: Annotated[str, typer.Option(help="Such as 12h or 90d; at most 366d.")] = "90d",
    request_id: RequestId = "",
) -> None:
    """Make a key and print it once: nobody can show it again.

    It can be given no more than one may do oneself.
    """
    if not role and not permission:
        raise UsageProblem("a key without --role or --permission may do nothing")
    connection = connection_of(context)
    given = ApiKey(roles=role or (), permissions=permission or (), methods=method or ())
    if name:
        given.display_name = name
    given.expire_time.FromDatetime(datetime.now(UTC) + parse_expiry(expires))
    request = pb.CreateApiKeyRequest(parent=connection.tenant, api_key=given, request_id=request_id)
    with connection.channel() as channel:
        made = ApiKeyServiceStub(channel).CreateApiKey(request)
    if connection.output is not OutputFormat.TABLE:
        write_message(made, connection.output)
    elif made.key_text:
        expiry = made.api_key.expire_time.ToDatetime(UTC)
        talk.print(f"Key {_id_of(made.api_key)}, good until {expiry:%Y-%m-%d %H:%M} UTC:")
        typer.echo(made.key_text)
    if not made.key_text:
        problem = "this request was answered before, and the key was shown then; revoke "
        talk.print(visible(problem + _id_of(made.api_key)), markup=False)
        raise typer.Exit(ExitCode.REFUSED)


@app.command("ls")
def ls(
    context: typer.Context,
    revoked: Annotated[bool, typer.Option("--revoked", help="Revoked ones as well.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Most keys; 0 means all.")] = 100,
) -> None:
    """List what is known of the keys."""
    connection = connection_of(context)
    request = pb.ListApiKeysRequest(parent=connection.tenant, show_revoked=revoked)
    with connection.channel() as channel:
        listed = ApiKeyServiceStub(channel).ListApiKeys
        found = items(listed, request, lambda page: page.api_keys, limit)
        write_messages(found, connection.output, _COLUMNS)


@app.command()
def get(context: typer.Context, key_id: Id) -> None:
    """Show what is known of a key."""
    connection = connection_of(context)
    _call(connection, "GetApiKey", pb.GetApiKeyRequest(name=_name(connection, key_id)))


@app.command()
def update(
    context: typer.Context,
    key_id: Id,
    name: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    expires: Annotated[str, typer.Option(help="From now, such as 90d; at most 366d.")] = "",
    etag: Etag = "",
) -> None:
    """Change what a key is called or when it expires; what it may do never changes."""
    connection = connection_of(context)
    changed, paths = ApiKey(name=_name(connection, key_id), etag=etag), []
    if name is not None:
        paths.append("display_name")
        changed.display_name = name
    if expires:
        paths.append("expire_time")
        changed.expire_time.FromDatetime(datetime.now(UTC) + parse_expiry(expires))
    if not paths:
        raise UsageProblem("nothing to change was given")
    request = pb.UpdateApiKeyRequest(api_key=changed, update_mask=FieldMask(paths=paths))
    _call(connection, "UpdateApiKey", request)


@app.command()
def revoke(context: typer.Context, key_id: Id, etag: Etag = "") -> None:
    """End a key for good; gateways know within 30 seconds."""
    connection = connection_of(context)
    request = pb.RevokeApiKeyRequest(name=_name(connection, key_id), etag=etag)
    _call(connection, "RevokeApiKey", request)


def _id_of(key: ApiKey) -> str:
    return key.name.rpartition("/")[2]


def _name(connection: Connection, key_id: str) -> str:
    if key_id.startswith("tenants/"):
        return key_id
    return f"{connection.tenant}/{_COLLECTION}/{key_id.removeprefix(f'{_COLLECTION}/')}"


def _call(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        answer = getattr(ApiKeyServiceStub(channel), method)(request)
        write_message(answer, connection.output)
