"""The command ends in words and with the right code, whatever goes wrong around it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from typer.testing import CliRunner, Result

from cli import app as command
from cli import main as program
from cli.compliance import parse_age
from cli.connection import UsageProblem
from cli.exit_codes import ExitCode
from cli.output import cell, visible
from mesh.identity.keys import KEY_FILE, create_signing_key
from secmesh.inventory.v1 import ssp_pb2
from secmesh_client import connect

PROGRAM = [sys.executable, "-m", "cli.main"]
TOKEN = jwt.encode({"tenant": "acme", "sub": "ann"}, "k" * 32)
NOWHERE = {"SECMESH_ENDPOINT": "127.0.0.1:1", "SECMESH_TOKEN": TOKEN}


def run(*arguments: str, home: Path, **environment: str) -> Result:
    variables = {"SECMESH_HOME": str(home), **environment}
    return CliRunner().invoke(command.app, arguments, env=variables, catch_exceptions=False)


def one_line(result: Result) -> str:
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "http://[::1",
        "ftp://127.0.0.1:1",
        "http://ann:pw@127.0.0.1:1",
        "http://127.0.0.1:1/?a=b",
        "http://127.0.0.1:0",
    ],
)
def test_endpoints_that_are_none(tmp_path: Path, endpoint: str) -> None:
    result = run(
        *("inventory", "kinds"), home=tmp_path, SECMESH_ENDPOINT=endpoint, SECMESH_TOKEN=TOKEN
    )
    assert result.exit_code == ExitCode.USAGE
    assert "http://HOST:PORT" in result.stderr
    assert "pw" not in result.stderr


def test_an_address_of_version_6_keeps_its_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: list[str] = []

    def opened(target: str, **options: Any) -> Any:
        targets.append(target)
        return connect("127.0.0.1:1", **options)

    monkeypatch.setattr("cli.connection.connect", opened)
    result = run(
        *("inventory", "kinds"), home=tmp_path, SECMESH_ENDPOINT="[::1]:9", SECMESH_TOKEN=TOKEN
    )
    assert result.exit_code == ExitCode.UNREACHABLE
    assert targets == ["http://[::1]:9"]


@pytest.mark.parametrize("token", ["a\nb", "ünïcode", "a b", "a" * 20_000])
def test_tokens_that_no_header_takes_are_not_sent(tmp_path: Path, token: str) -> None:
    environment = {**NOWHERE, "SECMESH_TOKEN": token, "SECMESH_TENANT": "acme"}
    result = run("inventory", "kinds", home=tmp_path, **environment)
    assert result.exit_code == ExitCode.USAGE
    assert "the token is not" in result.stderr
    assert token not in result.stderr


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'"x"', b""])
def test_a_damaged_file_of_the_mesh_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ready.json").write_bytes(content)
    result = run("inventory", "kinds", home=tmp_path)
    assert result.exit_code == ExitCode.USAGE
    assert "is damaged" in one_line(result)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--tenant", "ACME"),
        ("--subject", ""),
        ("--role", "root"),
        ("--permission", "*"),
        ("--lifetime", "99999999999999999999d"),
        ("--lifetime", "\u0661h"),
    ],
)
def test_tokens_that_no_service_takes_are_not_made(tmp_path: Path, option: str, value: str) -> None:
    create_signing_key(tmp_path / "keys")
    assert run("token", home=tmp_path).exit_code == 0
    result = run("token", option, value, home=tmp_path)
    assert result.exit_code == ExitCode.USAGE
    assert "eyJ" not in result.output


@pytest.mark.parametrize("key", [None, b"no key"])
def test_a_folder_without_a_usable_key(tmp_path: Path, key: bytes | None) -> None:
    (tmp_path / "keys").mkdir()
    if key is not None:
        (tmp_path / "keys" / KEY_FILE).write_bytes(key)
    result = run("token", home=tmp_path)
    assert result.exit_code == ExitCode.USAGE
    assert "holds no signing key" in one_line(result)


@pytest.mark.parametrize("age", ["9" * 30 + "d", "1" * 20 + "h", "x", "-1d", "1"])
def test_ages_that_are_none(age: str) -> None:
    with pytest.raises(UsageProblem):
        parse_age(age)


def test_a_file_larger_than_a_plan_is_not_sent(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(1 << 34)  # sparse; reading it whole would fill the memory
    result = run("compliance", "import-ssp", str(large), home=tmp_path, **NOWHERE)
    assert result.exit_code == ExitCode.USAGE
    assert "larger than a plan may be" in one_line(result)


def test_what_commands_a_terminal_is_shown() -> None:
    assert visible("a\x1b[31m\u202eb\x9bü\tc\n") == "a\\u001b[31m\\u202eb\\u009bü\tc\n"
    assert cell(ssp_pb2.Ssp(title="\x1b]0;x\x07"), "title") == "\\u001b]0;x\\u0007"


def started(*arguments: str, home: Path, **options: Any) -> "subprocess.Popen[str]":
    environment = {**os.environ, **NOWHERE, "SECMESH_HOME": str(home)}
    return subprocess.Popen(
        [*PROGRAM, *arguments], stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    create_signing_key(tmp_path / "keys")
    with Path("/dev/full").open("w") as full:
        process = started("token", home=tmp_path, stdout=full)
        _, told = process.communicate(timeout=60)
    assert process.returncode == ExitCode.REFUSED
    assert told == "No space left on device\n"


def test_a_reader_that_left(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "keys")
    reading, writing = os.pipe()
    os.close(reading)
    process = started("token", home=tmp_path, stdout=writing)
    os.close(writing)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (ExitCode.READER_LEFT, "")


def test_arguments_that_are_no_text(tmp_path: Path) -> None:
    process = started("inventory", "get", "s3_buckets/\udcff", home=tmp_path)
    _, told = process.communicate(timeout=60)
    assert process.returncode == ExitCode.USAGE
    assert "UTF-8" in told


def test_an_interrupt_while_modules_load(tmp_path: Path) -> None:
    process = started("inventory", "kinds", home=tmp_path)
    try:
        process.wait(0.4)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert "Traceback" not in told
    assert process.returncode in (-signal.SIGINT, 130, ExitCode.UNREACHABLE)


def test_a_mistake_of_the_program_is_told_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mistaken(**_: str) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(command, "app", mistaken)
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")  # main would set it for good
    with pytest.raises(SystemExit) as left:
        program.main()
    assert left.value.code == ExitCode.REFUSED
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told
    assert "secret" not in told
    monkeypatch.setenv("SECMESH_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        program.main()
