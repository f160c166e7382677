"""`secmesh accounts onboard` and `verify`: how an account comes to trust us, and the proof."""

from typing import Annotated

import typer

from cli.connection import connection_of
from cli.enum_words import enum_value, offered
from cli.exit_codes import ExitCode
from cli.output import OutputFormat, talk, write_message, write_messages
from secmesh.tenancy.v1 import onboarding_service_pb2 as pb
from secmesh.tenancy.v1.onboarding_service_pb2_grpc import OnboardingServiceStub

Account = Annotated[str, typer.Argument(help="The account: id, accounts/ID, or full name.")]
_FORMATS = pb.OnboardingFormat.DESCRIPTOR


def register(app: typer.Typer) -> None:
    """Add the commands to those of accounts."""
    app.command()(onboard)
    app.command()(verify)


def onboard(
    context: typer.Context,
    account: Account,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="cloudformation, terraform or stack-set.",
            autocompletion=offered(_FORMATS),
        ),
    ] = "cloudformation",
    unit: Annotated[
        list[str] | None,
        typer.Option(help="Organizational unit or root of a stack set, repeatable."),
    ] = None,
) -> None:
    """Write the text that makes the role which trusts us."""
    connection = connection_of(context)
    request = pb.GetOnboardingRequest(
        name=_full_name(context, account),
        format=pb.OnboardingFormat.Value(enum_value(_FORMATS, form, "format")),
        organizational_units=unit or [],
    )
    with connection.channel() as channel:
        made = OnboardingServiceStub(channel).GetOnboarding(request)
    if connection.output is OutputFormat.TABLE:
        typer.echo(made.text, nl=False)
    else:
        write_message(made, connection.output)


def verify(context: typer.Context, account: Account) -> None:
    """Prove that an account may be entered, and by nobody else through us."""
    connection = connection_of(context)
    request = pb.VerifyAccountRequest(name=_full_name(context, account))
    with connection.channel() as channel:
        found = OnboardingServiceStub(channel).VerifyAccount(request)
    if connection.output is OutputFormat.TABLE:
        write_messages(found.checks, connection.output, ["check", "outcome", "reason"])
    else:
        write_message(found, connection.output)
    if not found.entered:
        talk.print(found.account.status_reason, markup=False)
        raise typer.Exit(ExitCode.REFUSED)


def _full_name(context: typer.Context, account: str) -> str:
    connection = connection_of(context)
    return connection.full_name(account if "/" in account else f"accounts/{account}")
