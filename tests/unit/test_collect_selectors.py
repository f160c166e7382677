"""Which events a trail records."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Unread
from services.inventory.collect.cloudtrail_trails import fill_tags, is_owned, trail_draft
from services.inventory.collect.event_selectors import LAMBDA, S3, data_events, management_events


def classic(kind: str, *, management: bool = True, **data: list[str]) -> dict[str, Any]:
    types = {"s3": S3, "functions": LAMBDA}
    return {
        "ReadWriteType": kind,
        "IncludeManagementEvents": management,
        "DataResources": [{"Type": types[name], "Values": data[name]} for name in data],
    }


def advanced(**fields: list[str] | dict[str, list[str]]) -> dict[str, Any]:
    names = {"category": "eventCategory", "type": "resources.type", "arn": "resources.ARN"}
    return {
        "FieldSelectors": [
            {
                "Field": names.get(name, name),
                **(value if isinstance(value, dict) else {"Equals": value}),
            }
            for name, value in fields.items()
        ]
    }


def selectors(*given: dict[str, Any]) -> dict[str, Any]:
    return {
        "EventSelectors": [each for each in given if "ReadWriteType" in each],
        "AdvancedEventSelectors": [each for each in given if "FieldSelectors" in each],
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "None"),
        ([classic("All")], "All"),
        ([classic("ReadOnly")], "ReadOnly"),
        ([classic("ReadOnly"), classic("WriteOnly")], "All"),
        ([classic("All", management=False)], "None"),
        ([advanced(category=["Management"])], "All"),
        ([advanced(category=["Management"], readOnly=["false"])], "WriteOnly"),
        ([advanced(category=["Data"], type=[S3])], "None"),
    ],
)
def test_management_events(given: list[dict[str, Any]], expected: str) -> None:
    assert management_events(selectors(*given)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([classic("All", s3=["arn:aws:s3"])], ["arn:aws:s3"]),
        ([classic("All", s3=["arn:b/", "arn:a/"])], ["arn:a/", "arn:b/"]),
        ([classic("WriteOnly", s3=["arn:aws:s3"])], []),
        ([classic("WriteOnly", s3=["x"]), classic("ReadOnly", s3=["x", "y"])], ["x"]),
        ([classic("All", functions=["arn:aws:lambda"])], []),
        ([advanced(category=["Data"], type=[S3])], ["arn:aws:s3"]),
        ([advanced(category=["Data"], type=[S3], readOnly=["true"])], []),
        ([advanced(category=["Data"], type=[S3], arn={"StartsWith": ["p"]})], ["p"]),
        ([advanced(category=["Data"], type=[S3], arn={"NotStartsWith": ["p"]})], []),
        ([advanced(category=["Data"], type=[S3], eventName=["GetObject"])], []),
        ([advanced(category=["Data"], type=["AWS::DynamoDB::Table"])], []),
    ],
)
def test_data_events_of_s3(given: list[dict[str, Any]], expected: list[str]) -> None:
    assert data_events(selectors(*given), S3) == expected


def test_data_events_of_lambda() -> None:
    given = selectors(classic("All", functions=["arn:aws:lambda"]))
    assert data_events(given, LAMBDA) == ["arn:aws:lambda"]


@pytest.mark.parametrize(
    ("home", "region", "regions", "expected"),
    [
        ("us-east-1", "us-east-1", ("eu-west-1", "us-east-1"), True),
        ("us-east-1", "eu-west-1", ("eu-west-1", "us-east-1"), False),
        ("us-east-1", "eu-west-1", ("eu-west-1", "us-west-2"), True),
        ("us-east-1", "us-west-2", ("eu-west-1", "us-west-2"), False),
    ],
)
def test_one_unit_answers_for_a_trail(
    home: str, region: str, regions: tuple[str, ...], expected: bool
) -> None:
    assert is_owned(home, region, regions) is expected


ARN = "arn:aws:cloudtrail:us-east-1:123456789012:trail/main"
TRAIL = {"Name": "main", "TrailARN": ARN, "HomeRegion": "us-east-1", "S3BucketName": "logs"}


def test_a_trail_keeps_what_is_absent_apart_from_what_is_unread() -> None:
    denied = Unread.of("cloudtrail:GetEventSelectors", Outcome.DENIED, "AccessDenied")
    draft = trail_draft(TRAIL, {"IsLogging": True}, denied, Absent("InsightNotEnabledException"))
    assert set(draft.unread) == {"management_events", "s3_data_events", "lambda_data_events"}
    assert draft.body.is_logging
    assert not draft.body.HasField("kms_key_id")
    assert not draft.body.HasField("latest_delivery_error")
    assert list(draft.body.insight_selectors) == []


def test_tags_come_in_one_answer_for_several_trails() -> None:
    draft = trail_draft(TRAIL, {}, {}, {})
    tags = [{"Key": "owner", "Value": "security"}]
    fill_tags([draft], {"ResourceTagList": [{"ResourceId": ARN, "TagsList": tags}]})
    assert dict(draft.body.tags) == {"owner": "security"}
    denied = Unread.of("cloudtrail:ListTags", Outcome.DENIED, "AccessDenied")
    fill_tags([draft], denied)
    assert draft.unread["tags"] == denied
