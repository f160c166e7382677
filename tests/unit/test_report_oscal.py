"""OSCAL assessment results and POA&M: valid, whole, the same each time, true to the verdicts."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secmesh.inventory.v1 import check_pb2, ssp_pb2
from services.inventory.compliance import oscal_documents
from services.inventory.compliance.deadlines import (
    DEFAULT_DAYS,
    PARAMETER,
    plan_deadlines,
    response_days,
)
from services.inventory.compliance.oscal_documents import assessment_results, poam
from services.inventory.compliance.report import Report
from services.inventory.errors import NothingToPlan
from tests.unit.oscal_rules import obeying, props
from tests.unit.report_samples import (
    HOSTILE,
    NOW,
    SSP,
    WORDS,
    every_verdict,
    report_of,
    uuid_of,
    verdict_of,
)

WEAK = {"contradicted", "overdue", "weakened", "gap-confirmed", "not-claimed-failing"}
WELL = {"supported", "understated"}
CRITICAL, HIGH, MEDIUM, LOW = (
    check_pb2.SEVERITY_CRITICAL,
    check_pb2.SEVERITY_HIGH,
    check_pb2.SEVERITY_MEDIUM,
    check_pb2.SEVERITY_LOW,
)


def results(report: Report) -> dict[str, Any]:
    (result,) = obeying(assessment_results(report), "assessment_results")["results"]
    found: dict[str, Any] = result
    return found


def by_verdict(parts: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {word: part for part in parts for word in props(part, "verdict")}


def test_every_verdict_has_its_observation_and_only_decisions_are_findings() -> None:
    result = results(report_of(every_verdict()))
    words = {word.lower().replace("_", "-") for word in WORDS}
    assert by_verdict(result["observations"]).keys() == words
    assert len(result["observations"]) == len(WORDS)
    findings = by_verdict(result["findings"])
    assert findings.keys() == WEAK | WELL
    assert by_verdict(result["risks"]).keys() == WEAK
    states = {word: part["target"]["status"] for word, part in findings.items()}
    for word in WEAK:
        assert states[word]["state"] == "not-satisfied"
        assert states[word]["reason"] == ("other" if word == "weakened" else "fail")
        assert len(findings[word]["related-risks"]) == 1
    for word in WELL:
        assert states[word] == {"state": "satisfied", "reason": "pass"}
        assert "related-risks" not in findings[word]


def test_a_contradiction_is_an_issue_of_the_plan_with_resources_and_values() -> None:
    result = results(report_of(every_verdict()))
    observation = by_verdict(result["observations"])["contradicted"]
    assert observation["types"] == ["ssp-statement-issue", "control-objective"]
    assert observation["methods"] == ["TEST"]
    assert observation["collected"] == "2030-01-01T12:30:00.123456Z"
    assert observation["expires"] == "2030-01-08T12:30:00.123456Z"
    items = {item["uuid"]: item for item in result["local-definitions"]["inventory-items"]}
    subjects = [items[subject["subject-uuid"]] for subject in observation["subjects"]]
    assert [props(item, "arn") for item in subjects] == [["arn:aws:s3:::0"], ["arn:aws:s3:::1"]]
    assert [item["props"][0] for item in subjects] == [
        {"name": "asset-id", "value": "arn:aws:s3:::0"},
        {"name": "asset-id", "value": "arn:aws:s3:::1"},
    ]
    check, *resources = observation["relevant-evidence"]
    assert props(check, "failed") == ["2"]
    assert props(check, "passed") == ["3"]
    assert props(check, "threshold") == ["60"]
    assert props(check, "failing-filter") == ['encryption == "NONE"']
    assert [props(each, "value") for each in resources] == [['"NONE"'], ['"NONE"']]
    assert 'arn:aws:s3:::0 fails: encryption = "NONE"' in resources[0]["description"]
    finding = by_verdict(result["findings"])["contradicted"]
    assert finding["implementation-statement-uuid"] == uuid_of("ac-2")
    assert finding["target"]["target-id"] == "ac-2_smt.a"
    assert finding["target"]["implementation-status"] == {"state": "implemented"}
    assert finding["related-observations"] == [{"observation-uuid": observation["uuid"]}]


def test_what_is_open_names_the_missing_action() -> None:
    observation = by_verdict(results(report_of(every_verdict()))["observations"])["indeterminate"]
    assert observation["types"] == ["control-objective"]
    assert props(observation, "missing-action") == ["s3:GetEncryptionConfiguration"]
    assert "s3:GetEncryptionConfiguration" in observation["remarks"]
    assert "s3:GetBucketEncryption" in observation["relevant-evidence"][0]["remarks"]


@pytest.mark.parametrize(
    ("word", "types"),
    [
        ("no-evidence", ["control-objective"]),
        ("claim-invalid", ["ssp-statement-issue"]),
        ("inherited", ["control-objective"]),
    ],
)
def test_what_was_not_tested_was_examined(word: str, types: list[str]) -> None:
    observation = by_verdict(results(report_of(every_verdict()))["observations"])[word]
    assert observation["methods"] == ["EXAMINE"]
    assert observation["types"] == types


def test_reviewed_controls_are_the_baselines() -> None:
    reviewed = results(report_of(every_verdict()))["reviewed-controls"]
    (selection,) = reviewed["control-selections"]
    controls = [each["control-id"] for each in selection["include-controls"]]
    assert len(controls) == len(set(controls)) == 323
    unknown = report_of(every_verdict())
    unknown.assessment.baseline = ssp_pb2.BASELINE_UNSPECIFIED
    (selection,) = results(unknown)["reviewed-controls"]["control-selections"]
    assert len(selection["include-controls"]) == 15


def test_a_poam_has_an_item_for_each_weakness_with_its_deadline() -> None:
    document = obeying(poam(report_of(every_verdict())), "plan_of_action")
    items = by_verdict(document["poam-items"])
    assert items.keys() == WEAK
    risks = {risk["uuid"]: risk for risk in document["risks"]}
    findings = {finding["uuid"] for finding in document["findings"]}
    for item in items.values():
        (risk,) = [risks[each["risk-uuid"]] for each in item["related-risks"]]
        assert risk["deadline"] == "2030-01-31T12:30:00.123456Z"
        assert props(item, "deadline") == [risk["deadline"]]
        assert risk["remediations"][0]["description"] == "Encrypt it."
        assert item["related-findings"][0]["finding-uuid"] in findings
    statuses = {
        word: risks[item["related-risks"][0]["risk-uuid"]]["status"] for word, item in items.items()
    }
    assert statuses["weakened"] == "investigating"
    assert statuses["gap-confirmed"] == "remediating"
    assert statuses["contradicted"] == "open"


def test_items_keep_their_uuids_in_the_next_assessment_and_observations_do_not() -> None:
    verdict = verdict_of("CONTRADICTED", "ac-2")
    first = report_of([verdict])
    later_verdict = verdict_of("CONTRADICTED", "ac-2")
    later_verdict.name = "tenants/acme/assessments/a2/verdicts/ac-2"
    later = report_of([later_verdict])
    later.assessment.name = "tenants/acme/assessments/a2"
    one, two = (obeying(poam(each), "plan_of_action") for each in (first, later))
    for lasting in ("poam-items", "risks"):
        assert one[lasting][0]["uuid"] == two[lasting][0]["uuid"]
    for single in ("observations", "findings"):
        assert one[single][0]["uuid"] != two[single][0]["uuid"]
    assert one["uuid"] != two["uuid"]


def test_no_weakness_is_no_poam() -> None:
    with pytest.raises(NothingToPlan):
        poam(report_of([verdict_of("SUPPORTED", "ac-2")]))


def test_exporting_twice_gives_the_same_bytes() -> None:
    for write in (assessment_results, poam):
        assert write(report_of(every_verdict())) == write(report_of(every_verdict()))


@pytest.mark.parametrize("write", [assessment_results, poam])
def test_foreign_text_stays_text(write: Any) -> None:
    name = "plan_of_action" if write is poam else "assessment_results"
    content = write(report_of(every_verdict(HOSTILE), text=HOSTILE))
    obeying(content, name)

    def markup(node: Any) -> list[str]:
        if isinstance(node, list):
            return [text for each in node for text in markup(each)]
        if not isinstance(node, dict):
            return []
        own = [
            value
            for key, value in node.items()
            if key in ("title", "description", "remarks", "statement")
        ]
        return own + [text for value in node.values() for text in markup(value)]

    texts = markup(json.loads(content))
    assert any("alert" in text for text in texts)
    assert not any(re.search(r"<|(?<!\\)\]\(", text) for text in texts)


def test_a_statement_that_oscal_cannot_name_is_kept_as_a_property() -> None:
    verdict = verdict_of("CONTRADICTED", "ac-2")
    verdict.implementation_statement_uuid = "not-a-uuid"
    verdict.statement_id = "see page 4"
    finding = results(report_of([verdict]))["findings"][0]
    assert "implementation-statement-uuid" not in finding
    assert props(finding, "implementation-statement") == ["not-a-uuid"]
    assert finding["target"]["target-id"] == "ac-2_smt"


def test_a_document_that_grows_too_large_lists_fewer_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = report_of([verdict_of("CONTRADICTED", f"ac-{n}", evidence=50) for n in range(1, 9)])
    whole = assessment_results(report)
    monkeypatch.setattr(oscal_documents, "MAX_BYTES", len(whole) // 2)
    result = results(report)
    assert props(result, "outcomes-listed") == ["10"]
    check, *resources = result["observations"][0]["relevant-evidence"]
    assert props(check, "failed") == ["50"]
    assert len(resources) == 10
    assert len(assessment_results(report)) < len(whole) // 2


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.text(max_size=40)), min_size=1, max_size=5))
def test_any_assessment_is_a_valid_document(cases: list[tuple[str, str]]) -> None:
    verdicts = [
        verdict_of(word, f"{'ac' if place % 2 else text or 'x'}-{place + 1}"[:32], text)
        for place, (word, text) in enumerate(cases)
    ]
    obeying(assessment_results(report_of(verdicts, text=cases[0][1])), "assessment_results")


def claim(text: str, control: str = "ra-5") -> ssp_pb2.Claim:
    return ssp_pb2.Claim(control_id=control, parameters={PARAMETER: text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "high-risk vulnerabilities within thirty (30) days from discovery; moderate-risk "
            "vulnerabilities within ninety (90) days; low risk within one hundred and eighty "
            "(180) days",
            {CRITICAL: 30, HIGH: 30, MEDIUM: 90, LOW: 180},
        ),
        (
            "15 days for high, 45 days for moderate, 60 days for low",
            {CRITICAL: 15, HIGH: 15, MEDIUM: 45, LOW: 60},
        ),
        ("critical: 7 days, high: 14 days", {CRITICAL: 7, HIGH: 14}),
        ("two weeks", {CRITICAL: 14, HIGH: 14, MEDIUM: 14, LOW: 14}),
        ("as the policy says", {}),
        ("high: soon; low: 10 days", {LOW: 10}),
    ],
)
def test_response_times_are_read_from_the_plans_words(
    text: str, expected: dict[check_pb2.Severity.ValueType, int]
) -> None:
    assert response_days(text) == expected
    assert plan_deadlines([claim(text)]).days == {**DEFAULT_DAYS, **expected}
    assert plan_deadlines([claim(text, "ra-3")]).days == DEFAULT_DAYS


@pytest.mark.parametrize(
    ("severity", "days"), [(CRITICAL, 30), (HIGH, 30), (MEDIUM, 90), (LOW, 180), (0, 180)]
)
def test_deadlines_go_by_severity(severity: check_pb2.Severity.ValueType, days: int) -> None:
    verdict = verdict_of("CONTRADICTED", "ac-2")
    verdict.check_results[0].severity = severity
    assert plan_deadlines([]).of(verdict, NOW) == NOW + timedelta(days=days)


def test_planned_work_is_due_when_the_plan_says() -> None:
    due = datetime(2029, 6, 1, tzinfo=UTC)
    planned = ssp_pb2.Claim(name=f"{SSP}/claims/ac-3", control_id="ac-3")
    planned.planned_completion_time.FromDatetime(due)
    report = report_of([verdict_of("OVERDUE", "ac-3")], claims=[planned])
    document = obeying(poam(report), "plan_of_action")
    assert document["risks"][0]["deadline"] == "2029-06-01T00:00:00Z"


def test_a_removed_plan_is_named_by_its_resource_name() -> None:
    report = report_of(every_verdict())
    removed = Report(report.assessment, None, report.verdicts)
    document = obeying(assessment_results(removed), "assessment_results")
    assert document["metadata"]["title"] == f"{SSP}: assessment results"
