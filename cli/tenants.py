"""`secmesh tenants`: who is served, and how much each may have."""

import time
from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from cli.connection import Connection, UsageProblem, connection_of
from cli.enum_words import enum_value, offered
from cli.output import write_message, write_messages
from secmesh.tenancy.v1 import tenant_pb2
from secmesh.tenancy.v1 import tenant_service_pb2 as pb
from secmesh.tenancy.v1.tenant_offboarding_pb2 import (
    GetTenantOffboardingRequest,
    OffboardTenantRequest,
    TenantOffboarding,
)
from secmesh.tenancy.v1.tenant_pb2 import Tenant, TenantQuotas
from secmesh.tenancy.v1.tenant_service_pb2_grpc import TenantServiceStub
from secmesh_client import items

app = typer.Typer(help="Keep tenants: mostly for the platform's own people.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="Id of the tenant; otherwise one's own.")]
Etag = Annotated[str, typer.Option(help="The etag that it must still have.")]
RequestId = Annotated[str, typer.Option(help="UUID: sent again, it is done once.")]
_COLUMNS = ("name", "tenant_name", "status", "create_time", "purge_time")
_STORE_COLUMNS = ("store", "state", "removed", "remaining", "remains_until", "note")
_WATCH_SECONDS = 2.0
"""Between two calls that remove what is left."""
_STATUS = tenant_pb2.TenantStatus.DESCRIPTOR
_QUOTAS = (
    "max_providers",
    "max_accounts",
    "max_schedules",
    "max_api_keys",
    "max_service_credentials",
)


@app.command("list")
def list_(
    context: typer.Context,
    status: Annotated[
        str, typer.Option(help="Otherwise active ones.", autocompletion=offered(_STATUS))
    ] = "active",
    limit: Annotated[int, typer.Option(min=0, help="Most tenants; 0 means all.")] = 100,
) -> None:
    """List the tenants of a status, the oldest first."""
    connection = connection_of(context)
    wanted = tenant_pb2.TenantStatus.Value(enum_value(_STATUS, status, "status"))
    request = pb.ListTenantsRequest(status=wanted)
    with connection.channel() as channel:
        listed = TenantServiceStub(channel).ListTenants
        found = items(listed, request, lambda page: page.tenants, limit)
        write_messages(found, connection.output, _COLUMNS)


@app.command()
def get(context: typer.Context, tenant: Id = "") -> None:
    """Show a tenant."""
    connection = connection_of(context)
    _call(connection, "GetTenant", pb.GetTenantRequest(name=_name(connection, tenant)))


@app.command()
def find(
    context: typer.Context,
    tenant_name: Annotated[str, typer.Argument(help="What people call it, in any case.")],
) -> None:
    """Show the tenant that people call so."""
    connection = connection_of(context)
    _call(connection, "LookupTenant", pb.LookupTenantRequest(tenant_name=tenant_name))


@app.command()
def create(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="Its id, such as acme; never used again.")],
    tenant_name: Annotated[str, typer.Argument(help="What people call it.")],
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    request_id: RequestId = "",
) -> None:
    """Create a tenant."""
    connection = connection_of(context)
    made = Tenant(tenant_name=tenant_name)
    if description:
        made.description = description
    request = pb.CreateTenantRequest(tenant=made, tenant_id=tenant, request_id=request_id)
    _call(connection, "CreateTenant", request)


@app.command()
def update(
    context: typer.Context,
    tenant: Id = "",
    tenant_name: Annotated[str | None, typer.Option("--name", help="What people call it.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    etag: Etag = "",
) -> None:
    """Change a tenant."""
    connection = connection_of(context)
    changed = Tenant(name=_name(connection, tenant), etag=etag)
    paths = given(changed, tenant_name=tenant_name, description=description)
    request = pb.UpdateTenantRequest(tenant=changed, update_mask=FieldMask(paths=paths))
    _call(connection, "UpdateTenant", request)


@app.command()
def delete(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="Id of the tenant.")],
    etag: Etag = "",
) -> None:
    """Close a tenant; for 30 days it can be undeleted."""
    connection = connection_of(context)
    request = pb.DeleteTenantRequest(name=_name(connection, tenant), etag=etag)
    _call(connection, "DeleteTenant", request)


@app.command()
def undelete(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="Id of the tenant.")],
    etag: Etag = "",
) -> None:
    """Open a deleted tenant again."""
    connection = connection_of(context)
    request = pb.UndeleteTenantRequest(name=_name(connection, tenant), etag=etag)
    _call(connection, "UndeleteTenant", request)


@app.command()
def offboard(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="Id of the tenant, which was deleted before.")],
    confirm: Annotated[str, typer.Option(help="Its id once more, to remove it.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Only count what there is.")] = False,
    shred: Annotated[
        bool, typer.Option("--shred", help="Even if it could still be undeleted.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until nothing is left to remove.")
    ] = False,
) -> None:
    """Remove all that is kept for a tenant, here and elsewhere, for good; tell what remains.

    The other services are asked in one's own name. Broken off, it is called again and goes on.
    Without --confirm and --plan it tells how an earlier call left the tenant.
    """
    if plan and (confirm or shred or watch):
        raise UsageProblem("--plan changes nothing: leave --confirm, --shred and --watch out")
    connection = connection_of(context)
    name = _name(connection, tenant)
    request = OffboardTenantRequest(
        name=name, confirm_tenant_id=confirm, shred=shred, validate_only=plan
    )
    with connection.channel() as channel:
        stub = TenantServiceStub(channel)
        if not (plan or confirm):
            asked = GetTenantOffboardingRequest(name=f"{name}/offboarding")
            answer: TenantOffboarding = stub.GetTenantOffboarding(asked)
        else:
            answer = stub.OffboardTenant(request)
            while watch and not answer.HasField("complete_time"):
                time.sleep(_WATCH_SECONDS)
                answer = stub.OffboardTenant(request)
        write_messages(answer.stores, connection.output, _STORE_COLUMNS)


@app.command()
def quotas(context: typer.Context, tenant: Id = "") -> None:
    """Show how much a tenant may have, and has."""
    connection = connection_of(context)
    name = f"{_name(connection, tenant)}/quotas"
    _call(connection, "GetTenantQuotas", pb.GetTenantQuotasRequest(name=name))


@app.command("set-quotas")
def set_quotas(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="Id of the tenant.")],
    providers: Annotated[int | None, typer.Option(min=0, help="Most providers.")] = None,
    accounts: Annotated[int | None, typer.Option(min=0, help="Most accounts.")] = None,
    schedules: Annotated[int | None, typer.Option(min=0, help="Most schedules.")] = None,
    api_keys: Annotated[int | None, typer.Option(min=0, help="Most API keys.")] = None,
    service_credentials: Annotated[
        int | None, typer.Option(min=0, help="Most service credentials.")
    ] = None,
) -> None:
    """Change how much a tenant may have."""
    connection = connection_of(context)
    changed = TenantQuotas(name=f"{_name(connection, tenant)}/quotas")
    limits = (providers, accounts, schedules, api_keys, service_credentials)
    values = dict(zip(_QUOTAS, limits, strict=True))
    mask = FieldMask(paths=given(changed, **values))
    request = pb.UpdateTenantQuotasRequest(quotas=changed, update_mask=mask)
    _call(connection, "UpdateTenantQuotas", request)


def given(message: Message, **values: Any) -> list[str]:
    """Set the fields that options were given for; give their names. UsageProblem if none was."""
    paths = [name for name, value in values.items() if value is not None]
    if not paths:
        raise UsageProblem("nothing to change was given")
    for path in paths:
        # An option that is given empty takes the field away: the mask names it.
        if values[path] != "":
            setattr(message, path, values[path])
    return paths


def _name(connection: Connection, tenant: str) -> str:
    if not tenant:
        return connection.tenant
    return tenant if tenant.startswith("tenants/") else f"tenants/{tenant}"


def _call(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        answer = getattr(TenantServiceStub(channel), method)(request)
        write_message(answer, connection.output)
