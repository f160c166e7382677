"""`secmesh keys`: API keys in the file that the gateway's edge reads.

Those that the tenancy service keeps are `secmesh api-keys`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.connection import UsageProblem, connection_of, home
from cli.exit_codes import ExitCode
from cli.moments import parse_expiry
from cli.output import talk, visible, write_rows

if TYPE_CHECKING:
    from mesh.identity.api_key_file import ApiKeyFile, KeyRecord

app = typer.Typer(
    help="Make, list and revoke API keys, where the gateway's edge runs.", no_args_is_help=True
)
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar="SECMESH_GATEWAY_API_KEYS",
        dir_okay=False,
        help="File of keys that the edge reads; otherwise that of `secmesh up`.",
    ),
]


@app.command("create")
def create(
    role: Annotated[list[str] | None, typer.Option(help="Role, any number of times.")] = None,
    permission: Annotated[
        list[str] | None,
        typer.Option(help="Permission such as inventory.*.list, any number of times."),
    ] = None,
    tenant: Annotated[str, typer.Option(help="The one tenant the key is for.")] = "acme",
    label: Annotated[str, typer.Option(help="What it is for, as `ci pipeline`.")] = "",
    expires: Annotated[str, typer.Option(help="Such as 12h or 90d; at most 366d.")] = "90d",
    file: KeyFile = None,
) -> None:
    """Make a key and print it once: nobody can show it again."""
    if not role and not permission:
        raise UsageProblem("a key without --role or --permission may do nothing")
    expire_time = datetime.now(UTC) + parse_expiry(expires)
    with _problems():
        key = _file(file).add(
            tenant=tenant,
            roles=tuple(role or ()),
            permissions=tuple(permission or ()),
            label=label,
            expire_time=expire_time,
        )
    talk.print(f"Key {key.id}, good until {expire_time:%Y-%m-%d %H:%M} UTC:")
    typer.echo(key.text())


@app.command("ls")
def ls(context: typer.Context, file: KeyFile = None) -> None:
    """List what is known of the keys, the newest first."""
    now = datetime.now(UTC)
    with _problems():
        records = _file(file).read().values()
    newest_first = sorted(records, key=lambda record: record.create_time, reverse=True)
    write_rows([_row(record, now) for record in newest_first], connection_of(context).output)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `ls` shows it.")],
    file: KeyFile = None,
) -> None:
    """End a key for ever; the gateway knows with the next request."""
    with _problems():
        record = _file(file).revoke(key_id)
    talk.print(visible(f"Key {record.id} ({record.label}) is revoked."), markup=False)


def _row(record: "KeyRecord", now: datetime) -> dict[str, Any]:
    shown = record.model_dump(mode="json", exclude={"sha256"}, exclude_none=True)
    return {"id": shown.pop("id"), "state": record.state(now), **shown}


def _file(path: Path | None) -> "ApiKeyFile":
    # Only these commands pay for it: it was a fifth of the start of every other one.
    from mesh.identity.api_key_file import ApiKeyFile

    keys = home() / "keys"
    if path is None and not keys.is_dir():
        raise UsageProblem(f"{keys} is not there; name the edge's file of keys by --file")
    return ApiKeyFile(path or keys / "api_keys.json")


@contextmanager
def _problems() -> Iterator[None]:
    """Say what is wrong with an option, or with the file."""
    from pydantic import ValidationError

    from mesh.identity.api_key_file import KeyFileInvalid, KeyUnknown

    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageProblem(f"--{str(first['loc'][0]).rstrip('s')}: {first['msg']}") from None
    except (KeyFileInvalid, KeyUnknown, OSError) as error:
        talk.print(visible(str(error.args[-1])), markup=False)
        raise typer.Exit(ExitCode.REFUSED) from None
