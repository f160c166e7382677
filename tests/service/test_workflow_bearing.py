"""What one tenant, one record or one failure may cost the others: bounds of what runs by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.contract.names import tenant_of
from mesh.identifiers import new_uuid
from mesh.records.moments import now
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.team_pb2 import TEAM_TYPE_SECURITY, Team
from secmesh.security.v1.vocabulary_operation_pb2 import ExecutionStatus
from services.security.findings.due import moment_of
from services.security.workflows import starting
from services.security.workflows.engine import Workflows
from services.security.workflows.executor import AT_ONCE
from services.security.workflows.passage import MAX_FAILURES
from services.security.workflows.run_store import EXECUTIONS, RUNS, run_of
from tests.databases import security_database
from tests.service.workflow_parts import Unserved, begin, editor_of, engine

PAUSE = {"key": "pause", "wait": {"seconds": 0}}
_TURNS = 2000


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unserved]:
    with security_database() as access:
        yield Unserved(access, tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
async def _nothing_runs(acme: Unserved) -> None:
    """Begin without the runs that other tests left: looks count what they carry on."""
    async with engine(acme) as parts, parts.tools.runs.store.upkeep() as connection:
        await connection.execute(sa.text(f"DELETE FROM {RUNS}"))  # noqa: S608 - a constant


async def turn(holds: Callable[[], Awaitable[object]]) -> None:
    """Let other tasks go on until something holds."""
    for _ in range(_TURNS):
        if await holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come to hold")


async def read(parts: Workflows, collection: str, name: str) -> Any:
    with acting_for(tenant_of(name) or ""):
        return await parts.tools.runs.store.get(collection, name)


async def body(parts: Workflows, execution: str) -> Any:
    return (await read(parts, EXECUTIONS, execution)).workflow_execution


async def finished(parts: Workflows, execution: str) -> Any:
    """Carry on what is due until a run has ended; give its body."""

    async def ended() -> bool:
        await parts.executor.look()
        return bool((await body(parts, execution)).HasField("end_time"))

    await turn(ended)
    return await body(parts, execution)


async def test_a_tenant_with_many_runs_leaves_places_for_others(
    acme: Unserved, monkeypatch: pytest.MonkeyPatch
) -> None:
    beta = acme.of_tenant("beta")
    busy = await asyncio.to_thread(acme.active, PAUSE)
    rare = await asyncio.to_thread(beta.active, PAUSE)
    held, gone = asyncio.Event(), list[str]()
    async with engine(acme) as parts:

        async def go(run: Any) -> None:
            gone.append(tenant_of(run.name) or "")
            await held.wait()

        monkeypatch.setattr(parts.executor._passage, "go", go)
        for _ in range(2 * AT_ONCE):
            await begin(parts, busy)
        assert await parts.executor.look() == AT_ONCE // 2
        assert await parts.executor.look() == 0
        await begin(parts, rare)
        assert await parts.executor.look() == 1

        async def all_begun() -> bool:
            return len(gone) == AT_ONCE // 2 + 1

        await turn(all_begun)
        assert (gone.count("acme"), gone.count("beta")) == (AT_ONCE // 2, 1)
        held.set()
        await parts.executor.close()


async def test_a_run_that_cannot_be_carried_on_is_given_up_in_the_end(
    acme: Unserved, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await asyncio.to_thread(acme.active, PAUSE)
    present = [now() + 3_600_000_000]
    async with engine(acme) as parts:
        runs = parts.tools.runs
        monkeypatch.setattr(runs, "clock", lambda: present[0])

        async def break_down(_: Any) -> None:
            raise RuntimeError("with something secret in it")

        monkeypatch.setattr(parts.executor._passage, "go", break_down)
        execution = await begin(parts, name)
        pauses = []
        for failures in range(1, MAX_FAILURES + 1):
            assert await parts.executor.look() == 1

            async def is_told(wanted: int = failures) -> bool:
                run = await read(parts, RUNS, run_of(execution))
                return bool(run.failures == wanted or run.ended)

            await turn(is_told)
            run = await read(parts, RUNS, run_of(execution))
            if not run.ended:
                assert await parts.executor.look() == 0, "it is not tried again at once"
                pauses.append((moment_of(run, "wake_time") - runs.clock()) / 1e6)
                present[0] += 3_600_000_000
        assert pauses == [1, 2, 4, 8, 16]
        told = await body(parts, execution)
        assert told.status == ExecutionStatus.EXECUTION_STATUS_FAILED
        assert "RuntimeError" in told.error_message
        assert "secret" not in told.error_message
        assert await parts.executor.look() == 0


async def test_a_failure_that_passes_ends_no_run(
    acme: Unserved, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await asyncio.to_thread(acme.active, PAUSE)
    async with engine(acme) as parts:
        passage, tries = parts.executor._passage, [RuntimeError(), KeyError()]
        go = passage.go

        async def stumble(run: Any) -> None:
            if tries:
                raise tries.pop()
            await go(run)

        monkeypatch.setattr(passage, "go", stumble)
        execution = await begin(parts, name)
        told = await finished(parts, execution)
        assert told.status == ExecutionStatus.EXECUTION_STATUS_SUCCEEDED


async def test_runs_that_come_of_one_are_counted_however_deep(
    acme: Unserved, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write() -> str:
        leaf = acme.active(PAUSE)
        middle = acme.active({"key": "call", "subworkflow": {"workflow": leaf}})
        return acme.active({"key": "sub", "subworkflow": {"workflow": middle}})

    monkeypatch.setattr(starting, "MAX_DESCENDANTS", 1)
    name = await asyncio.to_thread(write)
    async with engine(acme) as parts:
        told = await finished(parts, await begin(parts, name))
        assert told.status == ExecutionStatus.EXECUTION_STATUS_FAILED
        assert "more than 1 runs come of one" in told.error_message


async def test_the_changes_of_a_tenant_are_read_once_for_all_its_workflows(
    acme: Unserved,
) -> None:
    def write() -> list[str]:
        kinds = ("incidents", "teams", "incidents", "users", "incidents")
        return [
            acme.active(
                PAUSE,
                trigger_type="WORKFLOW_TRIGGER_EVENT",
                trigger_config={"collection": kind},
            )
            for kind in kinds
        ]

    names = await asyncio.to_thread(write)
    seen: list[str] = []
    async with engine(acme) as parts:
        await parts.triggers.look()
        application = parts.tools.runs.store.engine.sync_engine
        sa.event.listen(
            application, "before_cursor_execute", lambda *given: seen.append(str(given[2]))
        )
        assert await parts.triggers.look() == 0
        assert len([each for each in seen if "record_changes" in each]) == 1
        assert not [each for each in seen if "workflow_plans" in each], "plans are known"
        with acting_for("acme"):
            async with parts.tools.runs.store.transaction() as connection:
                team = Team(name=new_uuid(), team_type=TEAM_TYPE_SECURITY)
                await editor_of(parts).add(connection, "acme", "teams", team)
        assert await parts.triggers.look() == 1
        with acting_for("acme"):
            page = await parts.tools.runs.store.page(EXECUTIONS, "tenants/acme", page_size=1000)
        started: Any = page.items
        of = [each.workflow_execution.workflow_id for each in started]
        assert [of.count(name) for name in names] == [0, 1, 0, 0, 0]
