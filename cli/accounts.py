"""`secmesh accounts`: the cloud accounts of a tenant."""

from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from cli import onboarding
from cli.connection import Connection, UsageProblem, connection_of
from cli.enum_words import enum_value, offered
from cli.output import write_message, write_messages
from cli.providers import provider_name, vendor_of
from cli.tenants import Etag, RequestId, given
from secmesh.tenancy.v1 import account_pb2
from secmesh.tenancy.v1 import account_service_pb2 as pb
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceStub
from secmesh_client import items

app = typer.Typer(help="Keep the cloud accounts that are scanned.", no_args_is_help=True)
onboarding.register(app)
Name = Annotated[str, typer.Argument(help="Id, accounts/ID, or full name.")]
_COLUMNS = ("name", "cloud_account_id", "account_name", "credential_type", "status")
_STATUS = account_pb2.AccountStatus.DESCRIPTOR
_WAY = account_pb2.CredentialType.DESCRIPTOR
Role = Annotated[str, typer.Option("--role", help="ARN of the role that is assumed.")]
Way = Annotated[
    str,
    typer.Option(
        "--credentials",
        help="How it is entered, such as aws-iam-role.",
        autocompletion=offered(_WAY),
    ),
]


@app.command("list")
def list_(
    context: typer.Context,
    provider: Annotated[str, typer.Option(help="Only of this provider.")] = "",
    status: Annotated[
        str,
        typer.Option(help="Only of this status of a provider.", autocompletion=offered(_STATUS)),
    ] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones as well.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Most accounts; 0 means all.")] = 100,
) -> None:
    """List accounts."""
    connection = connection_of(context)
    request = pb.ListAccountsRequest(parent=connection.tenant, show_deleted=deleted)
    if provider:
        request.provider = provider_name(connection, provider)
    if status and not provider:
        raise UsageProblem("--status is for accounts of a --provider")
    if status:
        value = enum_value(_STATUS, status, "status")
        request.status = account_pb2.AccountStatus.Value(value)
    with connection.channel() as channel:
        listed = AccountServiceStub(channel).ListAccounts
        found = items(listed, request, lambda page: page.accounts, limit)
        write_messages(found, connection.output, _COLUMNS)


@app.command()
def get(context: typer.Context, account: Name) -> None:
    """Show an account."""
    connection = connection_of(context)
    name = account_name(connection, account)
    _call(connection, "GetAccount", pb.GetAccountRequest(name=name))


@app.command()
def find(
    context: typer.Context,
    vendor: Annotated[str, typer.Argument(help="aws, azure or gcp.")],
    cloud_account_id: Annotated[str, typer.Argument(help="The vendor's id, such as 12 digits.")],
) -> None:
    """Show the account that the vendor knows by an id."""
    connection = connection_of(context)
    request = pb.LookupAccountRequest(
        parent=connection.tenant,
        provider_type=vendor_of(vendor),
        cloud_account_id=cloud_account_id,
    )
    _call(connection, "LookupAccount", request)


@app.command()
def create(
    context: typer.Context,
    provider: Annotated[str, typer.Argument(help="The provider that it is of.")],
    cloud_account_id: Annotated[str, typer.Argument(help="The vendor's id, such as 12 digits.")],
    name: Annotated[str, typer.Argument(help="What people call it.")],
    role: Role = "",
    credentials: Way = "",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    request_id: RequestId = "",
) -> None:
    """Register an account; its external id goes into the trust of the role.

    With --role it is entered by that role, and nothing secret is kept.
    """
    if not role and not credentials:
        raise UsageProblem("give a --role, or --credentials")
    connection = connection_of(context)
    made = Account(
        provider=provider_name(connection, provider),
        cloud_account_id=cloud_account_id,
        account_name=name,
        credential_type=_way(credentials or "aws-iam-role"),
    )
    for field, value in (("role_arn", role), ("description", description)):
        if value:
            setattr(made, field, value)
    request = pb.CreateAccountRequest(parent=connection.tenant, account=made, request_id=request_id)
    _call(connection, "CreateAccount", request)


@app.command()
def update(
    context: typer.Context,
    account: Name,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    role: Annotated[str | None, typer.Option(help="ARN of the role; empty for none.")] = None,
    credentials: Way = "",
    etag: Etag = "",
) -> None:
    """Change an account; another way in has it verified again."""
    connection = connection_of(context)
    changed = Account(name=account_name(connection, account), etag=etag)
    way = _way(credentials) if credentials else None
    paths = given(
        changed, account_name=name, description=description, role_arn=role, credential_type=way
    )
    request = pb.UpdateAccountRequest(account=changed, update_mask=FieldMask(paths=paths))
    _call(connection, "UpdateAccount", request)


@app.command()
def suspend(
    context: typer.Context,
    account: Name,
    reason: Annotated[str, typer.Option(help="Why, for those who wonder.")] = "",
    etag: Etag = "",
) -> None:
    """Stop an account: nothing enters it until it is resumed."""
    connection = connection_of(context)
    name = account_name(connection, account)
    request = pb.SuspendAccountRequest(name=name, reason=reason, etag=etag)
    _call(connection, "SuspendAccount", request)


@app.command()
def resume(context: typer.Context, account: Name, etag: Etag = "") -> None:
    """Let a suspended account be used again, once it is verified again."""
    connection = connection_of(context)
    name = account_name(connection, account)
    _call(connection, "ResumeAccount", pb.ResumeAccountRequest(name=name, etag=etag))


@app.command()
def delete(context: typer.Context, account: Name, etag: Etag = "") -> None:
    """Delete an account and its secrets; for 30 days both can be undeleted."""
    connection = connection_of(context)
    name = account_name(connection, account)
    _call(connection, "DeleteAccount", pb.DeleteAccountRequest(name=name, etag=etag))


@app.command()
def undelete(context: typer.Context, account: Name, etag: Etag = "") -> None:
    """Bring a deleted account back; it must be verified again."""
    connection = connection_of(context)
    name = account_name(connection, account)
    _call(connection, "UndeleteAccount", pb.UndeleteAccountRequest(name=name, etag=etag))


def account_name(connection: Connection, account: str) -> str:
    """Give the full name of an account from its id or any part of its name."""
    return connection.full_name(account if "/" in account else f"accounts/{account}")


def _way(word: str) -> account_pb2.CredentialType.ValueType:
    return account_pb2.CredentialType.Value(enum_value(_WAY, word, "way in"))


def _call(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        answer = getattr(AccountServiceStub(channel), method)(request)
        write_message(answer, connection.output)
