"""SARIF as tools really write it."""

import pytest

from services.security.importing.model import (
    Finding,
    Location,
    Problem,
    Rejected,
    Rule,
    Severity,
    State,
    Tool,
)
from tests.reports import one, only, read

RULE = {
    "id": "js/xss",
    "shortDescription": {"text": "Cross-site scripting"},
    "defaultConfiguration": {"level": "error"},
    "helpUri": "https://example.test/xss",
    "properties": {"tags": ["external/cwe/cwe-079"], "precision": "high"},
    "messageStrings": {"default": {"text": "{0} reaches {1}, {{literally}}"}},
}


NIGHTLY = {"id": "n/2"}


def report(*results: object, driver: object = None, **run: object) -> dict[str, list[object]]:
    tool = {"driver": driver or {"name": "Scanner", "semanticVersion": "1.2.0", "rules": [RULE]}}
    return {"runs": [{"tool": tool, "results": list(results), **run}]}


def result(**members: object) -> dict[str, object]:
    return {"ruleId": "js/xss", "message": {"text": "bad"}, **members}


def test_rules_may_come_after_the_results_and_the_tool_last() -> None:
    late = {
        "runs": [{"results": [result()], "tool": {"driver": {"rules": [RULE], "name": "Late"}}}]
    }
    tool, finding = only(Tool, read(late)), one(late)
    assert [each.name for each in tool] == ["Late"]
    assert (finding.severity, finding.severity_said, finding.title) == (
        Severity.HIGH,
        "error",
        "Cross-site scripting",
    )
    assert finding.cwe_ids == ("CWE-79",)


def test_level_comes_from_the_rule_then_from_the_standard() -> None:
    assert one(report(result())).severity_said == "error"
    assert one(report(result(level="note"))).severity == Severity.LOW
    assert one(report(result(ruleId="unknown"))).severity_said == "warning"
    assert one(report(result(kind="informational"))).severity == Severity.INFO


@pytest.mark.parametrize(
    ("said", "severity", "score"),
    [
        ("9.8", Severity.CRITICAL, 9.8),
        ("7.0", Severity.HIGH, 7.0),
        ("0.0", Severity.INFO, 0.0),
        ("HIGH", Severity.HIGH, None),
        (5.5, Severity.MEDIUM, 5.5),
    ],
)
def test_security_severity_outranks_the_level(
    said: object, severity: Severity, score: float | None
) -> None:
    rule = RULE | {"properties": {"security-severity": said}}
    finding = one(report(result(), driver={"name": "S", "rules": [rule]}))
    assert (finding.severity, finding.score) == (severity, score)


def test_rules_of_extensions_are_found_by_position_and_by_id() -> None:
    extension = {"name": "pack", "rules": [RULE | {"id": "other"}, RULE]}
    tool = {
        "driver": {"name": "S", "rules": [RULE | {"id": "of-driver"}]},
        "extensions": [extension],
    }
    by_position = {"rule": {"index": 1, "toolComponent": {"index": 0}}, "message": {"text": "m"}}
    for each in (by_position, result()):
        finding = one({"runs": [{"tool": tool, "results": [each]}]})
        assert (finding.rule_key, finding.severity) == ("js/xss", Severity.HIGH)
    first = {"ruleIndex": 0, "message": {"text": "m"}}
    assert one({"runs": [{"tool": tool, "results": [first]}]}).rule_key == "of-driver"


def test_a_hierarchical_id_has_the_rule_it_begins_with() -> None:
    finding = one(report(result(ruleId="js/xss/stored")))
    assert (finding.rule_key, finding.severity) == ("js/xss/stored", Severity.HIGH)


def test_a_result_without_any_rule_is_kept_under_a_rule_of_its_own() -> None:
    items = read(report({"message": {"text": "secret"}}))
    assert [rule.key for rule in only(Rule, items)] == ["js/xss", "no-rule"]
    assert [each.rule_key for each in only(Finding, items)] == ["no-rule"]


def test_messages_are_filled_and_their_template_kept() -> None:
    message = {"id": "default", "arguments": ["input", "output"]}
    finding = one(report(result(message=message)))
    assert finding.message == "input reaches output, {literally}"
    assert finding.message_template == "{0} reaches {1}, {{literally}}"
    driver = {"name": "S", "globalMessageStrings": {"default": {"text": "global {0}"}}}
    assert one(report(result(message=message), driver=driver)).message == "global input"


def test_a_result_without_a_message_has_its_rules_description() -> None:
    assert one(report({"ruleId": "js/xss"})).message == "Cross-site scripting"


def test_locations() -> None:
    place = {
        "physicalLocation": {
            "artifactLocation": {"uri": "file:///home/ci/src/a.js"},
            "region": {"startLine": 3, "endLine": 4, "startColumn": 1, "endColumn": 9},
            "contextRegion": {"snippet": {"text": "code"}},
        }
    }
    by_index = {"physicalLocation": {"artifactLocation": {"index": 1}}}
    finding = one(
        report(
            result(locations=[place, by_index]),
            artifacts=[{}, {"location": {"uri": "b.js"}}],
            originalUriBaseIds={"SRC": {"uri": "file:///home/ci/"}},
        )
    )
    assert finding.locations == (
        Location("src/a.js", 3, 4, 1, 9, snippet="code"),
        Location("b.js"),
    )


def test_code_flows_keep_their_steps() -> None:
    steps = [
        {
            "location": {
                "physicalLocation": {
                    "artifactLocation": {"uri": "a.js"},
                    "region": {"startLine": n},
                }
            }
        }
        for n in (1, 2)
    ]
    flow = one(report(result(codeFlows=[{"threadFlows": [{"locations": steps}]}]))).code_flows
    assert [[step.start_line for step in thread] for thread in flow] == [[1, 2]]


@pytest.mark.parametrize(
    ("members", "state", "baseline"),
    [
        ({}, State.OPEN, ""),
        ({"suppressions": []}, State.OPEN, ""),
        ({"suppressions": [{"kind": "inSource"}]}, State.SUPPRESSED, ""),
        ({"suppressions": [{"kind": "external", "status": "rejected"}]}, State.OPEN, ""),
        (
            {"suppressions": [{"kind": "inSource"}, {"kind": "external", "status": "underReview"}]},
            State.OPEN,
            "",
        ),
        ({"baselineState": "new"}, State.OPEN, "NEW"),
        ({"baselineState": "absent"}, State.RESOLVED, "ABSENT"),
        ({"kind": "pass"}, State.PASSED, ""),
        ({"kind": "review"}, State.MANUAL, ""),
    ],
)
def test_states(members: dict[str, object], state: State, baseline: str) -> None:
    finding = one(report(result(**members)))
    assert (finding.state, finding.baseline) == (state, baseline)


def test_fingerprints_are_kept_even_nested_ones() -> None:
    finding = one(
        report(
            result(
                fingerprints={"nested": {"b": 1, "a": [2]}},
                partialFingerprints={"primaryLocationLineHash": "39fa2ee980eb94b0:1"},
            )
        )
    )
    assert finding.fingerprints == (
        ("fingerprints/nested", '{"a":[2],"b":1}'),
        ("partialFingerprints/primaryLocationLineHash", "39fa2ee980eb94b0:1"),
    )


@pytest.mark.parametrize(
    ("bad", "pointer", "reason"),
    [
        (7, "", "is no object"),
        (result(level="severe"), "/level", "is no severity of this format: 'severe'"),
        (result(kind="maybe"), "/kind", "is no kind of result: 'maybe'"),
        (result(message={"text": 7}), "/message/text", "is no string"),
        (result(locations={"a": 1}), "/locations", "is no array"),
        ({"ruleIndex": 9, "message": {"text": "m"}}, "/ruleIndex", "names no rule: 9"),
        (
            result(locations=[{"physicalLocation": {"region": {"startLine": "x"}}}]),
            "/locations/0/physicalLocation/region/startLine",
            "is no integer: 'x'",
        ),
    ],
)
def test_a_bad_result_is_rejected_by_its_place_and_the_others_stay(
    bad: object, pointer: str, reason: str
) -> None:
    items = read(report(result(), bad, result()))
    assert only(Rejected, items) == [Rejected(1, f"/runs/0/results/1{pointer}", reason)]
    assert [each.index for each in only(Finding, items)] == [0, 2]
    assert only(Problem, items) == []


def test_a_bad_rule_is_no_result() -> None:
    items = read(report(result(), driver={"name": "S", "rules": [{"name": "no id"}, RULE]}))
    assert only(Rejected, items) == [Rejected(-1, "/runs/0/tool/driver/rules/0/id", "is missing")]
    assert [each.severity for each in only(Finding, items)] == [Severity.HIGH]


def test_a_cut_report_yields_what_was_whole() -> None:
    whole = str(report(result(), result(), result())).replace("'", '"')
    items = read(whole[: whole.rindex("{") - 20], "SARIF")
    assert len(only(Finding, items)) == 2
    (problem,) = only(Problem, items)
    assert problem is items[-1]
    assert "cut" in problem.reason


def test_an_old_tool_without_driver_and_a_byte_order_mark() -> None:
    old = b'\xef\xbb\xbf{"runs":[{"tool":{"name":"Old"},"results":[{"ruleId":"C1"}]}]}'
    assert [tool.name for tool in only(Tool, read(old))] == ["Old"]
    assert one(old).message == "C1"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings(encoding: str) -> None:
    text = '{"runs":[{"results":[{"ruleId":"r","message":{"text":"café 💥"}}]}]}'
    assert one(text.encode(encoding)).message == "café 💥"


def test_several_runs_keep_their_own_rules() -> None:
    runs: list[object] = []
    for each in (
        report(result()),
        report(result(), driver={"name": "B"}, automationDetails=NIGHTLY),
    ):
        runs += each["runs"]
    items = read({"runs": runs})
    assert [(tool.name, tool.automation_id) for tool in only(Tool, items)] == [
        ("Scanner", ""),
        ("B", "n/2"),
    ]
    assert [(each.run, each.severity_said) for each in only(Finding, items)] == [
        (0, "error"),
        (1, "warning"),
    ]


@pytest.mark.parametrize("results", [None, []])
def test_a_run_without_results_is_a_clean_report(results: object) -> None:
    items = read({"runs": [{"tool": {"driver": {"name": "S"}}, "results": results}]})
    assert items == [Tool("S")]
