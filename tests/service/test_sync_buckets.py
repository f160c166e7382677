"""Where a bucket is: from the list of buckets, or asked of each where the list does not say."""

from collections.abc import Iterator

import pytest

from mesh.embedded.aws_faults import Faults
from tests.service.collect_world import World, by


@pytest.fixture
def listed_regions(faults: Faults) -> Iterator[Faults]:
    """The endpoint while its list of buckets says where each is."""
    faults.bucket_regions = True
    yield faults
    faults.bucket_regions = False


async def test_regions_come_from_the_list(collecting: World, listed_regions: Faults) -> None:
    await collecting.sync("s3_buckets")
    buckets = by(await collecting.rows("s3_buckets"), "bucket_name")
    assert listed_regions.calls["s3:GetBucketLocation"] == 0
    told = {name: bucket.region for name, bucket in buckets.items()}
    listed_regions.bucket_regions = False
    again = await collecting.sync("s3_buckets")
    assert listed_regions.calls["s3:GetBucketLocation"] == len(told) > 1
    assert again.progress.rows_written == 0
    buckets = by(await collecting.rows("s3_buckets"), "bucket_name")
    assert {name: bucket.region for name, bucket in buckets.items()} == told
    assert all(told.values())
