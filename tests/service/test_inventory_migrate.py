"""The command ``migrate`` of a service: plans, refusals, several processes, and a kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.inventory import __main__ as main_module
from tests.databases import SQLITE, empty_database

CURRENT = "nothing to do: the database is what the contract says\n"
COMMAND = [sys.executable, "-m", "services.inventory"]


@pytest.fixture(params=[SQLITE, "postgresql18"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(request.param, tmp_path_factory) as made:
        yield made


Run = Callable[..., tuple[int, str, str]]
KILLED = """
import os, signal
import mesh.sql.migration as migration
migration.write_history = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from services.inventory.__main__ import main
main(["migrate"])
"""


def environment(url: str, home: Path) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": url, "SECMESH_HOME": str(home)}


@pytest.fixture
def run(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command in this process and give its exit code, stdout and stderr."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("SECMESH_HOME", str(tmp_path))
    monkeypatch.setattr("mesh.server.program.configure_logging", lambda _: None)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main_module.main(arguments)
        return status, *capsys.readouterr()

    return call


def database(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def execute(url: str, *statements: str) -> None:
    engine = database(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def tables_of(url: str) -> set[str]:
    engine = database(url)
    try:
        return set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_a_plan_changes_nothing_and_the_command_does_it(url: str, run: Run) -> None:
    status, planned, errors = run("migrate", "--plan")
    assert (status, errors) == (0, "")
    assert "additive: create table iam_users\n    CREATE TABLE iam_users (" in planned
    assert tables_of(url) == set()

    document = json.loads(run("migrate", "--plan", "--output", "json")[1])
    steps = [step for change in document["changes"] for step in change["steps"]]
    assert {step["effect"] for step in steps} == {"additive"}
    assert all(change["sql"] for change in document["changes"])
    assert tables_of(url) == set()

    assert run("migrate")[0] == 0
    assert {step["table"] for step in steps} | {"schema_history"} == tables_of(url)
    assert run("migrate", "--plan")[1] == CURRENT


def test_what_the_contract_does_not_know_needs_the_flag(url: str, run: Run) -> None:
    run("migrate")
    execute(url, "ALTER TABLE vpc ADD COLUMN shade TEXT")
    assert run("migrate", "--plan")[1].startswith(
        "destructive: drop column shade of vpc (the contract does not know it)\n"
    )
    status, kept, _ = run("migrate", "--apply")
    assert status == 0
    assert "kept: drop column shade of vpc" in kept
    status, done, _ = run("migrate", "--apply", "--allow-destructive")
    assert (status, done.splitlines()[-1]) == (0, "1 changes made")
    assert run("migrate", "--plan")[1] == CURRENT


def test_what_would_lose_data_ends_with_1(url: str, run: Run) -> None:
    run("migrate")
    execute(url, "CREATE UNIQUE INDEX only_one ON vpc (region)")
    status, out, errors = run("migrate")
    assert (status, out) == (1, "")
    assert "data would be lost" in errors
    assert "drop index only_one of vpc" in errors


def test_both_ways_at_once_are_no_command(run: Run) -> None:
    with pytest.raises(SystemExit) as ended:
        run("migrate", "--plan", "--apply")
    assert ended.value.code == 2


def test_processes_at_once_all_end_well(url: str, run: Run, tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [*COMMAND, "migrate"], env=environment(url, tmp_path), stdout=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    assert [process.wait(100) for process in started] == [0, 0]
    assert run("migrate", "--plan")[1] == CURRENT
    engine = database(url)
    with engine.connect() as connection:
        changes = connection.execute(sa.text("SELECT change FROM schema_history")).scalars().all()
    engine.dispose()
    assert len(changes) == len(set(changes)) == len(tables_of(url)) - 1


def test_a_kill_before_the_end_leaves_nothing(url: str, run: Run, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env=environment(url, tmp_path), timeout=100, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert tables_of(url) == set()
    assert run("migrate")[0] == 0
    assert run("migrate", "--plan")[1] == CURRENT
