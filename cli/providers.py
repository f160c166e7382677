"""`secmesh providers`: the clouds that a tenant has accounts in."""

from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from cli.connection import Connection, connection_of
from cli.enum_words import enum_value, offered
from cli.output import write_message, write_messages
from cli.tenants import Etag, RequestId, given
from secmesh.tenancy.v1 import provider_pb2
from secmesh.tenancy.v1 import provider_service_pb2 as pb
from secmesh.tenancy.v1.provider_pb2 import Provider
from secmesh.tenancy.v1.provider_service_pb2_grpc import ProviderServiceStub
from secmesh_client import items

app = typer.Typer(help="Keep the clouds that a tenant has accounts in.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Id, providers/ID, or full name.")]
_COLUMNS = ("name", "provider_type", "provider_name", "status", "account_count")
_TYPE = provider_pb2.ProviderType.DESCRIPTOR


@app.command("list")
def list_(
    context: typer.Context,
    vendor: Annotated[
        str, typer.Option("--type", help="Only of this vendor.", autocompletion=offered(_TYPE))
    ] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones as well.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Most providers; 0 means all.")] = 100,
) -> None:
    """List providers."""
    connection = connection_of(context)
    request = pb.ListProvidersRequest(parent=connection.tenant, show_deleted=deleted)
    if vendor:
        request.provider_type = vendor_of(vendor)
    with connection.channel() as channel:
        listed = ProviderServiceStub(channel).ListProviders
        found = items(listed, request, lambda page: page.providers, limit)
        write_messages(found, connection.output, _COLUMNS)


@app.command()
def get(context: typer.Context, provider: Name) -> None:
    """Show a provider."""
    connection = connection_of(context)
    name = provider_name(connection, provider)
    _call(connection, "GetProvider", pb.GetProviderRequest(name=name))


@app.command()
def create(
    context: typer.Context,
    vendor: Annotated[
        str, typer.Argument(help="aws, azure or gcp.", autocompletion=offered(_TYPE))
    ],
    name: Annotated[str, typer.Argument(help="What people call it.")],
    provider_id: Annotated[str, typer.Option("--id", help="Otherwise one is made.")] = "",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    request_id: RequestId = "",
) -> None:
    """Create a provider."""
    connection = connection_of(context)
    made = Provider(provider_type=vendor_of(vendor), provider_name=name)
    if description:
        made.description = description
    request = pb.CreateProviderRequest(
        parent=connection.tenant, provider=made, provider_id=provider_id, request_id=request_id
    )
    _call(connection, "CreateProvider", request)


@app.command()
def update(
    context: typer.Context,
    provider: Name,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    etag: Etag = "",
) -> None:
    """Change a provider."""
    connection = connection_of(context)
    changed = Provider(name=provider_name(connection, provider), etag=etag)
    paths = given(changed, provider_name=name, description=description)
    request = pb.UpdateProviderRequest(provider=changed, update_mask=FieldMask(paths=paths))
    _call(connection, "UpdateProvider", request)


@app.command()
def delete(context: typer.Context, provider: Name, etag: Etag = "") -> None:
    """Delete a provider without accounts; for 30 days it can be undeleted."""
    connection = connection_of(context)
    name = provider_name(connection, provider)
    _call(connection, "DeleteProvider", pb.DeleteProviderRequest(name=name, etag=etag))


@app.command()
def undelete(context: typer.Context, provider: Name, etag: Etag = "") -> None:
    """Bring a deleted provider back."""
    connection = connection_of(context)
    name = provider_name(connection, provider)
    _call(connection, "UndeleteProvider", pb.UndeleteProviderRequest(name=name, etag=etag))


def vendor_of(word: str) -> provider_pb2.ProviderType.ValueType:
    """Give the vendor that a word such as ``aws`` means; UsageProblem names those there are."""
    return provider_pb2.ProviderType.Value(enum_value(_TYPE, word, "provider type"))


def provider_name(connection: Connection, provider: str) -> str:
    """Give the full name of a provider from its id or any part of its name."""
    return connection.full_name(provider if "/" in provider else f"providers/{provider}")


def _call(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        answer = getattr(ProviderServiceStub(channel), method)(request)
        write_message(answer, connection.output)
