"""What `secmesh crypto put` and `find` refuse by themselves: never with a value in their words."""

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.enum_words import offered
from cli.persons import offered_fields
from secmesh.crypto.v1.audit_pb2 import AuditOperation
from tests.unit.cli_operator import TOKEN

SSN = "078-05-1120"


def run(*arguments: str, typed: str = "") -> Result:
    environment = {"SECMESH_ENDPOINT": "127.0.0.1:1", "SECMESH_TOKEN": TOKEN}
    return CliRunner().invoke(app, arguments, input=typed, env=environment)


@pytest.mark.parametrize("word", [f"ssn={SSN}", f"medical_record={SSN}"])
def test_sealed_values_on_the_command_line_are_refused_unseen(word: str) -> None:
    for command in (("put", "--field", word), ("find", word)):
        done = run("crypto", *command)
        assert done.exit_code == 2
        assert SSN not in done.output
        assert "=-" in done.output


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ('{"ssn": ["078-05-1120"]}', "ssn is not as the contract says"),
        ('{"078-05-1120": 1}', "a field is not as the contract says"),
        ('{"ssn": "078-05-1120', "line 1, column"),
        ('["078-05-1120"]', "no JSON object"),
        ('{"etag": "x", "createTime": "078-05-1120"}', "createTime is not as"),
    ],
)
def test_a_file_that_is_no_person_is_refused_without_its_values(document: str, told: str) -> None:
    done = run("crypto", "put", "-", typed=document)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert SSN not in done.output


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--field", "ssn"),
        ("--field", "email=a@b.example", "--field", "email=c@d.example"),
        ("--field", "Email=a@b.example"),
        ("--field", "ssn=-", "--field", "address=-"),
        ("-", "--id", "01999999-0000-7000-8000-000000000001"),
    ],
)
def test_a_command_line_that_says_too_little_is_wrong_usage(words: tuple[str, ...]) -> None:
    typed = '{"name": "users/x"}' if "-" in words else SSN
    done = run("crypto", "put", *words, typed=typed)
    assert done.exit_code == 2, done.output
    assert SSN not in done.output


def test_the_shell_offers_fields_with_how_their_values_are_given() -> None:
    assert offered_fields("em") == ["email="]
    assert offered_fields("ss") == ["ssn=-"]
    assert offered(AuditOperation.DESCRIPTOR)("read") == ["read", "read-audit"]
