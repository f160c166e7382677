"""One evaluation from the stored plan to the stored assessment."""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.util import LRUCache

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2 as api
from services.inventory.compliance.assessment import (
    Run,
    bind,
    date_verdicts,
    run_of,
    summarise,
    verdicts,
)
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.compliance.check_catalogue import CheckCatalogue
from services.inventory.compliance.coverage import Coverage
from services.inventory.compliance.evaluation import Asked, Evaluation, batches
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.uncovered import tell_uncovered, tell_unread_regions
from services.inventory.controls.tenant_checks import TenantChecks
from services.inventory.discovery.organization_store import OrganizationStore
from services.inventory.errors import NothingCollected
from services.inventory.exceptions.tenant_exceptions import TenantExceptions

DEFAULT_MAX_AGE = timedelta(days=7)
STATEMENTS = 600
"""Statements that are kept compiled: two for each check of an evaluation, and some more."""
AT_A_TIME = 2
"""Batches of checks of an evaluation that are begun and not weighed."""
EVALUATIONS = 2
"""Evaluations at a time: each takes what one processor has, and a connection of the store."""


def _now() -> datetime:
    return datetime.now(UTC)


class Assessor:
    """Weighs the claims of plans against the records collected last."""

    def __init__(
        self, store: Store, checks: TenantChecks, clock: Callable[[], datetime] = _now
    ) -> None:
        self._store = store
        self._assessments = AssessmentStore(store)
        self._checks = checks
        self._exceptions = TenantExceptions(store)
        self._organizations = OrganizationStore(store)
        self._clock = clock
        self._statements = LRUCache[Any, Any](STATEMENTS)
        self._places = asyncio.Semaphore(EVALUATIONS)

    async def evaluate(
        self, ssp: str, accounts: Sequence[str], max_age: timedelta = DEFAULT_MAX_AGE
    ) -> AsyncGenerator[api.EvaluateProgress | pb.Assessment]:
        """Run every check that the plan needs, tell how far it is, and store the assessment.

        Waits while too many others are at it. Raises ResourceNotFound if there is no such
        plan, NothingCollected if none of the accounts was ever collected.
        """
        async with self._places, aclosing(self._evaluate(ssp, accounts, max_age)) as events:
            async for event in events:
                yield event

    async def _evaluate(
        self, ssp: str, accounts: Sequence[str], max_age: timedelta
    ) -> AsyncGenerator[api.EvaluateProgress | pb.Assessment]:
        tenant = tenant_of(ssp) or ""
        evaluate_time = self._clock()
        stamp = Timestamp()
        stamp.FromDatetime(evaluate_time)
        # One snapshot: a run that ends meanwhile is not half seen.
        async with self._store.connection() as connection:
            # The statements of checks are many; those of other calls stay in the engine's cache.
            await connection.execution_options(compiled_cache=self._statements)
            plan, claims = await self._assessments.plan(ssp, connection)
            evidence = EvidenceStore(self._store, connection, tenant)
            coverage = Coverage(accounts, await evidence.units(accounts))
            if coverage.empty:
                raise NothingCollected(accounts)
            checks = await self._checks.of(tenant, connection)
            standing = await self._exceptions.at(tenant, stamp, checks, connection)
            evaluation = Evaluation(
                evidence,
                coverage,
                evaluate_time,
                evaluate_time - max_age,
                tuple(accounts),
                standing.exceptions,
            )
            earlier = await self._assessments.latest_verdicts(
                ssp, accounts, coverage.accounts, stamp, connection
            )
            usable = await self._organizations.usable(tenant, connection)
            enabled = await evidence.enabled_regions()
            bindings = bind(plan, claims, checks)
            runs = sorted(
                {run for binding in bindings for run in binding.runs},
                key=lambda run: (run.check_id, run.thresholds),
            )
            yield api.EvaluateProgress(checks=len(runs))
            results = {}
            async with aclosing(_weighed(evaluation, checks, runs)) as weighed:
                async for run, result in weighed:
                    results[run] = result
                    yield api.EvaluateProgress(checks=len(runs), checks_done=len(results))
        name = f"tenants/{tenant}/assessments/{_time_ordered_id()}"
        # Plans of tens of thousands of claims take a second; other calls go on meanwhile.
        found = await asyncio.to_thread(verdicts, name, bindings, results, evaluate_time)
        date_verdicts(found, earlier, evaluate_time)
        assessment = pb.Assessment(
            name=name,
            ssp=ssp,
            cloud_account_ids=coverage.accounts,
            scope_account_ids=sorted(accounts),
            baseline=plan.baseline,
        )
        assessment.evaluate_time.CopyFrom(stamp)
        assessment.max_age.FromTimedelta(max_age)
        summarise(assessment, found)
        standing.tell(assessment)
        tell_uncovered(assessment, usable)
        tell_unread_regions(assessment, enabled, coverage.regions)
        await self._assessments.add(assessment, found)
        yield assessment


async def _weighed(
    evaluation: Evaluation, checks: CheckCatalogue, runs: Iterable[Run]
) -> AsyncGenerator[tuple[Run, pb.CheckResult]]:
    """Weigh checks; while the store answers for some, the next are prepared."""
    asked = [Asked(checks.checks[run.check_id], dict(run.thresholds)) for run in runs]
    begun: deque[tuple[list[Asked], asyncio.Task[list[pb.CheckResult]]]] = deque()
    left = batches(asked)
    try:
        while True:
            for batch in islice(left, AT_A_TIME - len(begun)):
                begun.append((batch, asyncio.create_task(evaluation.run_together(batch))))
            if not begun:
                return
            batch, task = begun[0]
            results = await task
            begun.popleft()
            for (check, thresholds), result in zip(batch, results, strict=True):
                yield run_of(check, thresholds), result
    finally:
        for _, task in begun:
            task.cancel()
        await asyncio.gather(*(task for _, task in begun), return_exceptions=True)


def _time_ordered_id() -> str:
    """Give a UUID of version 7 (RFC 9562): milliseconds, then chance."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
