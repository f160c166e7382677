"""What the units of a run hand each other says the same whichever of them was read first."""

from collections.abc import Iterable
from itertools import permutations
from typing import Any, cast

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from mesh.contract.catalogue import load_catalogue
from secmesh.inventory.v1.cloudtrail_pb2 import CloudtrailTrail
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.collect import derive
from services.inventory.collect.draft import Collected, Draft
from services.inventory.collect.registry import REGISTRY
from services.inventory.collect.source import Source
from services.inventory.collect.sources import SharedSources
from services.inventory.collect.versions import Unit
from services.inventory.store import InventoryStore

CATALOGUE = load_catalogue("secmesh.inventory.v1")
NO_STORE = cast("InventoryStore", None)
"""Of collections that the run reads nothing is asked of the store."""
REGIONS = ("eu-west-1", "us-east-1", "us-west-2")
GAPS = {
    region: Unread.of("cloudtrail:DescribeTrails", Outcome.DENIED, f"DeniedIn{region}")
    for region in REGIONS
}


def unit(collection: str, region: str) -> Unit:
    collector, kind = REGISTRY.collectors[collection], CATALOGUE.record_kinds[collection]
    return Unit("acme", "123456789012", region, collector, kind)


def trail(region: str) -> Draft[Any]:
    """A trail of which nobody knows whether it records what is done to objects."""
    arn = f"arn:aws:cloudtrail:{region}:123456789012:trail/main"
    made = Draft(arn, CloudtrailTrail(is_multi_region=True), arn, region)
    made.miss(GAPS[region], "s3_data_events")
    made.miss(GAPS[region], "is_logging")
    return made


async def told(found: Iterable[tuple[str, Collected]]) -> dict[str, Unread]:
    """Give what a bucket's derived fields lack if the trails are read in this order."""
    buckets = unit("s3_buckets", "global")
    trails = {region: unit("cloudtrail_trails", region) for region in REGIONS}
    shared = SharedSources([buckets, *trails.values()], NO_STORE)
    for region, collected in found:
        shared.publish(trails[region], collected)
    body = S3Bucket(bucket_name="vault")
    bucket: Draft[S3Bucket] = Draft("vault", body, "arn:aws:s3:::vault", "eu-west-1")
    derive.fill_buckets([bucket], await shared.of(buckets))
    return bucket.unread


@pytest.mark.parametrize("listed", [True, False])
async def test_of_many_gaps_the_same_is_told(*, listed: bool) -> None:
    found = {
        region: Collected([trail(region)]) if listed else Collected([], gap)
        for region, gap in GAPS.items()
    }
    seen = [await told([(each, found[each]) for each in order]) for order in permutations(REGIONS)]
    assert "data_events_logged" in seen[0]
    assert all(each == seen[0] for each in seen), seen


def test_of_many_buckets_that_do_not_tell_where_they_log_the_same_is_told() -> None:
    """An event has one bucket read, which stands in front of all others then."""

    def keeps_logs(names: Iterable[str]) -> Unread:
        drafts: list[Draft[S3Bucket]] = []
        for name in names:
            draft = Draft(name, S3Bucket(bucket_name=name), f"arn:aws:s3:::{name}", "eu-west-1")
            gap = Unread.of("s3:GetBucketLogging", Outcome.DENIED, f"DeniedOf{name}")
            draft.miss(gap, "logging_target_bucket")
            drafts.append(draft)
        derive.fill_log_keepers(drafts, Source(listed=set(REGIONS)))
        (told,) = {draft.unread["keeps_logs"] for draft in drafts}
        return told

    assert {keeps_logs(order) for order in permutations(("a", "b", "c"))} == {keeps_logs("abc")}
