"""`secmesh tokens`: service credentials, tokens for them, and the keys that sign."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.message import Message

from cli.connection import Connection, connection_of
from cli.exit_codes import ExitCode
from cli.output import OutputFormat, talk, write_message, write_messages
from cli.tenants import Etag, RequestId
from cli.typed import read_text
from secmesh.tenancy.v1 import token_service_pb2 as pb
from secmesh.tenancy.v1.service_credential_pb2 import ServiceCredential
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client import items

app = typer.Typer(
    help="Keep service credentials, and the keys that sign their tokens.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="Id, service_credentials/ID, or full name.")]
_COLUMNS = ("name", "state", "client_id", "expire_time", "display_name")
_KEY_COLUMNS = ("kid", "state", "activate_time", "remove_time")


@app.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=0, help="Most credentials; 0 means all.")] = 100,
) -> None:
    """List service credentials."""
    connection = connection_of(context)
    request = pb.ListServiceCredentialsRequest(parent=connection.tenant)
    with connection.channel() as channel:
        listed = TokenServiceStub(channel).ListServiceCredentials
        found = items(listed, request, lambda page: page.service_credentials, limit)
        write_messages(found, connection.output, _COLUMNS)


@app.command()
def get(context: typer.Context, credential: Name) -> None:
    """Show a service credential; its secret is shown by nothing."""
    connection = connection_of(context)
    name = _full_name(connection, credential)
    _call(connection, "GetServiceCredential", pb.GetServiceCredentialRequest(name=name))


@app.command()
def create(
    context: typer.Context,
    credential: Annotated[str, typer.Argument(help="Its id, such as scans.")],
    role: Annotated[list[str] | None, typer.Option(help="A role of its tokens.")] = None,
    permission: Annotated[
        list[str] | None, typer.Option(help="A permission beside those, module.collection.verb.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method they are limited to, package.Service/Method or .../*."),
    ] = None,
    act_for: Annotated[
        list[str] | None, typer.Option("--act-for", help="Another tenant they act for; * for all.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=731, help="After which it ends; otherwise 365.")
    ] = None,
    label: Annotated[str, typer.Option(help="What people call it.")] = "",
    request_id: RequestId = "",
) -> None:
    """Make a service credential; its secret is shown now and never again."""
    connection = connection_of(context)
    made = ServiceCredential(
        roles=role or (),
        permissions=permission or (),
        methods=method or (),
        tenants=act_for or (),
    )
    if days is not None:
        ends = datetime.now(UTC) + timedelta(days=days) - timedelta(minutes=1)
        made.expire_time.FromDatetime(ends)
    if label:
        made.display_name = label
    request = pb.CreateServiceCredentialRequest(
        parent=connection.tenant,
        service_credential=made,
        service_credential_id=credential,
        request_id=request_id,
    )
    _issue(connection, "CreateServiceCredential", request)


@app.command()
def rotate(
    context: typer.Context,
    credential: Name,
    overlap: Annotated[
        int, typer.Option(min=0, max=604_800, help="Seconds that the old secret is taken, too.")
    ] = 0,
    etag: Etag = "",
    request_id: RequestId = "",
) -> None:
    """Give a service credential another secret, shown now and never again."""
    connection = connection_of(context)
    request = pb.RotateServiceCredentialRequest(
        name=_full_name(connection, credential),
        overlap_seconds=overlap,
        etag=etag,
        request_id=request_id,
    )
    _issue(connection, "RotateServiceCredential", request)


@app.command()
def revoke(context: typer.Context, credential: Name, etag: Etag = "") -> None:
    """End a service credential for ever."""
    connection = connection_of(context)
    name = _full_name(connection, credential)
    request = pb.RevokeServiceCredentialRequest(name=name, etag=etag)
    _call(connection, "RevokeServiceCredential", request)


@app.command()
def delete(context: typer.Context, credential: Name, etag: Etag = "") -> None:
    """Remove a service credential."""
    connection = connection_of(context)
    name = _full_name(connection, credential)
    request = pb.DeleteServiceCredentialRequest(name=name, etag=etag)
    with connection.channel() as channel:
        done = TokenServiceStub(channel).DeleteServiceCredential(request)
    if connection.output is not OutputFormat.TABLE:
        write_message(done, connection.output)


@app.command()
def issue(
    context: typer.Context,
    client_id: Annotated[str, typer.Argument(help="As the credential's client_id says.")],
    secret_file: Annotated[
        Path, typer.Argument(help="File with its secret; - reads standard input.")
    ],
    scope: Annotated[
        str, typer.Option(help="Permissions, with spaces between; all if empty.")
    ] = "",
    audience: Annotated[str, typer.Option(help="The one service that is to take it.")] = "",
    act_for: Annotated[
        list[str] | None, typer.Option("--act-for", help="A tenant it is to act for.")
    ] = None,
) -> None:
    """Get a token of five minutes for a service credential."""
    request = pb.IssueTokenRequest(
        client_id=client_id,
        client_secret=read_text(secret_file).strip(),
        scope=scope,
        audience=audience,
        tenants=act_for or (),
    )
    _call(connection_of(context), "IssueToken", request)


@app.command()
def keys(context: typer.Context) -> None:
    """List the keys that sign tokens."""
    _keys(context, "ListSigningKeys", pb.ListSigningKeysRequest())


@app.command("rotate-key")
def rotate_key(context: typer.Context) -> None:
    """Publish the next key now; it signs ten minutes later."""
    _keys(context, "RotateSigningKey", pb.RotateSigningKeyRequest())


@app.command("revoke-key")
def revoke_key(
    context: typer.Context, kid: Annotated[str, typer.Argument(help="As keys lists it.")]
) -> None:
    """Take a key that others may know out of use at once, with all that it signed."""
    _keys(context, "RevokeSigningKey", pb.RevokeSigningKeyRequest(kid=kid))


def _keys(context: typer.Context, method: str, request: Message) -> None:
    connection = connection_of(context)
    with connection.channel() as channel:
        answer = getattr(TokenServiceStub(channel), method)(request)
        write_messages(answer.signing_keys, connection.output, _KEY_COLUMNS)


def _full_name(connection: Connection, credential: str) -> str:
    return connection.full_name(
        credential if "/" in credential else f"serviceCredentials/{credential}"
    )


def _issue(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        answer: pb.IssuedServiceCredential = getattr(TokenServiceStub(channel), method)(request)
    write_message(answer, connection.output)
    if not answer.client_secret:
        talk.print("this request was answered before, and the secret was shown then: rotate")
        raise typer.Exit(ExitCode.REFUSED)


def _call(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        answer = getattr(TokenServiceStub(channel), method)(request)
        write_message(answer, connection.output)
