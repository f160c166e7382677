"""Assessments as documents: counts, contradictions first, foreign text harmless."""

import json
import re
from datetime import UTC, datetime

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2, ssp_pb2
from services.inventory.compliance import report
from services.inventory.compliance.report import (
    Report,
    escaped,
    json_report,
    markdown_report,
    verdict_word,
)

NAME = "tenants/acme/assessments/a1"
HOSTILE = "<script>alert(1)</script> | [x](http://evil) `code` **b**\n# Heading\n- item"


def verdict(control: str, word: str, *, evidence: int = 1, text: str = "") -> pb.ClaimVerdict:
    made = pb.ClaimVerdict(
        name=f"{NAME}/verdicts/{control}",
        claim=f"tenants/acme/ssps/main/claims/{control}",
        control_id=control,
        component_title=text or "Cloud",
        state=ssp_pb2.CLAIM_STATE_IMPLEMENTED,
        verdict=pb.Verdict.Value(f"VERDICT_{word}"),
        reason=text or "Because.",
    )
    result = made.check_results.add(
        check_id="s3.encryption",
        collection="s3_buckets",
        failed=evidence,
        passed=1,
        complete=True,
        remediation="Encrypt it.",
    )
    for number in range(evidence):
        result.evidence.add(
            subject=f"arn:aws:s3:::{text}{number}",
            outcome=check_pb2.EVIDENCE_OUTCOME_FAIL,
            values={"encryption": '"NONE"' + text},
        )
    return made


def assessed(*verdicts: pb.ClaimVerdict, title: str = "Plan") -> Report:
    assessment = pb.Assessment(
        name=NAME,
        ssp="tenants/acme/ssps/main",
        cloud_account_ids=["111122223333"],
        baseline=ssp_pb2.BASELINE_FEDRAMP_MODERATE,
        controls=323,
        claims=len(verdicts),
        control_counts=[pb.VerdictCount(verdict=pb.VERDICT_CONTRADICTED, count=2)],
        claim_counts=[pb.VerdictCount(verdict=pb.VERDICT_NO_EVIDENCE, count=3)],
        missing_actions=["s3:GetEncryptionConfiguration"],
    )
    assessment.evaluate_time.FromDatetime(datetime(2030, 1, 1, tzinfo=UTC))
    return Report(assessment, ssp_pb2.Ssp(title=title), verdicts)


def test_counts_have_their_denominator() -> None:
    text = markdown_report(assessed()).decode()
    assert "| Verdict | Controls (of 323) | Claims (of 0) |" in text
    assert "| contradicted | 2 | 0 |" in text
    assert "| no-evidence | 0 | 3 |" in text
    assert "- s3:GetEncryptionConfiguration" in text
    assert "FedRAMP rev 5 Moderate" in text
    assert "2030-01-01 00:00 UTC" in text


def test_contradictions_come_first_with_resources_values_and_remedy() -> None:
    found = assessed(
        verdict("zz-1", "CLAIM_INVALID"),
        verdict("sc-28", "CONTRADICTED", evidence=12),
        verdict("ac-2", "SUPPORTED"),
    )
    text = markdown_report(found).decode()
    assert text.index("## Contradicted") < text.index("## Claim-invalid")
    assert "### SC-28 Protection of Information at Rest (Cloud)" in text
    assert 'arn:aws:s3:::0 fails: encryption = "NONE"' in text
    assert "and 2 more" in text
    assert "To mend: Encrypt it." in text
    # What is well is in the table only.
    assert "### AC-2 " not in text
    assert "| AC-2 |  | Cloud | implemented | supported | Because. |" in text


def test_gaps_are_named() -> None:
    open_verdict = verdict("sc-28", "INDETERMINATE", evidence=0)
    result = open_verdict.check_results[0]
    result.complete = False
    result.gaps.add(cloud_account_id="111122223333", region="global")
    result.gaps.add(
        cloud_account_id="111122223333",
        region="global",
        operation="s3:ListBuckets",
        outcome=record_pb2.READ_OUTCOME_DENIED,
        code="AccessDenied",
    )
    text = markdown_report(assessed(open_verdict)).decode()
    assert "not read: s3_buckets in 111122223333/global: never collected" in text
    assert "not read: s3:ListBuckets in 111122223333/global: AccessDenied" in text


def test_foreign_text_stays_text() -> None:
    found = assessed(verdict("sc-28", "CONTRADICTED", text=HOSTILE), title=HOSTILE)
    text = markdown_report(found).decode()
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\[x\]", text)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        f"# {escaped(HOSTILE)}: claims and evidence",
        "## Verdicts",
        "## Reads that were denied",
        "## Contradicted",
        f"### SC-28 Protection of Information at Rest ({escaped(HOSTILE)})",
        "## Every claim",
    ]
    rows = [line for line in text.splitlines() if line.startswith("| SC-28")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [7]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words, 1.5 and s3.encryption", "plain words, 1.5 and s3.encryption"),
        ("open_to_world _both_", r"open_to_world \_both\_"),
        ("a|b", r"a\|b"),
        ("<b>&amp;", r"&lt;b\>&amp;amp;"),
        ("see https://evil.example", r"see https\://evil.example"),
        ("www.evil.example me@x.y", r"www\.evil.example me\@x.y"),
        ("two\r\nlines\u2028more", "two lines more"),
        ("left\u202eright\u200b", "leftright"),
    ],
)
def test_escaping(text: str, expected: str) -> None:
    assert escaped(text) == expected


@given(st.text())
def test_any_text_is_one_harmless_line(text: str) -> None:
    made = escaped(text)
    assert len(made.splitlines()) <= 1
    assert "<" not in made
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`\[\]]", made)
    made.encode()


def test_json_is_the_contracts_own_form() -> None:
    found = assessed(verdict("sc-28", "CONTRADICTED"))
    document = json.loads(json_report(found))
    assert json_format.ParseDict(document["assessment"], pb.Assessment()) == found.assessment
    (written,) = document["verdicts"]
    assert json_format.ParseDict(written, pb.ClaimVerdict()) == found.verdicts[0]
    assert document["ssp"] == {"title": "Plan"}


def test_a_large_json_lists_fewer_outcomes_and_keeps_the_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = assessed(*(verdict("sc-28", "CONTRADICTED", evidence=50) for _ in range(10)))
    whole = json_report(found)
    assert json.loads(whole)["outcomesListed"] == 50
    monkeypatch.setattr(report, "MAX_BYTES", len(whole) // 2)
    document = json.loads(json_report(found))
    assert document["outcomesListed"] == 10
    assert {len(each["checkResults"][0]["evidence"]) for each in document["verdicts"]} == {10}
    assert {each["checkResults"][0]["failed"] for each in document["verdicts"]} == {"50"}


def test_a_removed_plan_is_named_by_its_resource_name() -> None:
    found = assessed()
    text = markdown_report(Report(found.assessment, None, ())).decode()
    assert text.startswith("# tenants/acme/ssps/main: claims and evidence")


def test_verdict_words() -> None:
    assert verdict_word(pb.VERDICT_NOT_CLAIMED_FAILING) == "not-claimed-failing"
