"""Where the command finds the mesh, and as whom."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import grpc
import orjson
import typer

from cli.exit_codes import ExitCode
from cli.output import OutputFormat, talk, visible
from secmesh_client import CallRefused, connect

_ENDPOINT_FORM = "the endpoint is http://HOST:PORT or https://HOST:PORT"
_BEARER = re.compile(r"[\x21-\x7e]{1,16384}")

_OF_TENANT = re.compile(r"tenants/([a-z][a-z0-9-]*)")


class UsageProblem(typer.BadParameter):
    """The command line lacks something; shown as wrong usage, exit code 2."""


def home() -> Path:
    """Folder of the embedded mesh's state."""
    return Path(os.environ.get("SECMESH_HOME", ".secmesh"))


@dataclass(frozen=True)
class Connection:
    """Options that stand before the verb, and what follows from them."""

    endpoint: str | None
    token: str | None
    tenant_option: str | None
    output: OutputFormat

    @property
    def url(self) -> SplitResult:
        """The gateway's address; without a scheme it is plain HTTP/2."""
        endpoint = self.endpoint or self._ready().get("gateway")
        if not endpoint:
            raise UsageProblem("no endpoint: set SECMESH_ENDPOINT or start `secmesh up`")
        try:
            url = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
            more = (url.path.rstrip("/"), url.query, url.fragment, url.username)
            sane = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:  # brackets or a port that are none
            raise UsageProblem(_ENDPOINT_FORM) from None
        if not sane or any(more):
            raise UsageProblem(_ENDPOINT_FORM)
        return url

    @property
    def bearer(self) -> str:
        token = self.token
        if not token:
            path = self._ready().get("token_file")
            if not path or not Path(path).is_file():
                raise UsageProblem("no token: set SECMESH_TOKEN or start `secmesh up`")
            token = Path(path).read_text(errors="replace").strip()
        if not _BEARER.fullmatch(token):
            raise UsageProblem("the token is not one word of at most 16384 ASCII characters")
        return token

    @property
    def tenant(self) -> str:
        """The tenant's resource name, from --tenant or from the token's own claim."""
        if self.tenant_option:
            return f"tenants/{self.tenant_option}"
        return f"tenants/{self._claims().get('tenant', '')}"

    def _claims(self) -> dict[str, Any]:
        # With the cryptography behind it, it would be a third of every command's start.
        import jwt

        try:
            # Only read, not trusted: the server verifies the same token.
            claims: dict[str, Any] = jwt.decode(self.bearer, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise UsageProblem("the token is not a JWT; name the tenant by --tenant") from None
        return claims

    def full_name(self, name: str) -> str:
        """Give a record's resource name from itself or from ``COLLECTION/ID``."""
        return name if name.startswith("tenants/") else f"{self.tenant}/{name}"

    def _ready(self) -> dict[str, str]:
        """What `secmesh up` wrote when it was ready; empty if it does not run here."""
        path = home() / "ready.json"
        if not path.is_file():
            return {}
        try:
            found = orjson.loads(path.read_bytes())
            texts = {key: value for key, value in found.items() if isinstance(value, str)}
        except (orjson.JSONDecodeError, AttributeError):
            raise UsageProblem(f"{path} is damaged; start `secmesh up` again") from None
        return texts

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """Open a channel to the gateway; a refusal ends the program with its reason."""
        try:
            channel = connect(self.url.geturl(), token=self.bearer)
        except ValueError as problem:  # a token would travel in clear text
            raise UsageProblem(str(problem)) from None
        with channel:
            try:
                yield channel
            except CallRefused as refused:
                fail(refused, self._hint(refused))

    def _hint(self, refused: CallRefused) -> str:
        """Say what a caller may wonder about: of other tenants' resources there is none."""
        match = _OF_TENANT.match(refused.metadata.get("resource", ""))
        if refused.code is not grpc.StatusCode.NOT_FOUND or match is None:
            return ""
        try:
            claims = self._claims()
        except UsageProblem:
            return ""
        own = str(claims.get("tenant", ""))
        if match[1] in (own, *(claims.get("tenants") or ())):
            return ""
        return f"the token is of tenant {own}, which sees nothing of {match[1]}"


def fail(refused: CallRefused, hint: str = "") -> None:
    """Say why the call was refused and leave with the right exit code."""
    talk.print(
        f"[bold red]{refused.code.name}[/] {refused.reason or 'no reason given'}",
        end=" ",
        soft_wrap=True,
    )
    # Lines are left whole: others search them.
    talk.print(visible(refused.message), markup=False, soft_wrap=True)
    for key, value in sorted(refused.metadata.items()):
        talk.print(visible(f"  {key}: {value}"), markup=False, soft_wrap=True)
    if hint:
        talk.print(visible(f"  hint: {hint}"), markup=False, soft_wrap=True)
    # A status that no service of ours wrote carries no reason: nothing answered.
    silent = refused.code is grpc.StatusCode.UNAVAILABLE and not refused.reason
    raise typer.Exit(ExitCode.UNREACHABLE if silent else ExitCode.REFUSED)


def connection_of(context: typer.Context) -> Connection:
    """Give what the root command made of its options."""
    connection: Connection = context.obj
    return connection
