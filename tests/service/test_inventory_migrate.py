"""The command ``migrate`` of a service: plans, refusals, several processes, and a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.databases import SQLITE, empty_database

COMMAND = [sys.executable, "-m", "services.inventory"]


@pytest.fixture(params=[SQLITE, "postgresql18"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(request.param, tmp_path_factory) as made:
        yield made


def environment(url: str, home: Path) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": url, "SECMESH_HOME": str(home)}


def run(url: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(url, home),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


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


def test_a_plan_changes_nothing_and_the_command_does_it(url: str, tmp_path: Path) -> None:
    planned = run(url, tmp_path, "migrate", "--plan")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert "additive: create table iam_users\n    CREATE TABLE iam_users (" in planned.stdout
    assert tables_of(url) == set()

    document = json.loads(run(url, tmp_path, "migrate", "--plan", "--output", "json").stdout)
    steps = [step for change in document["changes"] for step in change["steps"]]
    assert {step["effect"] for step in steps} == {"additive"}
    assert all(change["sql"] for change in document["changes"])
    assert tables_of(url) == set()

    assert run(url, tmp_path, "migrate").returncode == 0
    assert {step["table"] for step in steps} | {"schema_history"} == tables_of(url)
    again = run(url, tmp_path, "migrate", "--plan")
    assert again.stdout == "nothing to do: the database is what the contract says\n"


def test_what_the_contract_does_not_know_needs_the_flag(url: str, tmp_path: Path) -> None:
    run(url, tmp_path, "migrate")
    execute(url, "ALTER TABLE vpc ADD COLUMN shade TEXT")
    planned = run(url, tmp_path, "migrate", "--plan")
    assert planned.stdout.startswith(
        "destructive: drop column shade of vpc (the contract does not know it)\n"
    )
    kept = run(url, tmp_path, "migrate", "--apply")
    assert kept.returncode == 0
    assert "kept: drop column shade of vpc" in kept.stdout
    done = run(url, tmp_path, "migrate", "--apply", "--allow-destructive")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 changes made")


def test_what_would_lose_data_ends_with_1(url: str, tmp_path: Path) -> None:
    run(url, tmp_path, "migrate")
    execute(url, "ALTER TABLE vpc ADD COLUMN shade TEXT NOT NULL DEFAULT 'x'")
    if not url.startswith(SQLITE):
        execute(url, "ALTER TABLE vpc ALTER COLUMN shade DROP DEFAULT")
        refused = run(url, tmp_path, "migrate")
        assert refused.returncode == 1
        assert "data would be lost" in refused.stderr
        assert "no row can be written without it" in refused.stderr
        served = run(url, tmp_path, "serve")
        assert served.returncode == 1
    execute(url, "CREATE UNIQUE INDEX only_one ON vpc (region)")
    refused = run(url, tmp_path, "migrate")
    assert refused.returncode == 1
    assert "drop index only_one of vpc" in refused.stderr


def test_both_ways_at_once_are_no_command(tmp_path: Path) -> None:
    assert run("sqlite://", tmp_path, "migrate", "--plan", "--apply").returncode == 2


def test_processes_at_once_all_end_well(url: str, tmp_path: Path) -> None:
    started = [
        subprocess.Popen([*COMMAND, "migrate"], env=environment(url, tmp_path)) for _ in range(3)
    ]
    assert [process.wait(50) for process in started] == [0, 0, 0]
    assert run(url, tmp_path, "migrate", "--plan").stdout.startswith("nothing to do")
    engine = database(url)
    with engine.connect() as connection:
        changes = connection.execute(sa.text("SELECT change FROM schema_history")).scalars().all()
    engine.dispose()
    assert len(changes) == len(set(changes)) == len(tables_of(url)) - 1


def test_a_kill_leaves_the_database_before_or_after(url: str, tmp_path: Path) -> None:
    """Whenever it comes, no part of the change stays."""
    for delay in (0.8, 1.2, 1.6):
        process = subprocess.Popen([*COMMAND, "migrate"], env=environment(url, tmp_path))
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        made = tables_of(url)
        if made:
            plan = run(url, tmp_path, "migrate", "--plan").stdout
            assert plan.startswith("nothing to do")
    assert run(url, tmp_path, "migrate").returncode == 0
    assert run(url, tmp_path, "migrate", "--plan").stdout.startswith("nothing to do")
