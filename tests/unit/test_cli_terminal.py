"""What `secmesh` shows on terminals of any width, with and without colours."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from cli import output
from cli.output import OutputFormat, write_message, write_messages, write_rows
from secmesh.inventory.v1.backup_pb2 import Backup
from secmesh.tenancy.v1.account_pb2 import Account
from secmesh.tenancy.v1.credential_service_pb2 import VendCredentialsResponse

LONG = "".join(chr(ord("a") + at % 26) for at in range(400))
NARROW = 40
COLUMNS = ("name", "cloud_account_id", "account_name", "credential_type", "status")
ACCOUNT = Account(
    name="tenants/acme/accounts/593c0d1a-c213-44ff-9113-f45df5d0ed80",
    cloud_account_id="123456789012",
    account_name="Shop of all that is sold in the north",
)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Give what a terminal of some width is shown."""

    def show(write: Callable[[], None], width: int, **environment: str) -> str:
        screen = io.StringIO()
        console: Any = Console(
            file=screen,
            width=width,
            force_terminal=True,
            highlight=False,
            _environ={"TERM": "xterm-256color", **environment},
        )
        monkeypatch.setattr(output, "_console", lambda: console)
        write()
        return screen.getvalue()

    return show


def joined(screen: str, column: int = 2) -> str:
    """Put the parts of a cell together that stand below each other."""
    return "".join(
        line.split("│")[column].strip() for line in screen.splitlines() if line.count("│") > column
    )


@pytest.mark.parametrize("width", [20, NARROW, 80, 160])
def test_nothing_of_a_value_is_cut(shown: Callable[..., str], width: int) -> None:
    vended = VendCredentialsResponse(session_token=LONG)
    whole = shown(lambda: write_message(vended, OutputFormat.TABLE), width)
    assert LONG in joined(whole)
    assert max(map(len, whole.splitlines())) <= width
    rows = shown(lambda: write_rows([{"key": "a", "text": LONG}], OutputFormat.TABLE), width)
    assert LONG in joined(rows)
    assert "…" not in whole + rows


def test_a_list_stands_below_itself_where_it_is_too_narrow(shown: Callable[..., str]) -> None:
    def write() -> None:
        write_messages([ACCOUNT, ACCOUNT], OutputFormat.TABLE, COLUMNS)

    narrow, wide = shown(write, NARROW), shown(write, 160)
    assert max(map(len, narrow.splitlines())) <= NARROW
    assert joined(narrow).count(ACCOUNT.name) == 2
    assert narrow.count("cloud_account_id") == 2
    assert wide.count("cloud_account_id") == 1
    assert ACCOUNT.name in wide


def test_a_map_stands_in_the_order_of_its_keys(shown: Callable[..., str]) -> None:
    rows = {
        name: number for number, name in enumerate(("syncs", "backup", "claims", "access_keys"))
    }
    made = shown(lambda: write_message(Backup(rows=rows), OutputFormat.TABLE), 160)
    places = [made.index(name) for name in sorted(rows)]
    assert places == sorted(places)


def test_without_colours_none_is_sent(shown: Callable[..., str]) -> None:
    def write() -> None:
        output._console().print("[red]refused[/]")

    assert "\x1b[31m" in shown(write, 80)
    assert "\x1b[31m" not in shown(write, 80, NO_COLOR="1")
    assert "\x1b" not in shown(write, 80, TERM="dumb")
