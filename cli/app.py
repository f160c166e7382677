"""The `secmesh` command tree."""

from importlib.metadata import version
from typing import Annotated

import typer

from cli import (
    accounts,
    api_keys,
    backups,
    catalogs,
    compliance,
    contradictions,
    controls,
    credentials,
    crypto,
    exceptions,
    executions,
    filing,
    frameworks,
    inventory,
    keys,
    providers,
    recommend,
    schedules,
    security,
    store,
    tenants,
    tokens,
    trend,
    webhooks,
)
from cli.connection import Connection
from cli.ending import Root
from cli.output import OutputFormat
from cli.token import token
from cli.up import up

app = typer.Typer(
    name="secmesh",
    help="Operate a secmesh: collect AWS accounts, compare plans with what runs there.",
    cls=Root,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold a token
    rich_markup_mode="rich",
)
inventory.app.add_typer(store.app)
inventory.app.add_typer(backups.app)
compliance.app.add_typer(filing.app)
compliance.app.add_typer(frameworks.app)
compliance.app.add_typer(trend.app)
compliance.app.add_typer(recommend.app)
compliance.app.add_typer(contradictions.app)
compliance.app.add_typer(controls.app, name="controls")
compliance.app.add_typer(catalogs.app, name="catalog")
compliance.app.add_typer(webhooks.app, name="webhooks")
compliance.app.add_typer(exceptions.app, name="exceptions")
app.add_typer(inventory.app, name="inventory")
app.add_typer(compliance.app, name="compliance")
app.add_typer(security.app, name="security")
app.add_typer(crypto.app, name="crypto")
app.add_typer(tenants.app, name="tenants")
app.add_typer(providers.app, name="providers")
app.add_typer(accounts.app, name="accounts")
app.add_typer(credentials.app, name="credentials")
app.add_typer(schedules.app, name="schedules")
app.add_typer(executions.app, name="executions")
app.add_typer(tokens.app, name="tokens")
app.add_typer(api_keys.app, name="api-keys")
app.add_typer(keys.app, name="keys")
app.command()(token)
app.command()(up)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("secmesh"))
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="SECMESH_ENDPOINT",
            help="Gateway, such as http://127.0.0.1:8080; otherwise the one `secmesh up` runs.",
        ),
    ] = None,
    access_token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="SECMESH_TOKEN",
            show_envvar=True,
            help="Bearer token; otherwise the one `secmesh up` wrote.",
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(envvar="SECMESH_TENANT", help="Tenant; otherwise the token's own."),
    ] = None,
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="Form of the data on standard output.")
    ] = OutputFormat.TABLE,
    show_version: Annotated[  # noqa: ARG001 (Typer calls the callback; the value has no other use)
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Connection(endpoint, access_token, tenant, output)
