"""`secmesh token`: a bearer token of the embedded mesh."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

import typer

from cli.completion import words
from cli.connection import UsageProblem, home
from mesh.contract.names import tenant_of
from mesh.identity.permissions import is_pattern
from mesh.identity.roles import ROLES

LIFETIME = re.compile(r"([0-9]{1,6})([mhd])")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
LONGEST = timedelta(days=30)
MAX_SUBJECT = 256


def token(
    tenant: Annotated[str, typer.Option(help="Tenant the caller belongs to.")] = "acme",
    subject: Annotated[str, typer.Option(help="Who the caller is.")] = "operator",
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="Role, any number of times; `admin` if none.", autocompletion=words(ROLES)
        ),
    ] = None,
    permission: Annotated[
        list[str] | None,
        typer.Option(help="Permission such as inventory.*.list, any number of times."),
    ] = None,
    lifetime: Annotated[str, typer.Option(help="Such as 30m, 12h or 7d; at most 30d.")] = "12h",
) -> None:
    """Print a bearer token signed by the key that `secmesh up` made here."""
    # Only this command pays for the cryptography behind it.
    from mesh.identity.keys import sign_token

    folder = home() / "keys"
    if not folder.is_dir():
        raise UsageProblem(f"{folder} holds no signing key; `secmesh up` makes one")
    roles = role or ([] if permission else ["admin"])
    _require_meaning(tenant, subject, roles, permission or [])
    try:
        made = sign_token(
            folder,
            subject=subject,
            tenant=tenant,
            roles=roles,
            permissions=permission or [],
            lifetime=parse_lifetime(lifetime),
        )
    except (FileNotFoundError, ValueError):
        raise UsageProblem(f"{folder} holds no signing key; `secmesh up` makes one") from None
    typer.echo(made)


def _require_meaning(
    tenant: str, subject: str, roles: Iterable[str], permissions: Iterable[str]
) -> None:
    """Refuse what would make a token that no service accepts."""
    if tenant_of(f"tenants/{tenant}") != tenant:
        raise UsageProblem("--tenant is lower-case letters, digits and hyphens, 3 to 63 of them")
    if not 0 < len(subject) <= MAX_SUBJECT:
        raise UsageProblem(f"--subject is 1 to {MAX_SUBJECT} characters")
    if unknown := [each for each in roles if each not in ROLES]:
        raise UsageProblem(f"{unknown[0]!r} is no role; one of {', '.join(sorted(ROLES))}")
    if unknown := [each for each in permissions if not is_pattern(each)]:
        raise UsageProblem(f"{unknown[0]!r} is no permission such as inventory.*.list")


def parse_lifetime(text: str) -> timedelta:
    match = LIFETIME.fullmatch(text)
    found = int(match[1]) * UNITS[match[2]] if match else timedelta(0)
    if not timedelta(0) < found <= LONGEST:
        raise UsageProblem("--lifetime is minutes, hours or days up to 30d, such as 12h")
    return found
