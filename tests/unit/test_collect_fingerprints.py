"""Of a credential in a configuration stay its name, what it looks like and a keyed hash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.sealing.keyring import KeyRing
from services.inventory.collect import codebuild, ecs_task_definitions, lambda_functions
from services.inventory.collect.credential_shapes import Fingerprint
from services.inventory.collect.fingerprints import fingerprints, no_fingerprint
from services.inventory.settings import InventorySettings

SECRET, OTHER = "hunter2-in-the-open", "another-one"
KEYS = KeyRing({"k1": b"k" * 32}, b"p" * 32)
ACME = fingerprints(KEYS)("acme")


def of_function(value: str, fingerprint: Fingerprint) -> Any:
    listed = {
        "FunctionArn": "arn:f",
        "FunctionName": "f",
        "Environment": {"Variables": {"DB_PASSWORD": value, "STAGE": "live"}},
    }
    kept = lambda_functions.without_values(listed, fingerprint)
    assert value not in repr(kept)
    answers: Any = {part.operation: {} for part in lambda_functions.PARTS}
    answers["lambda:GetPolicy"] = {"Policy": '{"Statement": []}'}
    answers["lambda:GetFunctionUrlConfig"] = {"AuthType": "AWS_IAM"}
    return lambda_functions.function_draft(kept, answers).body


def of_task(value: str, fingerprint: Fingerprint) -> Any:
    container = {"name": "app", "environment": [{"name": "DB_PASSWORD", "value": value}]}
    task = {"taskDefinitionArn": "arn:t", "revision": 1, "containerDefinitions": [container]}
    answer = {"taskDefinition": task}
    return ecs_task_definitions.definition_draft("web", answer, fingerprint).body


def of_project(value: str, fingerprint: Fingerprint) -> Any:
    variables = [
        {"name": "DB_PASSWORD", "value": value, "type": "PLAINTEXT"},
        {"name": "API_TOKEN", "value": "/tokens/api", "type": "PARAMETER_STORE"},
    ]
    project = {"name": "p", "arn": "arn:p", "environment": {"environmentVariables": variables}}
    return codebuild.project_draft(project, fingerprint).body


@pytest.mark.parametrize("read", [of_function, of_task, of_project])
def test_equal_values_are_seen_as_equal_and_nothing_else(
    read: Callable[[str, Fingerprint], Any],
) -> None:
    body = read(SECRET, ACME)
    (found,) = body.credential_variables
    assert (found.variable_name, found.looks_like) == ("DB_PASSWORD", "named")
    assert found.value_hash == of_project(SECRET, ACME).credential_variables[0].value_hash
    assert found.value_hash.startswith("hmac-sha256:")
    assert SECRET not in str(body)
    for value, fingerprint in (
        (OTHER, ACME),
        (SECRET, fingerprints(KEYS)("beta")),
        (SECRET, fingerprints(KeyRing({"k1": b"k" * 32}, b"q" * 32))("acme")),
        (SECRET, no_fingerprint),
    ):
        other = read(value, fingerprint).credential_variables[0]
        assert other.value_hash != found.value_hash
    assert fingerprints(None)("acme")(SECRET) == ""


def test_the_database_of_the_home_has_its_keys_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    settings = InventorySettings(home=tmp_path)
    made = settings.fingerprint_keys()
    assert made is not None
    assert made == settings.fingerprint_keys()
    assert {each.stat().st_mode & 0o777 for each in (tmp_path / "keys").iterdir()} == {0o600}
    assert (
        InventorySettings(home=tmp_path, database_url="postgresql:///a").fingerprint_keys() is None
    )
