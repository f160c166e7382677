"""How much of a baseline is tested: controls with a known check, with one of ours, read whole.

Facts of ``data/securityhub_controls.txt``: the controls of SP 800-53 rev 5 that AWS Security Hub's
own documentation relates to its controls.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import resources

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import coverage_pb2 as api
from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.assessment import MAX_ASSESSMENT_ACTIONS
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE
from services.inventory.compliance.check_catalogue import CheckCatalogue
from services.inventory.compliance.controls import baseline_controls, load_controls
from services.inventory.compliance.coverage import Coverage
from services.inventory.compliance.evaluation import Evaluation
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.compliance.verdict import missing_actions
from services.inventory.controls.tenant_checks import TenantChecks


class CoverageReporter:
    """Runs the checks of a baseline to see which are answered whole."""

    def __init__(self, store: Store, checks: TenantChecks, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._checks = checks
        self._clock = clock

    async def coverage(
        self,
        parent: str,
        baseline: ssp_pb2.Baseline.ValueType,
        accounts: Sequence[str],
    ) -> api.Coverage:
        """Count the controls of a baseline; where nothing was collected, none is complete."""
        controls = baseline_controls(baseline)
        now = self._clock()
        tenant = tenant_of(parent) or ""
        async with self._store.connection() as connection:
            checks = await self._checks.of(tenant, connection)
            evidence = EvidenceStore(self._store, connection, tenant)
            units = Coverage(accounts, await evidence.units(accounts))
            evaluation = Evaluation(
                evidence, units, now, now - DEFAULT_MAX_AGE, named_accounts=tuple(accounts)
            )
            results: dict[str, pb.CheckResult] = {}
            for check_id in _bound(checks, controls) if not units.empty else ():
                check = checks.checks[check_id]
                results[check_id] = await evaluation.run(check, check.defaults())
        found = [_control(checks, control, results) for control in controls]
        return api.Coverage(
            baseline=baseline,
            cloud_account_ids=units.accounts,
            controls=len(found),
            testable=sum(each.testable for each in found),
            bound=sum(bool(each.check_ids) for each in found),
            complete=sum(each.complete for each in found),
            control_coverage=found,
            missing_actions=missing_actions(results.values())[:MAX_ASSESSMENT_ACTIONS],
        )


def _bound(checks: CheckCatalogue, controls: Sequence[str]) -> list[str]:
    return sorted({check.id for control in controls for check in checks.of(control)})


def _control(
    checks: CheckCatalogue, control_id: str, results: Mapping[str, pb.CheckResult]
) -> api.ControlCoverage:
    ids = [check.id for check in checks.of(control_id)]
    complete = [each in results and results[each].complete for each in ids]
    return api.ControlCoverage(
        control_id=control_id,
        title=load_controls()[control_id].title,
        testable=bool(ids) or control_id in _published(),
        check_ids=ids,
        complete=bool(ids) and all(complete),
    )


@cache
def _published() -> frozenset[str]:
    source = resources.files(__package__) / "data" / "securityhub_controls.txt"
    return frozenset(source.read_text(encoding="utf-8").split())
