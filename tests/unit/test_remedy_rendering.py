"""Whatever AWS calls its resources: it stays a value in commands and documents."""

import json
import re
import shlex
import subprocess

import pytest
import yaml
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from secmesh.inventory.v1 import check_pb2
from services.inventory.compliance.remedy_command import command_line, commands
from services.inventory.compliance.remedy_declared import cloudformation, terraform
from services.inventory.compliance.remedy_template import Unfilled, asked, unseen

INPUTS = {"log_bucket": "bucket that takes the log"}
REMEDY = json_format.ParseDict(
    {
        "effort": "EFFORT_LOW",
        "inputs": [{"name": name, "description": words} for name, words in INPUTS.items()],
        "commands": [
            {
                "service": "s3",
                "operation": "PutBucketLogging",
                "parameters": {
                    "Bucket": "{name}",
                    "BucketLoggingStatus": {
                        "LoggingEnabled": {
                            "TargetBucket": "{log_bucket}",
                            "TargetPrefix": "{name}/$json",
                        }
                    },
                },
            }
        ],
        "terraform": [
            {
                "type": "aws_s3_bucket_logging",
                "body": {
                    "bucket": "{name}",
                    "target_bucket": "{log_bucket}",
                    "nested": {"deep": "a{name}b"},
                    "tags=": {"of": "{name}"},
                },
                "import_id": "{name}",
            }
        ],
        "cloudformation": [
            {
                "type": "AWS::S3::Bucket",
                "body": {"BucketName": "{name}", "Log": "{name}-{log_bucket}"},
            }
        ],
    },
    check_pb2.Remedy(),
)
HOSTILE = st.one_of(
    st.text(min_size=1, max_size=40),
    st.lists(
        st.sampled_from(
            [
                "'",
                '"',
                "\\",
                "$",
                "{",
                "}",
                "${",
                "%{",
                "$(id)",
                "`id`",
                ";",
                "&",
                "|",
                "!",
                "#",
                "-",
                " ",
                "\n",
                "\u202e",
                "\ue000",
                "\ue001",
                "\x00",
                "=",
                "a",
                "*",
                "~",
                "é",
                "{{resolve:ssm:x}}",
                "file://",
                "log_bucket",
                "{log_bucket}",
                "${Log",
                "<<EOF",
            ]
        ),
        min_size=1,
        max_size=8,
    ).map("".join),
)


def facts(name: str) -> dict[str, str]:
    return {
        "name": name,
        "region": "eu-west-1",
        "account": "111122223333",
        "arn": "",
        "log_bucket": asked("log_bucket"),
    }


def lines(name: str) -> list[str]:
    return [command_line(call, INPUTS) for call in commands(REMEDY, facts(name))]


def words(line: str) -> list[str]:
    """Give what a program gets as its arguments, by a real shell."""
    script = f"aws() {{ printf '%s\\0' \"$@\"; }}\nLOG_BUCKET=logs\n{line}\n"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def wanted(name: str) -> list[str]:
    status = {"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": f"{name}/$json"}}
    bucket = [f"--bucket={name}"] if name.startswith("-") else ["--bucket", name]
    document = json.dumps(status, ensure_ascii=False, separators=(",", ":"))
    rest = ["--bucket-logging-status", document, "--region", "eu-west-1"]
    return ["s3api", "put-bucket-logging", *bucket, *rest]


@given(HOSTILE)
def test_a_name_is_one_word_of_a_command_and_nothing_else(name: str) -> None:
    if unseen(name):
        assert lines(name) == []
        return
    if name.startswith("file://"):
        return
    [line] = lines(name)
    plain = line.replace('"${LOG_BUCKET:?bucket that takes the log}"', "logs")
    assert shlex.split(plain) == ["aws", *wanted(name)]


@pytest.mark.parametrize(
    "name",
    [
        "a'b",
        'a"b',
        "$(touch /tmp/never)",
        "`id`",
        "${HOME}",
        "a; id",
        "-rf",
        "a\\",
        "!!",
        "*",
        "{log_bucket}",
        "é ü",
    ],
)
def test_a_shell_hands_it_over_as_it_is(name: str) -> None:
    [line] = lines(name)
    assert words(line) == wanted(name)


def test_an_input_that_is_not_set_stops_the_shell() -> None:
    [line] = lines("bucket")
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=False, env={})
    assert done.returncode != 0
    assert b"bucket that takes the log" in done.stderr


@pytest.mark.parametrize("name", ["file:///etc/passwd", "fileb://x", "http://169.254.169.254/"])
def test_the_cli_is_never_told_to_read_a_file(name: str) -> None:
    with pytest.raises(Unfilled):
        lines(name)


STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def literals(document: str) -> list[str]:
    """Give the string literals of HCL as written; no sequence in them opens a template."""
    return STRING.findall(document)


@given(HOSTILE)
def test_a_name_is_one_string_of_hcl(name: str) -> None:
    document = terraform("s3.logging", REMEDY, facts(name))
    if unseen(name):
        assert document == ""
        return
    found = literals(document)
    assert [json.loads(each) for each in found].count(name) >= 3
    assert f"a{name}b" in [json.loads(each) for each in found]
    assert not any("${" in each or "%{" in each for each in found)
    # What is left without its strings is the form alone, whatever the name is.
    plain = literals(terraform("s3.logging", REMEDY, facts("x")))
    assert len(found) == len(plain)
    form = STRING.sub("S", document), STRING.sub("S", terraform("s3.logging", REMEDY, facts("x")))
    assert form[0] == form[1]


def test_hcl_reads_as_people_write_it() -> None:
    document = terraform("s3.logging", REMEDY, {**facts("data"), "arn": "arn:aws:s3:::data"})
    assert "target_bucket = var.log_bucket" in document
    assert 'variable "log_bucket" {' in document
    assert '  nested {\n    deep = "adatab"\n  }' in document
    assert 'tags = { "of" = "data" }' in document
    assert re.search(r"import \{\n  to = aws_s3_bucket_logging\.s3_logging_[0-9a-f]{8}\n", document)


@given(HOSTILE)
def test_a_name_is_one_string_of_a_cloudformation_template(name: str) -> None:
    document = cloudformation("s3.logging", REMEDY, facts(name))
    if unseen(name) or "{{" in name:
        assert document == ""
        return
    read = yaml.safe_load(document)
    [resource] = read["Resources"].values()
    assert resource["Properties"]["BucketName"] == name
    literal = name.replace("${", "${!")
    assert resource["Properties"]["Log"] == {"Fn::Sub": f"{literal}-${{LogBucket}}"}
    assert read["Parameters"]["LogBucket"]["Type"] == "String"
