"""Credentials in the sample's configurations are kept as hashes by the keys of the settings."""

from pathlib import Path

from mesh.embedded.aws import AwsEndpoint
from mesh.sealing.hashing import keyed_hash
from mesh.sealing.keyring import create_keys, read_keys
from tests.service.collect_world import body_of, by, world


async def test_the_sample_s_credentials_are_hashed(aws: AwsEndpoint, tmp_path: Path) -> None:
    keys = tmp_path / "sealing.keys"
    create_keys(keys)
    async with world(aws, tmp_path, sealing_keys=str(keys)) as collecting:
        await collecting.sync("codebuild", "ecs_task_definitions")
        projects = by(await collecting.rows("codebuild"), "project_name")
        tasks = by(await collecting.rows("ecs_task_definitions"), "family")
    (found,) = body_of(projects["legacy-build"]).credential_variables
    (other,) = body_of(tasks["agent"]).credential_variables
    value = "AKIAIOSFODNN7EXAMPLE"
    expected = keyed_hash(read_keys(keys), value, "acme", "configuration")
    # The same key in two places is seen as the same.
    assert found.value_hash == other.value_hash == expected
    assert (found.variable_name, found.looks_like) == ("AWS_ACCESS_KEY_ID", "aws-access-key-id")
    assert value not in str([*projects.values(), *tasks.values()])
