"""CloudTrail trails, each once, under its home region."""

from collections.abc import Iterable

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.cloudtrail_pb2 import CloudtrailTrail
from secmesh.inventory.v1.record_pb2 import Record
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp
from services.inventory.collect.event_selectors import LAMBDA, S3, data_events, management_events

DESCRIBE = "cloudtrail:DescribeTrails"
STATUS = "cloudtrail:GetTrailStatus"
SELECTORS = "cloudtrail:GetEventSelectors"
INSIGHTS = "cloudtrail:GetInsightSelectors"
TAGS = "cloudtrail:ListTags"
LISTINGS = (DESCRIBE,)
OPERATIONS = frozenset((DESCRIBE, STATUS, SELECTORS, INSIGHTS, TAGS))
TAG_BATCH = 20
"""Trails that one ListTags call takes."""

TRAIL_FIELDS = (
    "trail_name",
    "home_region",
    "is_multi_region",
    "is_organization",
    "log_file_validation",
    "kms_key_id",
    "s3_bucket",
    "cloudwatch_log_group",
)
DELIVERY_FIELDS = ("latest_delivery_time", "latest_cloudwatch_delivery_time")
STATUS_FIELDS = (
    "is_logging",
    *DELIVERY_FIELDS,
    "latest_delivery_error",
    "latest_cloudwatch_delivery_error",
)
SELECTOR_FIELDS = ("management_events", "s3_data_events", "lambda_data_events")
INSIGHT_FIELDS = ("insight_selectors",)
DERIVED_FIELDS = ("log_bucket_public", "log_bucket_logged")
FIELDS = frozenset(
    (*TRAIL_FIELDS, *STATUS_FIELDS, *SELECTOR_FIELDS, *INSIGHT_FIELDS, *DERIVED_FIELDS, "tags")
)


def collect(reader: Reader) -> Collected:
    """Read the trails that the unit of this region answers for."""
    trails = reader.items(DESCRIBE, "trailList", listing=True, includeShadowTrails=True)
    if isinstance(trails, Unread):
        return Collected([], trails)
    owned = [
        trail for trail in trails if is_owned(trail["HomeRegion"], reader.region, reader.regions)
    ]
    read = reader.fan_out(lambda trail: _read_trail(reader, trail), owned)
    drafts = [draft for draft in read if draft is not None]
    _read_tags(reader, drafts)
    return Collected(drafts)


def is_owned(home: str, region: str, run_regions: tuple[str, ...]) -> bool:
    """Tell whether a region's unit answers for a trail with this home.

    A multi-region trail shadows in every region. If its home is not read in
    this run, the first region of the run answers for it.
    """
    return home == region or (home not in run_regions and region == run_regions[0])


def _read_trail(reader: Reader, trail: Response) -> Draft[CloudtrailTrail] | None:
    arn, home = str(trail["TrailARN"]), str(trail["HomeRegion"])
    status = reader.call(STATUS, resource=arn, region=home, Name=arn)
    if isinstance(status, Absent):
        # Deleted since it was listed.
        return None
    return trail_draft(
        trail,
        status,
        reader.call(SELECTORS, resource=arn, region=home, TrailName=arn),
        reader.call(INSIGHTS, resource=arn, region=home, TrailName=arn),
    )


def trail_draft(
    trail: Response, status: Answer, selectors: Answer, insights: Answer
) -> Draft[CloudtrailTrail]:
    """Map one trail."""
    body = CloudtrailTrail(
        trail_name=trail["Name"],
        home_region=trail["HomeRegion"],
        is_multi_region=trail.get("IsMultiRegionTrail", False),
        is_organization=trail.get("IsOrganizationTrail", False),
        log_file_validation=trail.get("LogFileValidationEnabled", False),
        kms_key_id=trail.get("KmsKeyId"),
        s3_bucket=trail.get("S3BucketName"),
        cloudwatch_log_group=trail.get("CloudWatchLogsLogGroupArn"),
    )
    arn = str(trail["TrailARN"])
    partition = arn.split(":")[1]
    draft = Draft(native_id=arn, arn=arn, region=body.home_region, body=body)
    draft.take(status, STATUS_FIELDS, _fill_status)

    def fill_selectors(body: CloudtrailTrail, response: Response | None) -> None:
        body.management_events = management_events(response or {})
        body.s3_data_events.extend(data_events(response or {}, S3, partition))
        body.lambda_data_events.extend(data_events(response or {}, LAMBDA, partition))

    draft.take(selectors, SELECTOR_FIELDS, fill_selectors)
    draft.take(insights, INSIGHT_FIELDS, _fill_insights)
    return draft


def _fill_status(body: CloudtrailTrail, response: Response | None) -> None:
    status = response or {}
    body.is_logging = bool(status.get("IsLogging", False))
    if delivered := status.get("LatestDeliveryTime"):
        body.latest_delivery_time.CopyFrom(timestamp(delivered))
    if delivered := status.get("LatestCloudWatchLogsDeliveryTime"):
        body.latest_cloudwatch_delivery_time.CopyFrom(timestamp(delivered))
    if error := status.get("LatestDeliveryError"):
        body.latest_delivery_error = error
    if error := status.get("LatestCloudWatchLogsDeliveryError"):
        body.latest_cloudwatch_delivery_error = error


def _fill_insights(body: CloudtrailTrail, response: Response | None) -> None:
    selectors = (response or {}).get("InsightSelectors") or ()
    body.insight_selectors.extend(sorted({each["InsightType"] for each in selectors}))


def _read_tags(reader: Reader, drafts: list[Draft[CloudtrailTrail]]) -> None:
    for home in sorted({draft.region for draft in drafts}):
        there = [draft for draft in drafts if draft.region == home]
        for start in range(0, len(there), TAG_BATCH):
            batch = there[start : start + TAG_BATCH]
            arns = [draft.arn for draft in batch]
            fill_tags(batch, reader.call(TAGS, resource=arns[0], region=home, ResourceIdList=arns))


def fill_tags(drafts: Iterable[Draft[CloudtrailTrail]], answer: Answer) -> None:
    """Give each trail its tags from one answer about all of them."""
    if isinstance(answer, Absent):
        answer = Unread.of(TAGS, Outcome.FAILED, answer.code)
    if isinstance(answer, Unread):
        for draft in drafts:
            draft.miss(answer, "tags")
        return
    tags = {each["ResourceId"]: each.get("TagsList", ()) for each in answer["ResourceTagList"]}
    for draft in drafts:
        draft.body.tags.update(tag_map(tags.get(draft.arn, ())))


def _shadows(record: Record, region: str, run_regions: tuple[str, ...]) -> bool:
    """A trail whose home is not read is seen as the shadow of a multi-region trail only."""
    return record.cloudtrail_trail.is_multi_region and is_owned(record.region, region, run_regions)


COLLECTOR = Collector(
    "cloudtrail_trails",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
    heartbeats=frozenset(DELIVERY_FIELDS),
    shadows=_shadows,
)
