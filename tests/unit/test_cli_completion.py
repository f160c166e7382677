"""Completion by the shells' own protocol: the environment asks, the program answers and ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.output import OutputFormat
from mesh.contract.catalogue import load_catalogue
from mesh.identity.roles import ROLES

PROGRAM = [sys.executable, "-m", "cli.main"]
KINDS = load_catalogue("secmesh.inventory.v1").record_kinds


def run(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "SHELL": "/bin/bash"}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=environment | variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )


def offered(home: Path, line: str) -> list[str]:
    """Complete the last word of a line, as bash asks."""
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = run(home, _SECMESH_COMPLETE="complete_bash", **asked)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("secmesh inventory ls ", sorted(KINDS)),
        ("secmesh inventory ls s3_b", ["s3_buckets"]),
        ("secmesh inventory ls nothing", []),
        ("secmesh security ls sast_issues", ["sast_issues"]),
        ("secmesh security rm teams", ["teams/"]),
        ("secmesh inventory sync --collection iam_u", ["iam_users"]),
        ("secmesh inventory get s3_b", ["s3_buckets/"]),
        ("secmesh inventory aggregate iam_users --by mfa_e", ["mfa_enabled"]),
        ("secmesh inventory aggregate iam_users --by=mfa_e", ["mfa_enabled"]),
        ("secmesh inventory aggregate unknown --by mfa", []),
        ("secmesh -o ", [each.value for each in OutputFormat]),
        ("secmesh compliance evaluate --fail-on contra", ["contradicted"]),
        ("secmesh compliance coverage --baseline fedramp-lo", ["fedramp-low"]),
        ("secmesh token --role ", sorted(ROLES)),
        ("secmesh crypto put --field s", ["ssn=-"]),
        ("secmesh crypto rotate a", ["app-key"]),
        ("secmesh accounts list --status pend", ["pending"]),
        ("secmesh providers create a", ["aws", "azure"]),
        ("secmesh schedules create x y --overlap buf", ["buffer-one"]),
        ("secmesh executions list --status de", ["dead"]),
    ],
)
def test_words_of_the_contract_are_offered_without_a_mesh(
    tmp_path: Path, line: str, expected: list[str]
) -> None:
    found = offered(tmp_path, line)
    assert [word for word in expected if word in found] == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("shell", "asked", "expected"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "secmesh inventory ls s3_b"}, "s3_buckets"),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "secmesh inventory ls s3_b",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            "s3_buckets",
        ),
    ],
)
def test_other_shells_are_answered(
    tmp_path: Path, shell: str, asked: dict[str, str], expected: str
) -> None:
    done = run(tmp_path, _SECMESH_COMPLETE=f"complete_{shell}", **asked)
    assert expected in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_for_each_shell(tmp_path: Path, shell: str) -> None:
    script = run(tmp_path, _SECMESH_COMPLETE=f"source_{shell}")
    assert f"_SECMESH_COMPLETE=complete_{shell}" in script.stdout


def test_bash_loads_what_is_installed(tmp_path: Path) -> None:
    """The file that is installed, sourced by a real bash, completes a line."""
    source = run(tmp_path, _SECMESH_COMPLETE="source_bash")
    script = tmp_path / "secmesh.sh"
    script.write_text(source.stdout)
    program = tmp_path / "secmesh"
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    words = "COMP_WORDS=(secmesh inventory ls iam_u); COMP_CWORD=3"
    asked = f'. "{script}"; {words}; _secmesh_completion "{program}"; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run(
        ["bash", "-c", asked], check=True, capture_output=True, text=True, timeout=50
    )
    assert done.stdout.split() == ["iam_users"]
