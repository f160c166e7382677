"""What is made of Lambda's answers about one function."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Answer, Unread
from services.inventory.collect.draft import Draft
from services.inventory.collect.lambda_functions import PARTS, function_draft, without_values
from services.inventory.collect.lambda_runtimes import deprecation_of

NONE = Absent("ResourceNotFoundException")
DENIED = Unread.of("lambda:GetPolicy", Outcome.DENIED, "AccessDeniedException")
ANYONE = {"Policy": '{"Statement": {"Effect": "Allow", "Principal": "*"}}'}
SERVICE = {"Policy": '{"Statement": {"Effect": "Allow", "Principal": {"Service": "s3"}}}'}
FUNCTION = {
    "FunctionName": "etl",
    "FunctionArn": "arn:aws:lambda:us-east-1:111111111111:function:etl",
    "Runtime": "python3.8",
    "LastModified": "2026-01-01T00:00:00.000+0000",
}


def draft(policy: Answer = NONE, url: Answer = NONE, **changes: Any) -> Draft[Any]:
    answers: dict[str, Answer] = {part.operation: NONE for part in PARTS}
    answers |= {"lambda:GetPolicy": policy, "lambda:GetFunctionUrlConfig": url}
    return function_draft(without_values(FUNCTION | changes), answers)


@pytest.mark.parametrize(
    ("policy", "url", "public"),
    [
        (NONE, NONE, False),
        (SERVICE, {"AuthType": "AWS_IAM"}, False),
        (ANYONE, NONE, True),
        (NONE, {"AuthType": "NONE"}, True),
        (DENIED, {"AuthType": "NONE"}, True),
        (ANYONE, DENIED, True),
        (DENIED, NONE, None),
        (NONE, DENIED, None),
    ],
)
def test_who_may_call(policy: Any, url: Any, public: bool | None) -> None:
    found = draft(policy, url)
    if public is None:
        assert found.unread["public"] is DENIED
        assert not found.body.HasField("public")
    else:
        assert found.body.public is public
        assert "public" not in found.unread


def test_values_of_the_environment_are_dropped() -> None:
    secret = {"Environment": {"Variables": {"TOKEN": "hunter2", "A": "b"}}}
    assert "hunter2" not in repr(without_values(FUNCTION | secret))
    found = draft(**secret)
    assert found.body.environment_names == ["A", "TOKEN"]
    assert b"hunter2" not in found.body.SerializeToString()


def test_a_function_is_mapped() -> None:
    body = draft().body
    assert body.last_modified.ToDatetime(UTC) == datetime(2026, 1, 1, tzinfo=UTC)
    assert body.runtime_deprecation_date.ToDatetime(UTC) == datetime(2024, 10, 14, tzinfo=UTC)
    assert not body.HasField("vpc_id")
    assert not body.HasField("reserved_concurrency")
    image = draft(Runtime=None, PackageType="Image").body
    assert not image.HasField("runtime")
    assert not image.HasField("runtime_deprecation_date")


def test_a_runtime_of_the_future_has_no_date() -> None:
    assert deprecation_of("python9.99") is None
