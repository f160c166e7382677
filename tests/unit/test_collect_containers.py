"""What is made of ECS's answers, and which variables look like credentials."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Unread
from services.inventory.collect import (
    ecr_repositories,
    ecs_clusters,
    ecs_services,
    ecs_task_definitions,
)
from services.inventory.collect.credential_shapes import looks_like

ECS = "arn:aws:ecs:us-east-1:111111111111"
CLUSTER = f"{ECS}:cluster/shop"
SERVICE = f"{ECS}:service/shop/web"
DENIED = Unread.of("ecs:Any", Outcome.DENIED, "AccessDeniedException")
MADE = datetime(2026, 1, 1, tzinfo=UTC)
# Put together here, so that no scanner of secrets takes them for real.
GITHUB = "ghp_" + "a1B2" * 9
SLACK = "xoxb-" + "123456789012"
STRIPE = "sk_live_" + "abcdefghij0123456789"
TOKEN = ".".join(("eyJ" + "hbGciOiJI", "eyJ" + "zdWIiOiIx", "c2lnbmF0dXJl"))


def cluster(**members: Any) -> Any:
    answer = {"clusters": [{"clusterArn": CLUSTER, **members}]}
    (found,) = ecs_clusters.cluster_drafts([CLUSTER], answer)
    return found.body


def service(**members: Any) -> Any:
    answer = {"services": [{"serviceArn": SERVICE, **members}]}
    (found,) = ecs_services.service_drafts(CLUSTER, [SERVICE], answer)
    return found.body


def task(container: dict[str, Any] | None = None, **members: Any) -> Any:
    arn = f"{ECS}:task-definition/web:3"
    definition = {
        "taskDefinitionArn": arn,
        "revision": 3,
        "containerDefinitions": [{"name": "app", **(container or {})}],
        **members,
    }
    found = ecs_task_definitions.definition_draft("web", {"taskDefinition": definition})
    assert found.arn == arn
    return found.body


def test_clusters_that_were_not_described_keep_their_names() -> None:
    (draft,) = ecs_clusters.cluster_drafts([CLUSTER], DENIED)
    assert (draft.native_id, draft.body.cluster_name) == (CLUSTER, "shop")
    assert draft.unread == dict.fromkeys(ecs_clusters.DESCRIBED_FIELDS, DENIED)


def test_a_cluster_that_is_gone_is_none() -> None:
    answer = {"clusters": [], "failures": [{"arn": CLUSTER, "reason": "MISSING"}]}
    assert ecs_clusters.cluster_drafts([CLUSTER], answer) == []


@pytest.mark.parametrize(
    ("log", "encrypted"),
    [
        ({}, None),
        ({"s3BucketName": "b"}, False),
        ({"s3BucketName": "b", "s3EncryptionEnabled": True}, True),
        (
            {"s3BucketName": "b", "s3EncryptionEnabled": True, "cloudWatchLogGroupName": "g"},
            False,
        ),
    ],
)
def test_whether_shells_are_logged_encrypted(log: Any, encrypted: bool | None) -> None:
    told = {"executeCommandConfiguration": {"logging": "OVERRIDE", "logConfiguration": log}}
    found = cluster(configuration=told)
    assert found.exec_logging == "OVERRIDE"
    if encrypted is None:
        assert not found.HasField("exec_log_encrypted")
    else:
        assert found.exec_log_encrypted is encrypted


def test_a_cluster_without_anything_said() -> None:
    found = cluster(configuration=None, capacityProviders=None, settings=[])
    assert found.container_insights == "disabled"
    assert not found.HasField("exec_logging")


@pytest.mark.parametrize(
    ("members", "public"),
    [
        ({}, None),
        ({"networkConfiguration": {}}, None),
        ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}, False),
        (
            {
                "networkConfiguration": {
                    "awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}
                }
            },
            True,
        ),
        # What another controller deploys has its network in its task sets.
        (
            {
                "taskSets": [
                    {
                        "networkConfiguration": {
                            "awsvpcConfiguration": {
                                "subnets": ["subnet-2"],
                                "assignPublicIp": "ENABLED",
                            }
                        }
                    }
                ]
            },
            True,
        ),
    ],
)
def test_whether_tasks_get_public_addresses(members: Any, public: bool | None) -> None:
    found = service(**members)
    if public is None:
        assert not found.HasField("assign_public_ip")
    else:
        assert found.assign_public_ip is public


def test_a_service_is_known_by_cluster_and_name() -> None:
    short = f"{ECS}:service/web"
    answer = {"services": [{"serviceArn": short, "createdAt": MADE}]}
    (found,) = ecs_services.service_drafts(CLUSTER, [short], answer)
    assert found.native_id == f"{CLUSTER}/web"
    assert found.body.creation_date.ToDatetime(UTC) == MADE
    assert ecs_services.service_drafts(CLUSTER, [short], Absent("ClusterNotFoundException")) == []
    (unread,) = ecs_services.service_drafts(CLUSTER, [short], DENIED)
    assert unread.native_id == found.native_id
    assert unread.body.cluster_arn == CLUSTER


def test_a_service_that_rolls_back() -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    assert service(deploymentConfiguration=breaker).rolls_back
    breaker["deploymentCircuitBreaker"]["enable"] = False
    assert not service(deploymentConfiguration=breaker).rolls_back


def test_a_family_that_was_not_described_keeps_its_name() -> None:
    draft = ecs_task_definitions.definition_draft("web", DENIED)
    assert (draft.arn, draft.body.family) == ("", "web")
    assert draft.unread == dict.fromkeys(ecs_task_definitions.DESCRIBED_FIELDS, DENIED)


@pytest.mark.parametrize(
    ("user", "root"),
    [
        (None, True),
        ("", True),
        ("root", True),
        ("root:users", True),
        ("0", True),
        ("00:1", True),
        ("0:0", True),
        ("1000", False),
        ("1000:0", False),
        ("app", False),
        ("rooted", False),
    ],
)
def test_who_runs_as_root(user: str | None, root: bool) -> None:
    assert task({"user": user}).containers[0].root_user is root


def test_windows_has_no_root() -> None:
    found = task(runtimePlatform={"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"})
    assert not found.containers[0].root_user


def test_a_task_that_is_let_into_its_machine() -> None:
    capabilities = {"capabilities": {"add": ["SYS_ADMIN", "NET_ADMIN"]}}
    found = task(
        {"privileged": True, "linuxParameters": capabilities},
        pidMode="host",
        ipcMode="task",
        volumes=[{"name": "a", "host": {"sourcePath": "/"}}, {"name": "b", "host": {}}],
    )
    assert (found.host_pid, found.host_ipc) == (True, False)
    assert found.containers[0].added_capabilities == ["NET_ADMIN", "SYS_ADMIN"]
    assert found.host_paths == ["/"]


def test_values_of_variables_are_dropped() -> None:
    environment = [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "A"}]
    secrets = [{"name": "API_KEY", "valueFrom": f"{ECS}:secret"}]
    found = task({"environment": environment, "secrets": secrets})
    assert b"hunter2" not in found.SerializeToString()
    assert found.containers[0].environment_names == ["A", "DB_PASSWORD"]
    assert found.containers[0].secret_names == ["API_KEY"]
    (variable,) = found.credential_variables
    assert (variable.container_name, variable.looks_like) == ("app", "named")


@pytest.mark.parametrize(
    ("name", "value", "form"),
    [
        ("PASSWORD", "hunter2", "named"),
        ("dbPassword", "hunter2", "named"),
        ("spring.datasource.password", "hunter2", "named"),
        ("ECS_ENGINE_AUTH_DATA", "e30", "named"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG", "named"),
        ("apiKey", "0a1b2c", "named"),
        ("ANY", "AKIAIOSFODNN7EXAMPLE", "aws-access-key-id"),
        ("ANY", "XAKIAIOSFODNN7EXAMPLE", ""),
        ("ANY", "-----BEGIN RSA PRIVATE KEY-----\nMII", "private-key"),
        ("ANY", "-----BEGIN PUBLIC KEY-----\nMII", ""),
        ("ANY", GITHUB, "github-token"),
        ("ANY", SLACK, "slack-token"),
        ("ANY", STRIPE, "stripe-key"),
        ("ANY", f"Bearer {TOKEN}", "json-web-token"),
        ("DATABASE_URL", "postgres://app:hunter2@db/app", "url-password"),
        ("DATABASE_URL", "redis://:hunter2@cache:6379", "url-password"),
        ("DATABASE_URL", "postgres://app:${PASSWORD}@db/app", ""),
        ("DATABASE_URL", "postgres://app@db:5432/app", ""),
        ("URL", "https://host:8443/a@b", ""),
        # References, places and switches are no secrets.
        ("PASSWORD_FILE", "/run/secrets/db", ""),
        ("PASSWORD", "/run/secrets/db", ""),
        ("SECRET", "arn:aws:secretsmanager:us-east-1:111111111111:secret:db", ""),
        ("TOKEN_URL", "https://login.example/token", ""),
        ("SECRET_NAME", "prod/db", ""),
        ("USE_TOKEN", "true", ""),
        ("MAX_TOKEN", "4096", ""),
        ("PASSWORD", "", ""),
        ("PASSWORD", "{{resolve:ssm:db}}", ""),
        ("COMPASS", "north", ""),
        ("LOG_LEVEL", "debug", ""),
    ],
)
def test_what_looks_like_a_credential(name: str, value: str, form: str) -> None:
    assert looks_like(name, value) == form


def repository(registry: Any, scanning: Any, **members: Any) -> Any:
    listed = {"repositoryName": "web", "repositoryArn": "arn:aws:ecr:::repository/web", **members}
    return ecr_repositories.repository_draft(listed, registry, scanning)


@pytest.mark.parametrize(
    ("told", "frequency", "on_push"),
    [
        ({"scanFrequency": "SCAN_ON_PUSH", "scanOnPush": True}, "SCAN_ON_PUSH", True),
        ({"scanFrequency": "CONTINUOUS_SCAN", "scanOnPush": False}, "CONTINUOUS_SCAN", True),
        ({"scanFrequency": "MANUAL", "scanOnPush": False}, "MANUAL", False),
        ({}, "MANUAL", False),
    ],
)
def test_when_images_are_scanned(told: Any, frequency: str, on_push: bool) -> None:
    found = repository({}, {"web": told}).body
    assert (found.scan_frequency, found.scan_on_push) == (frequency, on_push)
    assert (found.scan_type, found.encryption) == ("BASIC", "AES256")


def test_how_images_are_scanned_may_be_unread() -> None:
    found = repository(DENIED, {"web": DENIED}, createdAt=MADE)
    assert found.unread == dict.fromkeys(("scan_type", "scan_frequency", "scan_on_push"), DENIED)
    assert found.body.tag_mutability == "MUTABLE"
    assert found.body.creation_date.ToDatetime(UTC) == MADE
