"""Where records of DNS lead, and whether anything is there."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.collect.derive import BUCKETS
from services.inventory.collect.dns_records import record_draft
from services.inventory.collect.dns_targets import fill_balancers, fill_dangling, region_of
from services.inventory.collect.draft import Draft
from services.inventory.collect.source import GLOBAL, NOT_COLLECTED, Source

DENIED = Unread.of("elb:DescribeLoadBalancers", Outcome.DENIED, "AccessDenied")
BALANCER = "shop-1.eu-west-1.elb.amazonaws.com"


def record(target: str, name: str = "www.acme.example.", **more: Any) -> Draft[Any]:
    told = {"Name": name, "Type": "CNAME", "ResourceRecords": [{"Value": target}], **more}
    draft = record_draft("Z1", told)
    assert draft is not None
    return draft


@pytest.mark.parametrize(
    ("target", "bucket"),
    [
        ("site.s3-website-us-east-1.amazonaws.com", "site"),
        ("site.s3-website.eu-central-1.amazonaws.com.", "site"),
        ("Site.example.s3.amazonaws.com", "site.example"),
        ("site.s3.us-gov-west-1.amazonaws.com", "site"),
        ("site.s3.cn-north-1.amazonaws.com.cn", "site"),
        ("s3-website-us-east-1.amazonaws.com", "www.acme.example"),
        ("s3.amazonaws.com.evil.example", ""),
        ("d111111abcdef8.cloudfront.net", ""),
        (BALANCER, ""),
    ],
)
def test_buckets_by_their_names(target: str, bucket: str) -> None:
    assert record(target).body.bucket_name == bucket


@pytest.mark.parametrize(
    ("target", "region"),
    [
        (BALANCER, "eu-west-1"),
        (f"dualstack.{BALANCER}.", "eu-west-1"),
        ("net-1a2b.elb.us-gov-east-1.amazonaws.com", "us-gov-east-1"),
        ("internal-Shop-1.ap-southeast-2.elb.amazonaws.com", "ap-southeast-2"),
        ("elb.amazonaws.com", ""),
        ("203.0.113.7", ""),
    ],
)
def test_load_balancers_by_their_names(target: str, region: str) -> None:
    body = record(target).body
    assert region_of(body.load_balancer) == region
    assert body.HasField("load_balancer") is bool(region)


@pytest.mark.parametrize(
    ("listings", "expected"),
    [
        ([frozenset({BALANCER}), frozenset()], False),
        ([frozenset(), frozenset()], True),
        ([DENIED, frozenset({BALANCER})], False),
        ([DENIED, frozenset()], DENIED.code),
    ],
)
def test_a_load_balancer_is_there_or_not(listings: Any, expected: bool | str) -> None:
    draft = record(BALANCER)
    fill_balancers([draft], {"eu-west-1": listings})
    assert (draft.body.dangling if isinstance(expected, bool) else "") == (
        expected if isinstance(expected, bool) else ""
    )
    if isinstance(expected, str):
        assert draft.unread["dangling"].code == expected


OWN = Draft(native_id="site", body=S3Bucket(bucket_name="site"))


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        (Source([OWN], {GLOBAL}), False),
        (Source([], {GLOBAL}), True),
        (Source([OWN], set(), {GLOBAL: DENIED}), False),
        (Source([], set(), {GLOBAL: DENIED}), DENIED.code),
        (Source(), NOT_COLLECTED),
    ],
)
def test_a_bucket_is_there_or_not(buckets: Source, expected: bool | str) -> None:
    draft, elsewhere = record("site.s3.amazonaws.com"), record("203.0.113.7")
    fill_dangling([draft, elsewhere], {BUCKETS: buckets})
    if isinstance(expected, bool):
        assert draft.body.HasField("dangling")
        assert draft.body.dangling is expected
    else:
        assert draft.unread["dangling"].code == expected
    assert not elsewhere.body.HasField("dangling")


def test_records_that_lead_nowhere_are_left_out() -> None:
    assert record_draft("Z1", {"Name": "a.", "Type": "MX"}) is None
    weighted = [record("b.example", SetIdentifier=each).native_id for each in ("one", "two")]
    assert len(set(weighted)) == 2
