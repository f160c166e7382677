"""How much of a framework is tested: controls with a known check, with one of ours, read whole.

Facts of ``data/securityhub_controls.txt``: the controls of SP 800-53 rev 5 that AWS Security Hub's
own documentation relates to its controls.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import resources

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, framework_pb2
from secmesh.inventory.v1 import coverage_pb2 as api
from services.inventory.compliance.assessment import MAX_ASSESSMENT_ACTIONS
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE
from services.inventory.compliance.check_catalogue import BoundCheck, CheckCatalogue
from services.inventory.compliance.coverage import Coverage
from services.inventory.compliance.evaluation import Asked, Evaluation, batches
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.frameworks import BoundFramework
from services.inventory.compliance.verdict import missing_actions
from services.inventory.controls.tenant_checks import TenantChecks
from services.inventory.exceptions.tenant_exceptions import TenantExceptions

Results = Mapping[str, pb.CheckResult]


class CoverageReporter:
    """Runs the checks of a framework to see which are answered whole, and what they say."""

    def __init__(self, store: Store, checks: TenantChecks, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._checks = checks
        self._clock = clock
        self._exceptions = TenantExceptions(store)

    async def coverage(
        self, parent: str, framework: BoundFramework, accounts: Sequence[str]
    ) -> api.Coverage:
        """Count the controls of a framework; where nothing was collected, none is complete."""
        now = self._clock()
        tenant = tenant_of(parent) or ""
        async with self._store.connection() as connection:
            checks = await self._checks.of(tenant, connection)
            evidence = EvidenceStore(self._store, connection, tenant)
            units = Coverage(accounts, await evidence.units(accounts))
            stamp = Timestamp()
            stamp.FromDatetime(now)
            standing = await self._exceptions.at(tenant, stamp, checks, connection)
            oldest = now - DEFAULT_MAX_AGE
            named = tuple(accounts)
            evaluation = Evaluation(evidence, units, now, oldest, named, standing.exceptions)
            results: dict[str, pb.CheckResult] = {}
            bound = _bound(checks, framework) if not units.empty else ()
            for batch in batches(Asked(each, each.defaults()) for each in bound):
                weighed = await evaluation.run_together(batch)
                results |= {result.check_id: result for result in weighed}
        found = [_control(checks, framework, each, results) for each in framework.controls]
        covered = _counted(framework, found)
        covered.cloud_account_ids.extend(units.accounts)
        covered.missing_actions.extend(missing_actions(results.values())[:MAX_ASSESSMENT_ACTIONS])
        return covered


def _counted(framework: BoundFramework, found: Sequence[api.ControlCoverage]) -> api.Coverage:
    return api.Coverage(
        baseline=framework.message.baseline,
        framework=framework.message.id,
        controls=len(found),
        testable=sum(each.testable for each in found),
        bound=sum(bool(each.check_ids) for each in found),
        complete=sum(each.complete for each in found),
        failing=sum(bool(each.failing_check_ids) for each in found),
        control_coverage=found,
    )


def _bound(checks: CheckCatalogue, framework: BoundFramework) -> list[BoundCheck]:
    found = {
        check.id: check
        for control in framework.controls
        for check in framework.checks_of(checks, control)
    }
    return [found[each] for each in sorted(found)]


def _control(
    checks: CheckCatalogue,
    framework: BoundFramework,
    control: framework_pb2.FrameworkControl,
    results: Results,
) -> api.ControlCoverage:
    ids = [check.id for check in framework.checks_of(checks, control)]
    own = [results[each] for each in ids if each in results]
    related = control.related_control_ids
    return api.ControlCoverage(
        control_id=control.control_id,
        title=control.title,
        testable=bool(ids) or any(each in _published() for each in related),
        check_ids=ids,
        complete=bool(ids) and len(own) == len(ids) and all(each.complete for each in own),
        outcome=_outcome(own),
        failing_check_ids=[each.check_id for each in own if each.failed],
        related_control_ids=() if framework.message.baseline else related,
    )


def _outcome(results: Sequence[pb.CheckResult]) -> check_pb2.EvidenceOutcome.ValueType:
    """Give the worst of what checks found; a read that was not answered outweighs a pass."""
    if not results:
        return check_pb2.EVIDENCE_OUTCOME_UNSPECIFIED
    if any(each.failed for each in results):
        return check_pb2.EVIDENCE_OUTCOME_FAIL
    if any(each.unread for each in results):
        return check_pb2.EVIDENCE_OUTCOME_UNREAD
    if any(each.stale for each in results):
        return check_pb2.EVIDENCE_OUTCOME_STALE
    if not all(each.complete for each in results):
        return check_pb2.EVIDENCE_OUTCOME_UNREAD
    if any(each.excepted for each in results):
        return check_pb2.EVIDENCE_OUTCOME_EXCEPTED
    if any(each.passed for each in results):
        return check_pb2.EVIDENCE_OUTCOME_PASS
    return check_pb2.EVIDENCE_OUTCOME_NOT_APPLICABLE


@cache
def _published() -> frozenset[str]:
    source = resources.files(__package__) / "data" / "securityhub_controls.txt"
    return frozenset(source.read_text(encoding="utf-8").split())
