"""Each command of ``python -m services.tenancy`` as a person meets it who has something wrong."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from services.tenancy.__main__ import TENANCY
from services.tenancy.import_command import IMPORT_POSTGRES
from services.tenancy.kms_command import SETUP_KMS
from services.tenancy.replica_commands import EXECUTOR, SCHEDULER
from services.tenancy.reshard_command import RESHARD
from services.tenancy.retime_command import RETIME_SCHEDULES
from services.tenancy.reverify_command import REVERIFY
from services.tenancy.rotate_command import ROTATE_CREDENTIALS
from services.tenancy.store.tables import Table
from services.tenancy.tables_command import CREATE_TABLES
from tests.service.tenancy_stores import REGION, table_names

SERVE = "serve"
COMMANDS = [SERVE, *(each.name for each in TENANCY.commands)]
LASTING = {SERVE, SCHEDULER.name, EXECUTOR.name}
ONCE = [name for name in COMMANDS if name not in {*LASTING, IMPORT_POSTGRES.name}]
KEY = "the key of pages, which nobody is shown"
NEEDED = {IMPORT_POSTGRES.name: ["--fernet-keys", "none"], RESHARD.name: ["--all-are-stopped"]}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def environment(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> dict[str, str]:
    """Settings with which all is well, but for tables that nobody made yet."""
    return {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SECMESH_HOME": str(tmp_path),
        "SECMESH_TENANCY_PAGE_KEY": KEY,
        "SECMESH_TENANCY_ADMIN": "",
        **{table.variable: name for table, name in table_names().items()},
    }


@pytest.fixture
def run(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command with other settings; gives status and what was said."""

    def main(*arguments: str, **other: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name, value in (environment | other).items():
                patch.setenv(name, value)
            try:
                status = TENANCY.main(arguments)
            except SystemExit as end:
                status = int(end.code or 0)
        out, err = capsys.readouterr()
        assert KEY not in out + err
        return status, out, err

    return main


def lines(command: str) -> list[str]:
    return [command, *NEEDED.get(command, ())]


@pytest.mark.parametrize("command", COMMANDS)
def test_its_help_says_what_it_does_and_by_which_settings(run: Run, command: str) -> None:
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert f"python -m services.tenancy {command}" in out
    for table in Table:
        assert f"  {table.variable} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_wrong_about_settings_and_options_is_one_line_each(run: Run, command: str) -> None:
    status, out, err = run(*lines(command), AWS_REGION="", AWS_ENDPOINT_URL="")
    assert (status, out) == (2, "")
    assert err == "AWS_REGION is needed: the region of tables, secrets and keys\n"
    wrong = {
        "SECMESH_TENANCY_LEASE_SECONDS": "long",
        "AWS_ENDPOINT_URL": "elsewhere",
        "DYNAMODB_TENANTS_TABLE": "x",
    }
    status, out, err = run(*lines(command), **wrong)
    assert (status, out) == (2, "")
    assert {line.partition(":")[0] for line in err.splitlines()} == set(wrong)
    status, out, err = run(*lines(command), "--nonsense")
    assert (status, out) == (2, "")
    assert err.endswith("unrecognized arguments: --nonsense\n")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("AWS_REGION", "nowhere/land", "AWS_REGION: "),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:99999", "http://HOST:PORT"),
        ("AWS_ENDPOINT_URL", "http://[::1", "http://HOST:PORT"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "ftp://dynamodb", "AWS_ENDPOINT_URL_DYNAMODB: an endpoint"),
        ("SECMESH_TENANCY_PAGE_KEY", "short", "secret of 16 characters"),
        ("SECMESH_TENANCY_PAGE_KEY_FILE", "/none", "PAGE_KEY_FILE cannot be read: FileNotFound"),
        ("SECMESH_TENANCY_API_KEY_HASH_KEY_FILE", "/", "HASH_KEY_FILE cannot be read: IsADirec"),
        ("SECMESH_TENANCY_INDEX_SHARDS", "65", "less than or equal to 64"),
    ],
)
def test_values_that_are_none_are_told_by_their_setting(
    run: Run, setting: str, value: str, said: str
) -> None:
    status, out, err = run("plan", **{setting: value})
    assert (status, out) == (2, "")
    assert setting in err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ONCE)
def test_an_endpoint_where_nothing_answers_ends_it(run: Run, command: str) -> None:
    status, out, err = run(*lines(command), AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].endswith(("EndpointConnectionError", "does not answer"))


def test_tables_and_keys_are_made_once_and_named(run: Run, faults: Faults) -> None:
    faults.deny("dynamodb:UpdateContinuousBackups")
    status, first, err = run(CREATE_TABLES.name)
    assert status == 0, err
    assert first.count("done: ") >= len(Table)
    assert first.count("not on this endpoint: ") == len(Table)
    status, again, _ = run(CREATE_TABLES.name)
    assert status == 0
    assert "done: " not in again
    assert again.count("not on this endpoint: ") == len(Table)
    status, planned, _ = run("plan")
    assert (status, planned.count("missing: ")) == (0, len(Table))
    keys = {
        "SECRETS_MANAGER_KMS_KEY_ID": f"alias/{os.urandom(6).hex()}",
        "DYNAMODB_KMS_KEY_ID": f"alias/{os.urandom(6).hex()}",
    }
    for _ in range(2):
        assert run(SETUP_KMS.name, **keys)[0] == 0
    for command, said in (
        (REVERIFY.name, "0 accounts "),
        (ROTATE_CREDENTIALS.name, "keys: 0 "),
        (RETIME_SCHEDULES.name, "0 schedules wait"),
        (RESHARD.name, "0 schedules and 0 executions moved"),
    ):
        for _ in range(2):
            status, out, err = run(*lines(command))
            assert (status, said in out) == (0, True), out + err


def test_replicas_say_what_they_lack(run: Run) -> None:
    status, out, err = run(EXECUTOR.name)
    assert (status, out) == (1, "")
    assert "SECMESH_TENANCY_INVENTORY_ADDRESS" in err
    status, out, err = run(SCHEDULER.name, SECMESH_TENANCY_ADMIN="203.0.113.7:9")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("cannot listen on 203.0.113.7:9")


@pytest.mark.parametrize(
    ("command", "operation"),
    [
        (CREATE_TABLES.name, "dynamodb:DescribeTable"),
        (REVERIFY.name, "dynamodb:Query"),
        (SETUP_KMS.name, "kms:DescribeKey"),
    ],
)
def test_ctrl_c_ends_what_waits_for_aws(
    environment: dict[str, str], faults: Faults, command: str, operation: str
) -> None:
    held = faults.hold(operation)
    process = subprocess.Popen(
        [sys.executable, "-m", "services.tenancy", command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not faults.calls[operation]:
            assert process.poll() is None
            threading.Event().wait(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    finally:
        process.kill()
        held.set()
    assert process.returncode == 128 + signal.SIGINT
    assert out == ""
    assert "Traceback" not in err
