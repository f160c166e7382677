"""`secmesh keys`: the key on standard output once, the rest without a secret."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from mesh.identity.api_key import ApiKey
from mesh.identity.api_key_file import ApiKeyFile


def run(file: Path | None, *arguments: str, home: Path | None = None) -> Result:
    environment = {
        "SECMESH_GATEWAY_API_KEYS": str(file) if file else None,
        "SECMESH_HOME": str(home or "/nonexistent"),
    }
    return CliRunner().invoke(app, arguments, env=environment)


def test_create_ls_revoke(tmp_path: Path) -> None:
    file = tmp_path / "api_keys.json"
    made = run(file, "keys", "create", "--role", "viewer", "--label", "ci", "--expires", "12h")
    assert made.exit_code == 0, made.stderr
    key = ApiKey.parse(made.stdout.strip())
    assert key.id in made.stderr
    assert key.secret not in made.stderr
    assert ApiKeyFile(file).read()[key.id].roles == ("viewer",)
    listed = json.loads(run(file, "-o", "json", "keys", "ls").stdout)
    assert [(row["id"], row["state"], row["label"]) for row in listed] == [(key.id, "active", "ci")]
    assert "sha256" not in listed[0]
    assert run(file, "keys", "revoke", key.id).exit_code == 0
    line = json.loads(run(file, "-o", "ndjson", "keys", "ls").stdout)
    assert (line["id"], line["state"]) == (key.id, "revoked")
    assert "revoked" in run(file, "keys", "ls").stdout


def test_file_of_the_embedded_mesh(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    assert run(None, "keys", "create", "--role", "admin", home=tmp_path).exit_code == 0
    assert len(ApiKeyFile(tmp_path / "keys" / "api_keys.json").read()) == 1
    missing = run(None, "keys", "ls", home=tmp_path / "no")
    assert (missing.exit_code, "--file" in missing.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--role or --permission"),
        (["--role", "king"], "no role"),
        (["--role", "viewer", "--tenant", "A"], "--tenant"),
        (["--permission", "all"], "no permission pattern"),
        (["--role", "viewer", "--expires", "never"], "--expires"),
        (["--role", "viewer", "--expires", "367d"], "--expires"),
        (["--role", "viewer", "--label", "a\x1b[31m"], "--label"),
    ],
)
def test_wrong_usage_makes_no_key(tmp_path: Path, arguments: list[str], said: str) -> None:
    file = tmp_path / "api_keys.json"
    result = run(file, "keys", "create", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not file.exists()


def test_unknown_key_and_broken_file(tmp_path: Path) -> None:
    file = tmp_path / "api_keys.json"
    assert run(file, "keys", "revoke", "nobody").exit_code == 1
    file.write_text("{")
    broken = run(file, "keys", "ls")
    assert broken.exit_code == 1
    assert "broken" in broken.stderr
