"""The inventory service over an endpoint: a real process, and its verdict on every resource."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.account.measuring import usage
from benchmarks.account.processes import TENANT, inventory
from benchmarks.collection import check, collect
from benchmarks.peers.run import Run
from benchmarks.peers.verdicts import Question, Status
from cli.sample.clients import ACCOUNT
from mesh.contract.catalogue import load_catalogue
from mesh.embedded.aws import AwsEndpoint
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1.assessment_pb2 import CheckResult
from services.inventory.__main__ import PACKAGE, open_store
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE
from services.inventory.compliance.check_catalogue import BoundCheck, load_checks
from services.inventory.compliance.coverage import Coverage, Standing
from services.inventory.compliance.evaluation import Evaluation
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.outcomes import FAIL, PASS, UNREAD
from services.inventory.compliance.row_weighing import Question as Asked
from services.inventory.settings import InventorySettings

_STATUS = {PASS: Status.PASS, FAIL: Status.FAIL, UNREAD: Status.UNREAD}
_EVERY = 1_000_000
"""More resources than any account here has."""


async def scan(endpoint: AwsEndpoint, folder: Path) -> Run:
    """Collect the account, weigh a plan against it, and give every verdict.

    The service weighs the sample plan; its checks of every resource, which no call lists,
    are run here by the same code, and their CPU is added.
    """
    before, began = endpoint.faults.calls.total(), time.monotonic()
    async with inventory(endpoint.url, folder) as service:
        await collect(service)
        await check(service)
        used = await asyncio.to_thread(usage, service.pid)
    calls, cpu = endpoint.faults.calls.total() - before, time.process_time()
    found: dict[Question, Status] = {}
    incomplete = set()
    async for bound, result, of_check in _checked(folder):
        found |= of_check
        if not result.complete:
            incomplete.add(bound.id)
    return Run(
        verdicts=found,
        calls=calls,
        cpu_seconds=used.cpu_seconds + time.process_time() - cpu,
        peak_megabytes=used.peak_megabytes,
        wall_seconds=time.monotonic() - began,
        incomplete=frozenset(incomplete),
    )


async def _checked(
    folder: Path,
) -> AsyncIterator[tuple[BoundCheck, CheckResult, dict[Question, Status]]]:
    catalogue = load_catalogue(PACKAGE)
    settings = InventorySettings(
        home=folder, database_url=f"sqlite:///{folder / 'inventory.db'}", jwks=""
    )
    store = await open_store(settings, catalogue)
    try:
        async with store.connection() as connection:
            evidence = EvidenceStore(store, connection, TENANT)
            coverage = Coverage((), await evidence.units(()))
            now = datetime.now(UTC)
            evaluation = Evaluation(evidence, coverage, now, now - DEFAULT_MAX_AGE)
            for bound in load_checks(catalogue).checks.values():
                result = await evaluation.run(bound, bound.defaults())
                if bound.message.scope == check_pb2.CHECK_SCOPE_RESOURCE:
                    yield bound, result, await _of_resources(bound, evaluation)
                else:
                    yield bound, result, _of_account(bound, result)
    finally:
        await store.engine.dispose()


async def _of_resources(bound: BoundCheck, evaluation: Evaluation) -> dict[Question, Status]:
    """Give each record's verdict; those of a unit that was not read are unread."""
    found: dict[Question, Status] = {}
    groups = evaluation.coverage.reading_groups(
        bound.kind.collection, together=not bound.uses_now, at=evaluation.evaluate_time
    )
    for readings in groups:
        asked = Asked(bound, bound.defaults(), readings)
        for outcome, status in _STATUS.items():
            for record in await evaluation.evidence.records(
                asked, outcome, without=(), limit=_EVERY
            ):
                standing = evaluation.coverage.standing(
                    record.cloud_account_id, bound.kind.collection, record.region, evaluation.oldest
                )
                question = Question(bound.id, record.name)
                found[question] = status if standing is Standing.READ else Status.UNREAD
    return found


def _of_account(bound: BoundCheck, result: CheckResult) -> dict[Question, Status]:
    """Give the one verdict on the one account in its one region."""
    counts = {
        Status.PASS: result.passed,
        Status.FAIL: result.failed,
        Status.UNREAD: result.unread + result.stale,
    }
    return {Question(bound.id, ACCOUNT): status for status, count in counts.items() if count}
