"""`secmesh inventory accounts`: the accounts of AWS organizations, and which are not collected."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

import grpc
import typer

from cli.accounts import account_name
from cli.connection import Connection, UsageProblem, connection_of
from cli.enum_words import enum_value, offered
from cli.exit_codes import ExitCode
from cli.output import Column, talk, visible, write_messages
from cli.providers import provider_name
from secmesh.inventory.v1 import organization_service_pb2 as api
from secmesh.inventory.v1.organization_pb2 import Organization, OrganizationAccount
from secmesh.inventory.v1.organization_service_pb2_grpc import OrganizationServiceStub
from secmesh.tenancy.v1.account_pb2 import CREDENTIAL_TYPE_AWS_IAM_ROLE, Account
from secmesh.tenancy.v1.account_service_pb2 import CreateAccountRequest, GetAccountRequest
from secmesh.tenancy.v1.account_service_pb2_grpc import AccountServiceStub
from secmesh_client import CallRefused, items

app = typer.Typer(help="Accounts of AWS organizations.", no_args_is_help=True)

PLACEHOLDER = "{account}"
DEFAULT_ROLE = "secmesh-scan"
"""As `accounts onboard` names it."""
PAGE = 1000
TOLD = 10
"""Accounts that are named where there may be thousands."""
_CLOUD_ID = re.compile(r"[0-9]{12}")
_STANDING = OrganizationAccount.Standing.DESCRIPTOR
_COLUMNS = (
    *("cloud_account_id", "account_name", "standing", "state"),
    Column("path", lambda each: "/".join(each.path)),
    *("join_time", "account"),
)
_ORGANIZATION_COLUMNS = (
    *("name", "management_account_id", "accounts", "known_accounts", "unknown_accounts"),
    *("suspended_accounts", "gone_accounts", "discover_time"),
)
_USABLE = "standing == STANDING_KNOWN || standing == STANDING_UNKNOWN"


@app.command()
def discover(
    context: typer.Context,
    account: Annotated[
        str,
        typer.Argument(help="Account of `accounts` that manages the organization, by its id."),
    ],
    add: Annotated[
        list[str] | None,
        typer.Option(
            help="AWS id of an account that is to be registered, any number of times; else none.",
        ),
    ] = None,
    role: Annotated[
        str,
        typer.Option(
            help="Role that leads into added accounts: its name, or an ARN with {account} in it."
        ),
    ] = DEFAULT_ROLE,
    provider: Annotated[
        str, typer.Option(help="Provider of added accounts; else that of ACCOUNT.")
    ] = "",
) -> None:
    """List an organization's accounts at AWS and compare them with those that are registered.

    Nothing is registered but what --add names.
    """
    connection = connection_of(context)
    template = role_template(role)
    wanted = list(dict.fromkeys(add or ()))
    if unfit := [each for each in wanted if not _CLOUD_ID.fullmatch(each)]:
        raise UsageProblem(f"--add takes AWS account ids of 12 digits, not {unfit[0]!r}")
    name = account_name(connection, account)
    request = api.DiscoverAccountsRequest(parent=connection.tenant, account=name)
    with connection.channel() as channel:
        stub = OrganizationServiceStub(channel)
        found = stub.DiscoverAccounts(request)
        _tell(found)
        listed = {each.cloud_account_id: each for each in _accounts(stub, found.name)}
        if not wanted:
            write_messages(listed.values(), connection.output, _COLUMNS)
            return
        chosen = _addable(wanted, listed)
        tenancy = AccountServiceStub(channel)
        of = provider_name(connection, provider) if provider else ""
        of = of or tenancy.GetAccount(GetAccountRequest(name=name)).provider
        made = _added(tenancy, connection.tenant, of, template, chosen)
    write_messages(made, connection.output, ("name", "cloud_account_id", "role_arn", "status"))
    told = "Each must let us in: secmesh accounts onboard ACCOUNT, then secmesh accounts verify"
    talk.print(told, markup=False, soft_wrap=True)
    if len(made) < len(chosen):
        raise typer.Exit(ExitCode.REFUSED)


@app.command("list")
def list_(
    context: typer.Context,
    organization: Annotated[
        str, typer.Argument(help="Its id, such as o-a1b2c3d4e5; else all that were discovered.")
    ] = "",
    standing: Annotated[
        str,
        typer.Option(help="known, unknown, suspended or gone.", autocompletion=offered(_STANDING)),
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most accounts; 0 means all.")] = 0,
) -> None:
    """List accounts of organizations as they were last discovered."""
    connection = connection_of(context)
    value = enum_value(_STANDING, standing, "standing") if standing else ""
    condition = f"standing == {value}" if value else ""
    with connection.channel() as channel:
        stub = OrganizationServiceStub(channel)
        names = (
            [organization_name(connection, organization)]
            if organization
            else [each.name for each in _organizations(stub, connection.tenant)]
        )
        found = [each for name in names for each in _accounts(stub, name, condition)]
    write_messages(found[: limit or None], connection.output, _COLUMNS)


@app.command()
def organizations(context: typer.Context) -> None:
    """List the organizations that were discovered, and how many of their accounts are known."""
    connection = connection_of(context)
    with connection.channel() as channel:
        found = list(_organizations(OrganizationServiceStub(channel), connection.tenant))
    write_messages(found, connection.output, _ORGANIZATION_COLUMNS)


@app.command()
def forget(
    context: typer.Context,
    organization: Annotated[str, typer.Argument(help="Its id, such as o-a1b2c3d4e5.")],
) -> None:
    """Forget an organization with the accounts that were discovered in it; AWS is not asked."""
    connection = connection_of(context)
    name = organization_name(connection, organization)
    with connection.channel() as channel:
        OrganizationServiceStub(channel).DeleteOrganization(
            api.DeleteOrganizationRequest(name=name)
        )
    talk.print(visible(f"{name} is forgotten"), markup=False)


def tell_uncovered(connection: Connection, channel: grpc.Channel, covered: Iterable[str]) -> None:
    """Tell which usable accounts of discovered organizations are not among these AWS ids."""
    read = set(covered)
    stub = OrganizationServiceStub(channel)
    try:
        for organization in _organizations(stub, connection.tenant):
            usable = list(_accounts(stub, organization.name, _USABLE))
            left = [each for each in usable if each.cloud_account_id not in read]
            if left:
                _tell_left(organization, left, len(usable))
    except CallRefused as refused:
        told = f"Which accounts of organizations are not collected is not known: {refused.message}"
        talk.print(visible(told), markup=False, soft_wrap=True)


def _tell_left(organization: Organization, left: list[OrganizationAccount], usable: int) -> None:
    named = [f"{each.cloud_account_id} {each.account_name}" for each in left[:TOLD]]
    more = f" and {len(left) - TOLD} more" if len(left) > TOLD else ""
    told = (
        f"{_id_of(organization)}: {len(left)} of {usable} accounts are not collected "
        f"(discovered {organization.discover_time.ToJsonString()}): {', '.join(named)}{more}"
    )
    talk.print(visible(told), markup=False, soft_wrap=True, style="bold yellow")


def organization_name(connection: Connection, organization: str) -> str:
    """Give the full name of an organization from its id."""
    if organization.startswith("tenants/"):
        return organization
    return f"{connection.tenant}/organizations/{organization}"


def role_template(role: str) -> str:
    """Give the ARN of a role with a place for the account; UsageProblem."""
    if not role.startswith("arn:"):
        return f"arn:aws:iam::{PLACEHOLDER}:role/{role}"
    if role.count(PLACEHOLDER) != 1:
        raise UsageProblem(f"an ARN of a --role names no account but {PLACEHOLDER}")
    return role


def _organizations(stub: OrganizationServiceStub, tenant: str) -> Iterable[Organization]:
    request = api.ListOrganizationsRequest(parent=tenant, page_size=PAGE)
    return items(stub.ListOrganizations, request, lambda page: page.organizations)


def _accounts(
    stub: OrganizationServiceStub, organization: str, condition: str = ""
) -> Iterable[OrganizationAccount]:
    request = api.ListOrganizationAccountsRequest(
        parent=organization, page_size=PAGE, filter=condition
    )
    return items(stub.ListOrganizationAccounts, request, lambda page: page.organization_accounts)


def _id_of(organization: Organization) -> str:
    return organization.name.rpartition("/")[2]


def _tell(found: Organization) -> None:
    told = (
        f"{_id_of(found)}: {found.accounts} accounts, of which {found.known_accounts} known, "
        f"{found.unknown_accounts} unknown, {found.suspended_accounts} suspended; "
        f"{found.gone_accounts} gone"
    )
    talk.print(visible(told), markup=False, soft_wrap=True)
    for gap in found.gaps:
        told = f"Paths are not all known: {gap.code} of {gap.operation}; it needs {gap.action}"
        talk.print(visible(told), markup=False, soft_wrap=True)


def _addable(
    wanted: Iterable[str], listed: Mapping[str, OrganizationAccount]
) -> list[OrganizationAccount]:
    """Give the accounts that are to be registered; UsageProblem before any is if one cannot be."""
    for each in wanted:
        account = listed.get(each)
        if account is None:
            raise UsageProblem(f"{each} is no account of the organization")
        if account.standing != OrganizationAccount.STANDING_UNKNOWN:
            known = account.account or account.Standing.Name(account.standing).lower()
            raise UsageProblem(f"{each} cannot be added: {known}")
    return [listed[each] for each in wanted]


def _added(
    stub: AccountServiceStub,
    tenant: str,
    provider: str,
    template: str,
    chosen: Iterable[OrganizationAccount],
) -> list[Account]:
    """Register accounts, and tell of each that was refused why."""
    made = []
    for each in chosen:
        account = Account(
            provider=provider,
            cloud_account_id=each.cloud_account_id,
            account_name=each.account_name.strip() or each.cloud_account_id,
            credential_type=CREDENTIAL_TYPE_AWS_IAM_ROLE,
            role_arn=template.replace(PLACEHOLDER, each.cloud_account_id),
        )
        try:
            made.append(stub.CreateAccount(CreateAccountRequest(parent=tenant, account=account)))
        except CallRefused as refused:
            told = f"{each.cloud_account_id} {each.account_name}: {refused.message}"
            talk.print(visible(told), markup=False, soft_wrap=True, style="bold red")
    return made
