"""What comes of failures: causes together, the weightiest first, the strictest threshold."""

import json
from collections.abc import Iterable
from typing import Any

from mesh.contract.catalogue import load_catalogue
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.check_catalogue import load_checks
from services.inventory.compliance.recommendation import finding_id, recommendations

CHECKS = load_checks(load_catalogue("secmesh.inventory.v1"))
ACCOUNT, OTHER = "111122223333", "444455556666"
FAIL = check_pb2.EVIDENCE_OUTCOME_FAIL


def fails(subject: str, account: str = ACCOUNT, **values: object) -> pb.Evidence:
    return pb.Evidence(
        subject=subject,
        outcome=FAIL,
        cloud_account_id=account,
        region="eu-west-1",
        values={name: json.dumps(value) for name, value in values.items()},
    )


def verdict(
    control: str, word: str, check_id: str, *evidence: pb.Evidence, **thresholds: int
) -> pb.ClaimVerdict:
    check = CHECKS.checks[check_id].message
    result = pb.CheckResult(
        check_id=check_id,
        severity=check.severity,
        failed=sum(each.outcome == FAIL for each in evidence),
        evidence=evidence,
        thresholds=thresholds,
    )
    return pb.ClaimVerdict(
        control_id=control, verdict=pb.Verdict.Value(f"VERDICT_{word}"), check_results=[result]
    )


def bucket(name: str, account: str = ACCOUNT) -> pb.Evidence:
    return fails(f"arn:aws:s3:::{name}", account, bucket_name=name, encryption="NONE")


def ids(verdicts: Iterable[pb.ClaimVerdict]) -> list[str]:
    return [each.recommendation_id for each in recommendations(verdicts, CHECKS)]


def test_what_contradicts_most_comes_first_then_severity_then_effort() -> None:
    versioning = verdict("cp-9", "CONTRADICTED", "s3.versioning", bucket("a"))
    critical = verdict("ac-3", "GAP_CONFIRMED", "s3.bucket_not_public", bucket("a"))
    tables = [
        verdict("sc-28", "GAP_CONFIRMED", "dynamodb.pitr", fails("t", table_name="t")),
        verdict("sc-28", "GAP_CONFIRMED", "rds.encryption", fails("d", instance_id="d")),
    ]
    assert ids([*tables, critical, versioning]) == [
        f"s3.versioning-{ACCOUNT}",
        f"s3.bucket_not_public-{ACCOUNT}",
        f"dynamodb.pitr-{ACCOUNT}",
        f"rds.encryption-{ACCOUNT}",
    ]


def test_one_cause_is_one_recommendation_with_one_command() -> None:
    policy: dict[str, Any] = {
        "minimum_length": 8,
        "require_uppercase": True,
        "require_lowercase": True,
        "require_numbers": False,
        "require_symbols": False,
        "reuse_prevention": 0,
        "allow_users_to_change": True,
    }
    evidence = fails(ACCOUNT, **policy)
    [found] = recommendations(
        [
            verdict("ia-5.1", "CONTRADICTED", "iam.pwd_min_length", evidence, shortest_password=14),
            verdict("ia-5", "CONTRADICTED", "iam.pwd_min_length", evidence, shortest_password=16),
            verdict("ia-5.1", "CONTRADICTED", "iam.pwd_complexity", evidence),
        ],
        CHECKS,
    )
    assert found.cause == "iam.password_policy"
    assert list(found.check_ids) == ["iam.pwd_complexity", "iam.pwd_min_length"]
    assert list(found.contradicted_control_ids) == ["ia-5", "ia-5.1"]
    [mending] = found.mendings
    assert list(mending.finding_ids) == [
        finding_id("iam.pwd_complexity", ACCOUNT),
        finding_id("iam.pwd_min_length", ACCOUNT),
    ]
    # What is said again is not lost, and the strictest plan is met.
    assert list(mending.commands) == [
        "aws iam update-account-password-policy --allow-users-to-change-password"
        " --minimum-password-length 16 --require-lowercase-characters --require-numbers"
        " --require-symbols --require-uppercase-characters --region eu-west-1"
    ]


def test_accounts_stay_apart_and_each_resource_has_its_command() -> None:
    found = recommendations(
        [
            verdict("sc-28", "CONTRADICTED", "s3.encryption", bucket("b"), bucket("a")),
            verdict("sc-13", "WEAKENED", "s3.encryption", bucket("a"), bucket("c", OTHER)),
        ],
        CHECKS,
    )
    assert [each.cloud_account_id for each in found] == [ACCOUNT, OTHER]
    first = found[0]
    assert list(first.control_ids) == ["sc-13", "sc-28"]
    assert [each.subject for each in first.mendings] == ["arn:aws:s3:::a", "arn:aws:s3:::b"]
    assert [len(each.commands) for each in first.mendings] == [1, 1]
    assert "--bucket a " in first.mendings[0].commands[0]
    assert 'bucket = "a"' in first.mendings[0].terraform


def test_what_does_not_fail_is_not_mended() -> None:
    open_outcome = bucket("a")
    open_outcome.outcome = check_pb2.EVIDENCE_OUTCOME_UNREAD
    assert ids([verdict("sc-28", "INDETERMINATE", "s3.encryption", open_outcome)]) == []


def test_a_value_that_is_not_known_leaves_words_alone() -> None:
    evidence = fails("arn:aws:s3:::a", encryption="NONE")
    [found] = recommendations([verdict("sc-28", "CONTRADICTED", "s3.encryption", evidence)], CHECKS)
    [mending] = found.mendings
    assert (list(mending.commands), mending.terraform) == ([], "")
    assert found.advice[0].startswith("Set default encryption")


def test_a_policy_that_is_there_is_not_replaced_by_one_of_ours() -> None:
    def commands(policy: str) -> list[str]:
        evidence = bucket("a")
        evidence.target["policy"] = policy
        [found] = recommendations([verdict("sc-8", "WEAKENED", "s3.tls_only", evidence)], CHECKS)
        return list(found.mendings[0].commands)

    assert "aws:SecureTransport" in commands("null")[0]
    for there in (json.dumps('{"Statement":[]}'), "\N{HORIZONTAL ELLIPSIS}"):
        [line] = commands(there)
        assert "file://" in line
        assert "SecureTransport" not in line


def test_a_resource_with_a_hostile_name_gets_words_alone() -> None:
    evidence = bucket("a\u202eb")
    [found] = recommendations([verdict("sc-28", "CONTRADICTED", "s3.encryption", evidence)], CHECKS)
    assert not found.mendings[0].commands
