"""Assessments that tests of reports are written from: every verdict, hostile words."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_DNS, uuid5

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2, ssp_pb2
from services.inventory.compliance.report import Report

ASSESSMENT = "tenants/acme/assessments/a1"
SSP = "tenants/acme/ssps/main"
ACCOUNT = "111122223333"
NOW = datetime(2030, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
WORDS = [pb.Verdict.Name(each).removeprefix("VERDICT_") for each in pb.Verdict.values() if each]
HOSTILE = (
    '=HYPERLINK("http://evil","x")<script>alert(1)</script>\' onerror=alert(1) "><img src=x>'
    " | [x](http://evil) `code` **b**\n# Heading\n- item\u202e\u2028\x00\x1b]0;x\x07"
)
_FAILING = {"CONTRADICTED", "OVERDUE", "WEAKENED", "GAP_CONFIRMED", "NOT_CLAIMED_FAILING"}
_SILENT = {"NOT_CLAIMED", "NOT_CLAIMED_FAILING"}
_UNTESTED = {"NO_EVIDENCE", "CLAIM_INVALID", "INHERITED"}
_CONTROLS = [f"ac-{number}" for number in range(1, 15)] + ["ac-2.1"]


def uuid_of(name: str) -> str:
    return str(uuid5(NAMESPACE_DNS, name))


def verdict_of(word: str, control: str, text: str = "", evidence: int = 2) -> pb.ClaimVerdict:
    """Make a verdict with the results that go with it; ``text`` stands in all foreign fields."""
    silent = word in _SILENT
    made = pb.ClaimVerdict(
        name=f"{ASSESSMENT}/verdicts/{'control-' if silent else ''}{control}",
        claim="" if silent else f"{SSP}/claims/{control}",
        control_id=control,
        statement_id="" if silent else f"{control}_smt.a",
        implementation_statement_uuid="" if silent else uuid_of(control),
        component_title="" if silent else text or "Cloud",
        state=ssp_pb2.CLAIM_STATE_UNSPECIFIED if silent else ssp_pb2.CLAIM_STATE_IMPLEMENTED,
        verdict=pb.Verdict.Value(f"VERDICT_{word}"),
        reason=text or f"Because of {control}.",
    )
    if word not in _UNTESTED:
        _add_result(made, word, text, evidence)
    return made


def _add_result(made: pb.ClaimVerdict, word: str, text: str, evidence: int) -> None:
    failing, unread = word in _FAILING, word == "INDETERMINATE"
    result = made.check_results.add(
        check_id="s3.encryption",
        collection="s3_buckets",
        grade=check_pb2.EVIDENCE_GRADE_DIRECT,
        severity=check_pb2.SEVERITY_HIGH,
        failed=evidence if failing else 0,
        unread=evidence if unread else 0,
        passed=0 if unread else 3,
        complete=not unread,
        remediation=text or "Encrypt it.",
        thresholds={"rotation_period": 60},
        failing_filter='encryption == "NONE"' if failing else "",
    )
    outcome = check_pb2.EVIDENCE_OUTCOME_FAIL if failing else check_pb2.EVIDENCE_OUTCOME_UNREAD
    for number in range(evidence if failing or unread else 0):
        each = result.evidence.add(
            record=f"tenants/acme/s3_buckets/r{number}",
            subject=f"arn:aws:s3:::{text}{number}",
            outcome=outcome,
            values={"encryption": f'"NONE{text}"'} if failing else {},
        )
        each.since.FromDatetime(NOW - timedelta(days=3))
        if unread:
            each.unread.add(action="s3:GetEncryptionConfiguration", code="AccessDenied")
    if unread:
        made.missing_actions.append("s3:GetEncryptionConfiguration")
        result.gaps.add(
            cloud_account_id=ACCOUNT,
            region="global",
            operation="s3:GetBucketEncryption",
            code=text or "AccessDenied",
            outcome=record_pb2.READ_OUTCOME_DENIED,
        )


def every_verdict(text: str = "") -> list[pb.ClaimVerdict]:
    """Make one verdict of each kind, the worst first."""
    pairs = zip(WORDS, _CONTROLS, strict=True)
    return [verdict_of(word, control, text) for word, control in pairs]


def report_of(
    verdicts: Sequence[pb.ClaimVerdict], *, text: str = "", claims: Sequence[ssp_pb2.Claim] = ()
) -> Report:
    """Make a report of verdicts, with the counts that they add up to."""
    assessment = pb.Assessment(
        name=ASSESSMENT,
        ssp=SSP,
        cloud_account_ids=[ACCOUNT],
        baseline=ssp_pb2.BASELINE_FEDRAMP_MODERATE,
        controls=len(verdicts),
        claims=len(verdicts),
        missing_actions=["s3:GetEncryptionConfiguration"],
    )
    for word in WORDS:
        number = pb.Verdict.Value(f"VERDICT_{word}")
        count = sum(each.verdict == number for each in verdicts)
        if count:
            assessment.control_counts.add(verdict=number, count=count)
            assessment.claim_counts.add(verdict=number, count=count)
    assessment.evaluate_time.FromDatetime(NOW)
    assessment.max_age.FromTimedelta(timedelta(days=7))
    plan = ssp_pb2.Ssp(
        name=SSP,
        title=text or "Plan",
        version="1",
        oscal_version="1.1.2",
        document_sha256="ab" * 32,
    )
    return Report(assessment, plan, verdicts, claims)
