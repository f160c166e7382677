"""`secmesh token`: a bearer token of the embedded mesh."""

import re
from datetime import timedelta
from typing import Annotated

import typer

from cli.connection import UsageProblem, home
from mesh.identity.keys import sign_token

LIFETIME = re.compile(r"^(\d+)([mhd])$")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
LONGEST = timedelta(days=30)


def token(
    tenant: Annotated[str, typer.Option(help="Tenant the caller belongs to.")] = "acme",
    subject: Annotated[str, typer.Option(help="Who the caller is.")] = "operator",
    role: Annotated[
        list[str] | None, typer.Option(help="Role, any number of times; `admin` if none.")
    ] = None,
    permission: Annotated[
        list[str] | None,
        typer.Option(help="Permission such as inventory.*.list, any number of times."),
    ] = None,
    lifetime: Annotated[str, typer.Option(help="Such as 30m, 12h or 7d; at most 30d.")] = "12h",
) -> None:
    """Print a bearer token signed by the key that `secmesh up` made here."""
    folder = home() / "keys"
    if not folder.is_dir():
        raise UsageProblem(f"{folder} holds no signing key; `secmesh up` makes one")
    roles = role or ([] if permission else ["admin"])
    typer.echo(
        sign_token(
            folder,
            subject=subject,
            tenant=tenant,
            roles=roles,
            permissions=permission or [],
            lifetime=parse_lifetime(lifetime),
        )
    )


def parse_lifetime(text: str) -> timedelta:
    match = LIFETIME.match(text)
    found = int(match[1]) * UNITS[match[2]] if match else timedelta(0)
    if not timedelta(0) < found <= LONGEST:
        raise UsageProblem("--lifetime is minutes, hours or days up to 30d, such as 12h")
    return found
