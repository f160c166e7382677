"""The command that tells what to mend first."""

import pytest

from cli.recommend import script
from secmesh.inventory.v1 import (
    assessment_pb2,
    assessment_requests_pb2,
    check_pb2,
    narration_pb2,
    recommendation_pb2,
)
from tests.unit.cli_operator import SECONDS, Operator, operator

__all__ = ["operator"]


def found() -> recommendation_pb2.Recommendation:
    made = recommendation_pb2.Recommendation(
        recommendation_id="s3.encryption-111122223333",
        title="The bucket encrypts new objects",
        severity=check_pb2.SEVERITY_MEDIUM,
        effort=check_pb2.EFFORT_LOW,
        contradicted_control_ids=["sc-28"],
        advice=["Set default encryption."],
        more=True,
    )
    made.mendings.add(
        subject="arn:aws:s3:::a\nid",
        values={"encryption": '"NONE"'},
        commands=["aws s3api put-bucket-encryption --bucket a"],
    )
    return made


@pytest.mark.parametrize("commands", [False, True])
def test_recommend_shows_what_and_how(operator: Operator, commands: bool) -> None:
    options = ["--commands"] if commands else []
    done = operator.run("compliance", "recommend", "one", *options)
    answer = recommendation_pb2.ListRecommendationsResponse(recommendations=[found()])
    request = operator.answer("ComplianceService", "ListRecommendations", answer)
    result = done.result(SECONDS)
    assert result.exit_code == 0
    assert request.parent == "tenants/acme/assessments/one"
    wanted = "aws s3api put-bucket-encryption" if commands else "sc-28"
    assert wanted in result.stdout


@pytest.mark.parametrize("why_not", ["", "off", "status 503"])
def test_recommend_narrates(operator: Operator, why_not: str) -> None:
    done = operator.run("compliance", "recommend", "one", "--narrate")
    answer = narration_pb2.Narration(by_model=not why_not, why_not=why_not)
    answer.sentences.add(recommendation_id="s3.encryption", text="Mend \x1b[2J it.")
    request = operator.answer("ComplianceService", "NarrateAssessment", answer)
    result = done.result(SECONDS)
    assert result.exit_code == 0
    assert request.name == "tenants/acme/assessments/one"
    assert result.stdout == "Mend \\u001b[2J it. [s3.encryption]\n"
    assert ("No model told this: status 503." in result.stderr) == (why_not == "status 503")


def test_recommend_is_of_the_newest_assessment_if_none_is_named(operator: Operator) -> None:
    done = operator.run("compliance", "recommend")
    newest = assessment_pb2.Assessment(name="tenants/acme/assessments/newest")
    listed = assessment_requests_pb2.ListAssessmentsResponse(assessments=[newest])
    operator.answer("ComplianceService", "ListAssessments", listed)
    answer = recommendation_pb2.ListRecommendationsResponse(recommendations=[found()])
    request = operator.answer("ComplianceService", "ListRecommendations", answer)
    assert done.result(SECONDS).exit_code == 0
    assert request.parent == newest.name


def test_a_script_is_not_narrated(operator: Operator) -> None:
    done = operator.run("compliance", "recommend", "one", "--narrate", "--commands")
    assert done.result(SECONDS).exit_code == 2


def test_a_script_runs_commands_alone() -> None:
    lines = list(script(found()))
    run = [line for line in lines if not line.startswith("# ")]
    assert run == ["aws s3api put-bucket-encryption --bucket a"]
    assert not any("\n" in line for line in lines)
    assert "severity medium, effort low" in lines[1]
