"""One assessment, filed in the security service: the one function that the callers share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import filing_pb2 as api
from secmesh.security.v1.record_pb2 import Record
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.compliance.coverage import Coverage
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.controls.tenant_checks import TenantChecks
from services.inventory.errors import AssessmentSuperseded
from services.inventory.exceptions.tenant_exceptions import TenantExceptions
from services.inventory.filing.claims import Scope, plan_claims
from services.inventory.filing.identity import Key, claim_prefix, is_ours
from services.inventory.filing.resources import plan_resources
from services.inventory.filing.security import Security
from services.inventory.filing.surroundings import Surroundings
from services.inventory.filing.weighing import Weighed, Weigher
from services.inventory.filing.writing import Outcome, Writer

CLAIMS, RESOURCES = "compliance_assessments", "misconfigurations"
_CHECKS_ASKED = 50
"""Checks named in one condition."""

_Run = tuple[str, tuple[tuple[str, int], ...]]
"""A check's id and its thresholds."""


@dataclass
class _Evidence:
    """What the assessment's checks say of resources."""

    weighed: Weighed = field(default_factory=Weighed)
    filed: set[Key] = field(default_factory=set)
    """Failing resources of contradicted claims."""
    failing_in: dict[str, set[str]] = field(default_factory=dict)
    """Accounts with failing resources, by the verdict's name."""
    certain: set[tuple[str, str]] = field(default_factory=set)
    """Accounts and checks of which all resources were weighed."""
    whole: bool = True
    """Whether no account of the tenant was left out."""


class Filing:
    """Files assessments. What differs is written and nothing else, so it can be repeated."""

    def __init__(self, store: Store, checks: TenantChecks, security: Security) -> None:
        self._store = store
        self._assessments = AssessmentStore(store)
        self._checks = checks
        self._exceptions = TenantExceptions(store)
        self._security = security

    async def file(self, name: str, *, keep: bool = True) -> api.FileAssessmentResponse:
        """Bring the security service's records to what an assessment found; or tell what differs.

        Raises ResourceNotFound, AssessmentSuperseded, DependencyUnavailable, and what the security
        service refuses to the caller.
        """
        assessment, ssp, verdicts = await self._assessments.assessment(name)
        if newer := await self._assessments.newer(assessment):
            raise AssessmentSuperseded(newer)
        parent = f"tenants/{tenant_of(name)}"
        surroundings = Surroundings(self._security, parent)
        accounts = await surroundings.accounts()
        known = await self._known_resources(parent, verdicts, accounts)
        evidence = await self._weigh(assessment, verdicts, known)
        found = plan_resources(
            evidence.weighed,
            evidence.filed,
            known,
            lambda key, check_id: (key[0], check_id) in evidence.certain,
            assessment,
        )
        if keep:
            failing = {account for names in evidence.failing_in.values() for account in names}
            accounts |= await surroundings.add_accounts(failing - accounts.keys())
        scope = Scope(
            assessment=assessment,
            title=ssp.title if ssp is not None else "",
            parent=f"{parent}/{CLAIMS}",
            framework=await surroundings.framework(makes=keep and _has_contradicted(verdicts)),
            accounts=accounts,
            whole=evidence.whole,
        )
        claims = plan_claims(scope, verdicts, evidence.failing_in, await self._known_claims(scope))
        if not keep:
            return _answer({RESOURCES: Outcome.of(found), CLAIMS: Outcome.of(claims)})
        writer = Writer(self._security, parent, assessment, accounts)
        # Findings first: a claim that is recorded has its resources.
        written = {RESOURCES: await writer.resources(found, evidence.weighed)}
        return _answer(written | {CLAIMS: await writer.claims(claims)})

    async def _known_resources(
        self, parent: str, verdicts: Sequence[pb.ClaimVerdict], accounts: Mapping[str, str]
    ) -> dict[Key, Record]:
        """Give the recorded findings of the assessment's checks that were made here."""
        ids = sorted({result.check_id for each in verdicts for result in each.check_results})
        uids = {name: uid for uid, name in accounts.items()}
        known: dict[Key, Record] = {}
        for start in range(0, len(ids), _CHECKS_ASKED):
            listed = ", ".join(f'"{each}"' for each in ids[start : start + _CHECKS_ASKED])
            for record in await self._security.records(
                f"{parent}/{RESOURCES}", f"check_id in [{listed}]"
            ):
                body = record.misconfiguration
                if is_ours(body.fingerprint) and body.account_id in uids:
                    known[uids[body.account_id], body.fingerprint] = record
        return known

    async def _known_claims(self, scope: Scope) -> dict[str, Record]:
        prefix = claim_prefix(scope.assessment.ssp)
        condition = (
            "assessment_type == ASSESSMENT_TYPE_AUTOMATED && "
            f'record.name.startsWith("{scope.parent}/{prefix}")'
        )
        found = await self._security.records(scope.parent, condition)
        return {record.name.rpartition("/")[2]: record for record in found}

    async def _weigh(
        self,
        assessment: pb.Assessment,
        verdicts: Sequence[pb.ClaimVerdict],
        known: Mapping[Key, Record],
    ) -> _Evidence:
        """Weigh the checks that matter, by what was known when the assessment was made."""
        found = _Evidence()
        wanted = {each.check_id for _, each in _failing_results(verdicts)}
        wanted |= {record.misconfiguration.check_id for record in known.values()}
        moment = assessment.evaluate_time.ToMicroseconds()
        async with self._store.connection() as connection:
            tenant = tenant_of(assessment.name) or ""
            results = [result for each in verdicts for result in each.check_results]
            checks = await self._checks.as_judged(tenant, results, connection)
            evidence = EvidenceStore(self._store, connection, tenant, moment)
            everywhere = Coverage((), await evidence.units(()))
            found.whole = {*everywhere.accounts} <= {*assessment.cloud_account_ids}
            units = await evidence.units(assessment.cloud_account_ids)
            exceptions = await self._exceptions.as_judged(tenant, results, checks, connection)
            weigher = Weigher(evidence, units, assessment, exceptions)
            by_run = {}
            for run in sorted(_runs(verdicts)):
                check = checks.checks.get(run[0])
                if check is None or check.id not in wanted:
                    continue
                by_run[run] = await weigher.weigh(check, dict(run[1]))
                found.weighed.merge(by_run[run])
                found.certain |= {
                    (account, check.id)
                    for account in assessment.cloud_account_ids
                    if weigher.looked_at(account, check.kind.collection)
                }
        for verdict, result in _failing_results(verdicts):
            keys = by_run[_run(result)].failing.keys() if _run(result) in by_run else ()
            found.filed.update(keys)
            found.failing_in.setdefault(verdict.name, set()).update(key[0] for key in keys)
        return found


def _has_contradicted(verdicts: Iterable[pb.ClaimVerdict]) -> bool:
    return any(each.claim and each.verdict == pb.VERDICT_CONTRADICTED for each in verdicts)


def _failing_results(
    verdicts: Iterable[pb.ClaimVerdict],
) -> Iterator[tuple[pb.ClaimVerdict, pb.CheckResult]]:
    """Give the failing checks of contradicted claims."""
    for verdict in verdicts:
        if verdict.claim and verdict.verdict == pb.VERDICT_CONTRADICTED:
            for result in verdict.check_results:
                if result.failed:
                    yield verdict, result


def _run(result: pb.CheckResult) -> _Run:
    return result.check_id, tuple(sorted(result.thresholds.items()))


def _runs(verdicts: Iterable[pb.ClaimVerdict]) -> set[_Run]:
    return {_run(result) for verdict in verdicts for result in verdict.check_results}


def _answer(outcomes: Mapping[str, Outcome]) -> api.FileAssessmentResponse:
    answer = api.FileAssessmentResponse()
    for collection, outcome in sorted(outcomes.items()):
        answer.counts.add(collection=collection, **{k.value: v for k, v in outcome.counts.items()})
        for subject, reason in outcome.rejections:
            if len(answer.rejections) < 100:
                answer.rejections.add(collection=collection, subject=subject, reason=reason)
    return answer
