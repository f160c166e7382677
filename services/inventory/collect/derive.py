"""Facts that no single read shows: trails that watch buckets, buckets that keep logs."""

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.cloudtrail_pb2 import CloudtrailTrail
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.collect.cloudtrail_trails import DESCRIBE
from services.inventory.collect.draft import Draft, Truth, all_of, any_of
from services.inventory.collect.s3_buckets import LIST
from services.inventory.collect.source import GLOBAL, NOT_COLLECTED, Source, Sources

TRAILS = "cloudtrail_trails"
BUCKETS = "s3_buckets"
NOT_IN_ACCOUNT = "NotInAccount"
"""Code of facts about a bucket that another account owns."""


def fill_buckets(drafts: list[Draft[S3Bucket]], sources: Sources) -> None:
    """Tell for each bucket whether a trail watches it, and whether logs are written into it."""
    fill_data_events(drafts, sources)
    fill_log_keepers(drafts, sources[TRAILS])


def fill_log_keepers(drafts: list[Draft[S3Bucket]], trails: Source) -> None:
    """Tell for each bucket whether the log of a trail or of a bucket is written into it."""
    targets = {trail.body.s3_bucket for trail in trails.drafts}
    unknown = next(iter(trails.gaps.values()), None)
    if not trails.listed and unknown is None:
        unknown = Unread.of(DESCRIBE, Outcome.FAILED, NOT_COLLECTED)
    # What a bucket itself did not tell comes first: the next run may read it.
    ordered = sorted(drafts, key=lambda draft: draft.arn)
    own = (draft.unread.get("logging_target_bucket") for draft in ordered)
    unknown = next((gap for gap in own if gap), unknown)
    targets |= {draft.body.logging_target_bucket for draft in drafts}
    for draft in drafts:
        draft.decide("keeps_logs", draft.body.bucket_name in targets or unknown or False)


def fill_data_events(drafts: list[Draft[S3Bucket]], sources: Sources) -> None:
    """Tell for each bucket whether a trail records its object events."""
    for draft in drafts:
        draft.decide("data_events_logged", data_events_logged(draft, sources[TRAILS]))


def data_events_logged(bucket: Draft[S3Bucket], trails: Source) -> Truth:
    """True if a logging trail records both directions of all objects of a bucket."""
    covered = any_of(_covers(trail, bucket) for trail in trails.drafts)
    if covered is not False:
        return covered
    if bucket.region_gap is not None:
        return bucket.region_gap
    # Another trail of the bucket's region may do it, if that region was not listed.
    return trails.gap(bucket.region, DESCRIBE) or False


def _covers(trail: Draft[CloudtrailTrail], bucket: Draft[S3Bucket]) -> Truth:
    if not trail.body.is_multi_region and trail.region != bucket.region:
        return False
    objects = f"{bucket.arn}/"
    recorded: Truth = trail.unread.get("s3_data_events") or any(
        objects.startswith(prefix) for prefix in trail.body.s3_data_events
    )
    return all_of((recorded, trail.truth("is_logging")))


def fill_log_buckets(drafts: list[Draft[CloudtrailTrail]], sources: Sources) -> None:
    """Tell of each trail's bucket whether it is public and whether its use is logged."""
    buckets = {draft.body.bucket_name: draft for draft in sources[BUCKETS].drafts}
    for draft in drafts:
        bucket = buckets.get(draft.body.s3_bucket)
        if bucket is None:
            gap = sources[BUCKETS].gap(GLOBAL, LIST)
            foreign = Unread.of(LIST, Outcome.FAILED, NOT_IN_ACCOUNT)
            draft.miss(gap or foreign, "log_bucket_public", "log_bucket_logged")
            continue
        draft.decide("log_bucket_public", bucket.truth("public"))
        delivered: Truth = bucket.unread.get("logging_target_bucket") or bucket.body.HasField(
            "logging_target_bucket"
        )
        draft.decide(
            "log_bucket_logged",
            any_of((delivered, data_events_logged(bucket, sources[TRAILS]))),
        )
