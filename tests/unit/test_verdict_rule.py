"""The rule by which evidence judges a claim."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2, ssp_pb2
from services.inventory.compliance.verdict import (
    Judgement,
    judge,
    judge_silence,
    missing_actions,
    worst,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DIRECT = check_pb2.EVIDENCE_GRADE_DIRECT
PARTIAL = check_pb2.EVIDENCE_GRADE_PARTIAL
INDICATOR = check_pb2.EVIDENCE_GRADE_INDICATOR
IMPLEMENTED = ssp_pb2.CLAIM_STATE_IMPLEMENTED
STATES = {name: value for name, value in ssp_pb2.ClaimState.items() if value}


def result(
    grade: check_pb2.EvidenceGrade.ValueType = DIRECT,
    *,
    passed: int = 0,
    failed: int = 0,
    unread: int = 0,
    not_applicable: int = 0,
    excepted: int = 0,
    check_id: str = "s3.encryption",
) -> pb.CheckResult:
    made = pb.CheckResult(
        check_id=check_id,
        grade=grade,
        severity=check_pb2.SEVERITY_HIGH,
        complete=unread == 0,
        passed=passed,
        failed=failed,
        not_applicable=not_applicable,
        unread=unread,
        excepted=excepted,
    )
    if excepted:
        made.exceptions.add(
            check_exception="tenants/acme/checkExceptions/public-site",
            expire_time={"seconds": 1_900_000_000},
            excepted=excepted,
        )
    if failed:
        made.evidence.add(
            subject="arn:aws:s3:::one",
            outcome=check_pb2.EVIDENCE_OUTCOME_FAIL,
            values={"encryption": '"NONE"'},
        )
    if unread:
        made.gaps.add(
            cloud_account_id="111122223333",
            region="global",
            operation="s3:GetBucketEncryption",
            action="s3:GetEncryptionConfiguration",
            outcome=record_pb2.READ_OUTCOME_DENIED,
            code="AccessDenied",
        )
    return made


def claim(state: int = IMPLEMENTED, **more: object) -> ssp_pb2.Claim:
    return ssp_pb2.Claim(control_id="sc-28", state=state, **more)  # type: ignore[arg-type]  # enum by number


def verdict(made: ssp_pb2.Claim, *results: pb.CheckResult) -> pb.Verdict.ValueType:
    return judge(made, results, evaluate_time=NOW).verdict


FAIL, PASS, UNREAD, NOTHING = (
    result(failed=1, passed=2),
    result(passed=3),
    result(unread=3),
    result(not_applicable=3),
)
HINT_FAIL, HINT_PASS = result(PARTIAL, failed=1), result(INDICATOR, passed=1)
EXCEPTED, HINT_EXCEPTED = result(passed=2, excepted=1), result(PARTIAL, excepted=1)


@pytest.mark.parametrize(
    ("state", "results", "expected"),
    [
        ("IMPLEMENTED", [FAIL], "CONTRADICTED"),
        ("IMPLEMENTED", [FAIL, UNREAD], "CONTRADICTED"),
        ("IMPLEMENTED", [result(failed=1, unread=9)], "CONTRADICTED"),
        ("IMPLEMENTED", [HINT_FAIL, PASS], "WEAKENED"),
        ("IMPLEMENTED", [PASS], "SUPPORTED"),
        ("IMPLEMENTED", [PASS, HINT_PASS, NOTHING], "SUPPORTED"),
        ("IMPLEMENTED", [PASS, UNREAD], "INDETERMINATE"),
        ("IMPLEMENTED", [result(passed=5, unread=1)], "INDETERMINATE"),
        ("IMPLEMENTED", [UNREAD], "INDETERMINATE"),
        ("IMPLEMENTED", [HINT_PASS], "PARTLY_SUPPORTED"),
        ("IMPLEMENTED", [HINT_PASS, NOTHING], "PARTLY_SUPPORTED"),
        ("IMPLEMENTED", [NOTHING], "VACUOUS"),
        ("IMPLEMENTED", [], "NO_EVIDENCE"),
        ("IMPLEMENTED", [EXCEPTED], "PARTLY_SUPPORTED"),
        ("IMPLEMENTED", [result(excepted=3)], "PARTLY_SUPPORTED"),
        ("IMPLEMENTED", [HINT_EXCEPTED, PASS], "PARTLY_SUPPORTED"),
        ("IMPLEMENTED", [EXCEPTED, UNREAD], "INDETERMINATE"),
        ("IMPLEMENTED", [EXCEPTED, HINT_FAIL], "WEAKENED"),
        ("IMPLEMENTED", [result(failed=1, excepted=1)], "CONTRADICTED"),
        ("PARTIAL", [EXCEPTED], "GAP_CONFIRMED"),
        ("PARTIAL", [EXCEPTED, UNREAD], "GAP_CONFIRMED"),
        ("PLANNED", [HINT_EXCEPTED, PASS], "GAP_CONFIRMED"),
        ("ALTERNATIVE", [EXCEPTED], "MANUAL_REVIEW"),
        ("NOT_APPLICABLE", [result(excepted=1)], "CONTRADICTED"),
        ("NOT_APPLICABLE", [HINT_EXCEPTED], "WEAKENED"),
        ("PARTIAL", [FAIL], "GAP_CONFIRMED"),
        ("PARTIAL", [PASS], "UNDERSTATED"),
        ("PARTIAL", [HINT_PASS], "PARTLY_SUPPORTED"),
        ("PARTIAL", [UNREAD], "INDETERMINATE"),
        ("PLANNED", [HINT_FAIL], "GAP_CONFIRMED"),
        ("PLANNED", [PASS, HINT_PASS], "UNDERSTATED"),
        ("PLANNED", [PASS, UNREAD], "INDETERMINATE"),
        ("PLANNED", [HINT_PASS], "MANUAL_REVIEW"),
        ("PLANNED", [NOTHING], "VACUOUS"),
        ("PLANNED", [], "NO_EVIDENCE"),
        ("ALTERNATIVE", [FAIL], "MANUAL_REVIEW"),
        ("ALTERNATIVE", [PASS], "MANUAL_REVIEW"),
        ("ALTERNATIVE", [UNREAD], "INDETERMINATE"),
        ("ALTERNATIVE", [], "NO_EVIDENCE"),
        ("UNSPECIFIED", [FAIL], "MANUAL_REVIEW"),
        ("NOT_APPLICABLE", [PASS], "CONTRADICTED"),
        ("NOT_APPLICABLE", [FAIL], "CONTRADICTED"),
        ("NOT_APPLICABLE", [HINT_PASS], "WEAKENED"),
        ("NOT_APPLICABLE", [NOTHING], "SUPPORTED"),
        ("NOT_APPLICABLE", [result(PARTIAL)], "PARTLY_SUPPORTED"),
        ("NOT_APPLICABLE", [NOTHING, UNREAD], "INDETERMINATE"),
        ("NOT_APPLICABLE", [], "NO_EVIDENCE"),
    ],
)
def test_the_rule(state: str, results: list[pb.CheckResult], expected: str) -> None:
    made = claim(ssp_pb2.ClaimState.Value(f"CLAIM_STATE_{state}"))
    assert pb.Verdict.Name(verdict(made, *results)) == f"VERDICT_{expected}"


@pytest.mark.parametrize("state", [ssp_pb2.CLAIM_STATE_PARTIAL, ssp_pb2.CLAIM_STATE_PLANNED])
@pytest.mark.parametrize(
    ("days", "expected"), [(-1, pb.VERDICT_OVERDUE), (1, pb.VERDICT_GAP_CONFIRMED)]
)
def test_planned_work_that_is_due_and_failing_is_overdue(
    state: int, days: int, expected: int
) -> None:
    made = claim(state)
    made.planned_completion_time.FromDatetime(NOW + timedelta(days=days))
    assert verdict(made, FAIL) == expected
    assert verdict(made, PASS) == pb.VERDICT_UNDERSTATED
    # What is accepted is not late.
    assert verdict(made, EXCEPTED) == pb.VERDICT_GAP_CONFIRMED


def test_invalid_comes_before_inherited_and_both_before_evidence() -> None:
    both = claim(inherited=True, invalid_reason="component x is not in the plan")
    assert verdict(both, FAIL) == pb.VERDICT_CLAIM_INVALID
    assert verdict(claim(inherited=True), FAIL) == pb.VERDICT_INHERITED
    unclear = judge(claim(), [FAIL], problems=["iam.x needs y: 'soon'"], evaluate_time=NOW)
    assert unclear == Judgement(pb.VERDICT_CLAIM_INVALID, "iam.x needs y: 'soon'.")


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([FAIL, PASS], pb.VERDICT_NOT_CLAIMED_FAILING),
        ([HINT_FAIL], pb.VERDICT_NOT_CLAIMED_FAILING),
        ([EXCEPTED], pb.VERDICT_NOT_CLAIMED),
        ([EXCEPTED, FAIL], pb.VERDICT_NOT_CLAIMED_FAILING),
        ([PASS], pb.VERDICT_NOT_CLAIMED),
        ([UNREAD], pb.VERDICT_NOT_CLAIMED),
        ([NOTHING], pb.VERDICT_NOT_CLAIMED),
        ([], pb.VERDICT_NOT_CLAIMED),
    ],
)
def test_a_silent_plan(results: list[pb.CheckResult], expected: int) -> None:
    assert judge_silence(results).verdict == expected


def test_reasons_name_the_deciding_facts() -> None:
    contradicted = judge(claim(), [FAIL], evaluate_time=NOW).reason
    for fact in ("s3.encryption", "1 of 3", "arn:aws:s3:::one", 'encryption "NONE"'):
        assert fact in contradicted
    unread = judge(claim(), [UNREAD], evaluate_time=NOW).reason
    assert "s3:GetEncryptionConfiguration" in unread
    assert "AccessDenied" in unread
    excepted = judge(claim(), [EXCEPTED], evaluate_time=NOW).reason
    assert "fails for 1 of 3, excepted by public-site until 2030-03-17" in excepted
    assert missing_actions([UNREAD, PASS]) == ["s3:GetEncryptionConfiguration"]


_RESULTS = st.lists(
    st.builds(
        result,
        st.sampled_from([DIRECT, PARTIAL, INDICATOR]),
        passed=st.integers(0, 2),
        failed=st.integers(0, 2),
        unread=st.integers(0, 2),
        not_applicable=st.integers(0, 2),
        excepted=st.integers(0, 2),
        check_id=st.sampled_from(["s3.encryption", "s3.logging", "iam.mfa"]),
    ),
    max_size=4,
)
_CLAIMS = st.builds(claim, st.sampled_from(sorted(STATES.values())), inherited=st.booleans())


@given(_CLAIMS, _RESULTS)
def test_one_verdict_for_everything(made: ssp_pb2.Claim, results: list[pb.CheckResult]) -> None:
    judged = judge(made, results, evaluate_time=NOW)
    assert judged.verdict != pb.VERDICT_UNSPECIFIED
    assert judged.reason.endswith(".")
    assert len(judged.reason) <= 2048


@given(_CLAIMS, st.lists(st.builds(result, unread=st.integers(1, 3)), max_size=4))
def test_unread_evidence_alone_decides_nothing(
    made: ssp_pb2.Claim, results: list[pb.CheckResult]
) -> None:
    assert verdict(made, *results) in (
        pb.VERDICT_INDETERMINATE,
        pb.VERDICT_NO_EVIDENCE,
        pb.VERDICT_INHERITED,
    )


@given(_RESULTS)
def test_implemented_is_contradicted_by_direct_failure_and_nothing_else(
    results: list[pb.CheckResult],
) -> None:
    direct_failure = any(each.failed and each.grade == DIRECT for each in results)
    judged = verdict(claim(), *results)
    assert (judged == pb.VERDICT_CONTRADICTED) == direct_failure
    if judged == pb.VERDICT_SUPPORTED:
        assert all(each.complete and not each.failed for each in results)
        assert not any(each.excepted for each in results)
        assert any(each.passed and each.grade == DIRECT for each in results)


@given(_CLAIMS, _RESULTS)
def test_more_unread_never_makes_a_claim_look_better(
    made: ssp_pb2.Claim, results: list[pb.CheckResult]
) -> None:
    before = verdict(made, *results)
    if not results or made.inherited:
        return
    after = verdict(made, *results, result(unread=1, check_id="ec2.unread"))
    assert after == before or after in (pb.VERDICT_INDETERMINATE, pb.VERDICT_MANUAL_REVIEW)


@given(_CLAIMS, _RESULTS, st.randoms(use_true_random=False))
def test_the_order_of_evidence_does_not_matter(
    made: ssp_pb2.Claim, results: list[pb.CheckResult], chance: random.Random
) -> None:
    unique = list({each.check_id: each for each in results}.values())
    shuffled = chance.sample(unique, len(unique))
    first = judge(made, unique, evaluate_time=NOW)
    assert first == judge(made, shuffled, evaluate_time=NOW)
    assert judge_silence(unique) == judge_silence(shuffled)


_VERDICTS = st.lists(st.sampled_from([each for each in pb.Verdict.values() if each]), min_size=1)


@given(_VERDICTS, _VERDICTS)
def test_the_worst_counts_and_more_claims_never_mend_it(
    some: list[pb.Verdict.ValueType], more: list[pb.Verdict.ValueType]
) -> None:
    assert worst(some) in some
    assert all(worst(some) <= each for each in some)
    assert worst([*some, *more]) == min(worst(some), worst(more))


def test_the_order_of_verdicts_is_that_of_the_design() -> None:
    expected = (
        "claim-invalid contradicted overdue weakened gap-confirmed indeterminate "
        "not-claimed-failing no-evidence manual-review partly-supported vacuous understated "
        "not-claimed inherited supported"
    )
    names = [
        name.removeprefix("VERDICT_").lower().replace("_", "-")
        for name, number in sorted(pb.Verdict.items(), key=lambda item: item[1])
        if number
    ]
    assert names == expected.split()
