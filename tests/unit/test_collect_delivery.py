"""What is made of the answers about events, builds, pipelines, topics and queues."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from services.inventory.collect import codebuild, codepipeline, event_buses, sns_sqs
from services.inventory.collect.build_secrets import (
    builds_images,
    has_credentials,
    without_credentials,
)
from services.inventory.collect.credential_shapes import looks_like
from services.inventory.collect.eventbridge_rules import rule_draft, sources_of, target_of

DENIED = Unread.of("any:Operation", Outcome.DENIED, "AccessDeniedException")
OWN = "111111111111"
ARN = f"arn:aws:codepipeline:us-east-1:{OWN}:p"


@pytest.mark.parametrize(
    ("pattern", "sources"),
    [
        ('{"source": ["aws.config", "aws.config", "acme"]}', ["acme", "aws.config"]),
        ('{"source": [{"prefix": "aws."}, {"wildcard": "ac*"}]}', ["ac*", "aws.*"]),
        ('{"source": [{"anything-but": "aws.ec2"}, {"prefix": {"x": 1}}, 3]}', []),
        ('{"source": "aws.config"}', []),
        ('{"detail-type": ["x"]}', []),
        ("[]", []),
        ("{", []),
        ("", []),
    ],
)
def test_sources_that_a_pattern_names(pattern: str, sources: list[str]) -> None:
    assert sources_of(pattern) == sources


def test_a_target_is_mapped_without_what_is_sent() -> None:
    target = target_of({"Id": "1", "Arn": "arn:q", "Input": "secret", "InputPath": "$.x"})
    assert (target.target_id, target.target_arn, target.dead_letter_target) == ("1", "arn:q", "")


def test_a_rule_with_what_it_must_have_alone() -> None:
    body = rule_draft({"Name": "r", "Arn": "arn:r"}).body
    assert (body.bus_name, list(body.event_sources)) == ("default", [])
    assert not body.HasField("event_pattern")


def test_a_bus_whose_archives_are_unread() -> None:
    draft = event_buses.bus_draft({"Name": "default", "Arn": "arn:b"}, OWN)
    event_buses.fill_archives(draft, DENIED)
    event_buses.fill_tags(draft, DENIED)
    assert draft.unread.keys() == {"archives", "tags"}
    assert (draft.body.policy, draft.body.policy_public) == ("", False)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AWS_ACCESS_KEY_ID", "x", True),
        ("aws_secret_access_key", "x", True),
        ("AWS_ACCESS_KEY_ID", "", False),
        ("KEY", "AKIAIOSFODNN7EXAMPLE", True),
        ("TOKEN", f"ghp_{'a' * 36}", True),
        ("PEM", "-----BEGIN RSA PRIVATE KEY-----", True),
        ("AWS_REGION", "us-east-1", False),
        ("NAME", "AKIAIOSFODNN7EXAMPLETOOLONG", False),
    ],
)
def test_variables_that_are_credentials(name: str, value: str, expected: bool) -> None:
    assert bool(looks_like(name, value)) is expected


@pytest.mark.parametrize(
    ("address", "expected", "kept"),
    [
        ("https://me:secret@host/a", True, "https://host/a"),
        (f"https://{'0' * 40}@host/a", True, "https://host/a"),
        ("https://x-token-auth@host/a", True, "https://host/a"),
        ("https://host/a?access_token=1", True, "https://host/a"),
        ("https://me@host/a", False, "https://host/a"),
        ("https://host:8443/a", False, "https://host:8443/a"),
        ("acme-bucket/source.zip", False, "acme-bucket/source.zip"),
        ("https://me:secret@[host/a", True, ""),
        ("", False, ""),
    ],
)
def test_addresses_that_carry_credentials(address: str, expected: bool, kept: str) -> None:
    assert has_credentials(address) is expected
    assert without_credentials(address) == kept


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("- docker build .", True),
        ("- /usr/bin/podman build", True),
        ("- echo dockerless", False),
        ("", False),
    ],
)
def test_commands_that_build_images(commands: str, expected: bool) -> None:
    assert builds_images(commands) is expected


def test_a_project_of_several_sources_and_artifacts() -> None:
    project: dict[str, Any] = {
        "name": "p",
        "arn": "arn:p",
        "source": {"type": "GITHUB", "location": "https://host/a", "auth": {"type": "OAUTH"}},
        "secondarySources": [{"type": "S3", "location": "b/c", "insecureSsl": True}],
        "artifacts": {"type": "S3"},
        "secondaryArtifacts": [{"type": "S3", "encryptionDisabled": True}],
        "projectVisibility": "PUBLIC_READ",
    }
    body = codebuild.project_draft(project).body
    assert [(each.auth_type, each.insecure_tls) for each in body.sources] == [
        ("OAUTH", False),
        ("", True),
    ]
    assert not body.artifacts_encrypted
    assert body.visibility == "PUBLIC_READ"
    assert body.cloudwatch_logs
    assert not body.HasField("s3_logs_encrypted")
    nothing = project | {"artifacts": {"type": "NO_ARTIFACTS", "encryptionDisabled": True}}
    assert codebuild.project_draft(nothing | {"secondaryArtifacts": []}).body.artifacts_encrypted


def pipeline(*stages: tuple[str, ...], **more: Any) -> Any:
    made = [
        {
            "name": f"stage-{place}",
            "actions": [
                {
                    "name": f"{category}-{order}",
                    "actionTypeId": {"category": category, "owner": "AWS", "provider": "Manual"},
                    "runOrder": order,
                }
                for order, category in enumerate(categories)
            ],
        }
        for place, categories in enumerate(stages)
    ]
    answer = {"pipeline": {"name": "p", "stages": made, **more}}
    return codepipeline.pipeline_draft({"name": "p"}, ARN, answer)


@pytest.mark.parametrize(
    ("stages", "approved"),
    [
        ([("Source",), ("Approval",), ("Deploy",)], True),
        ([("Source",), ("Approval", "Deploy")], True),
        ([("Deploy",), ("Approval",), ("Deploy",)], True),
        ([("Source",), ("Deploy", "Approval")], False),
        ([("Source",), ("Deploy",), ("Approval",)], False),
        ([("Source",), ("Build",)], None),
    ],
)
def test_approval_comes_before_the_last_deployment(
    stages: list[tuple[str, ...]], approved: bool | None
) -> None:
    body = pipeline(*stages).body
    assert body.deploys is (approved is not None)
    assert body.HasField("approved_before_deployment") is (approved is not None)
    assert body.approved_before_deployment is bool(approved)


@pytest.mark.parametrize(
    ("keys", "own"),
    [
        (["arn:key"], True),
        (["arn:key", "arn:key2"], True),
        (["arn:key", ""], False),
        (["arn:aws:kms:us-east-1:1:alias/aws/s3"], False),
        ([], False),
    ],
)
def test_stores_with_a_key_of_the_customers(keys: list[str], own: bool) -> None:
    stores = {
        str(place): {"location": f"b{place}", "encryptionKey": {"id": key, "type": "KMS"}}
        for place, key in enumerate(keys)
    }
    assert pipeline(artifactStores=stores).body.customer_key is own


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([("Environment", "Production")], True),
        ([("env", "eu-prod-1")], True),
        ([("env", "product-test")], False),
        ([("team", "prod")], False),
        (DENIED, None),
    ],
)
def test_pipelines_to_production(tags: Any, expected: bool | None) -> None:
    draft = pipeline(("Source",))
    codepipeline.fill_tags(draft, tags)
    assert ("production" in draft.unread) is (expected is None)
    assert draft.body.production is bool(expected)


def test_a_stage_says_production_whatever_the_tags_say() -> None:
    draft = pipeline(("Source",))
    draft.body.stages[0].stage_name = "DeployToProd"
    codepipeline.fill_tags(draft, DENIED)
    assert draft.body.production
    assert draft.unread.keys() == {"tags"}


def test_a_pipeline_of_which_the_list_alone_is_known() -> None:
    draft = codepipeline.pipeline_draft({"name": "p", "version": 3}, ARN, DENIED)
    codepipeline.fill_tags(draft, [])
    codepipeline.fill_webhooks(draft, DENIED)
    assert draft.body.pipeline_version == 3
    assert draft.unread.keys() == {*codepipeline.READ_FIELDS, "production", "open_webhook"}


def test_a_topic_and_a_queue_with_what_they_must_have_alone() -> None:
    topic = sns_sqs.topic_draft("arn:aws:sns:us-east-1:1:t", {"Attributes": {}}, [], OWN).body
    assert (topic.channel_name, topic.encrypted, topic.policy) == ("t", False, "")
    redrive = {"RedrivePolicy": "{", "SqsManagedSseEnabled": "true"}
    queue = sns_sqs.queue_draft("arn:aws:sqs:us-east-1:1:q", {"Attributes": redrive}, OWN).body
    assert (queue.encrypted, queue.dead_letter_target) == (True, "")
    assert not queue.HasField("retention")
    unread = sns_sqs.topic_draft("arn:aws:sns:us-east-1:1:t", DENIED, DENIED, OWN)
    assert unread.unread.keys() == {*sns_sqs.TOPIC_FIELDS, "subscription_protocols"}
