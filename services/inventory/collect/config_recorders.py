"""Recorders of AWS Config: whether and what they record, and where it is delivered."""

from collections.abc import Iterable

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.account_pb2 import AccountMetadata
from secmesh.inventory.v1.config_pb2 import ConfigRecorder
from services.inventory.collect.account_metadata import REGIONS
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, Truth, all_of, any_of, timestamp
from services.inventory.collect.source import GLOBAL, Source, Sources

LIST = "config:DescribeConfigurationRecorders"
STATUS = "config:DescribeConfigurationRecorderStatus"
CHANNELS = "config:DescribeDeliveryChannels"
CHANNEL_STATUS = "config:DescribeDeliveryChannelStatus"
RETENTION = "config:DescribeRetentionConfigurations"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, STATUS, CHANNELS, CHANNEL_STATUS, RETENTION))
FIELDS = frozenset(ConfigRecorder.DESCRIPTOR.fields_by_name)
STATUS_FIELDS = ("recording", "last_status", "last_error", "last_start_time", "last_stop_time")
CHANNEL_FIELDS = ("delivery_bucket", "delivery_kms_key", "delivery_topic")
DELIVERY_FIELDS = ("delivery_status", "delivery_error")
# Source: AWS Config Developer Guide, "Deleting AWS Config data": seven years unless told otherwise.
DEFAULT_RETENTION_DAYS = 2557
RECORDERS, ACCOUNT = "config_recorders", "account_metadata"

Items = list[Response] | Unread


def collect(reader: Reader) -> Collected:
    """Read the recorders of one region."""
    recorders = reader.items(LIST, "ConfigurationRecorders", listing=True)
    if isinstance(recorders, Unread):
        return Collected([], recorders)
    if not recorders:
        return Collected([])
    status = reader.items(STATUS, "ConfigurationRecordersStatus")
    channels = reader.items(CHANNELS, "DeliveryChannels")
    deliveries = reader.items(CHANNEL_STATUS, "DeliveryChannelsStatus")
    retention = reader.items(RETENTION, "RetentionConfigurations")
    drafts = [recorder_draft(recorder) for recorder in recorders]
    for draft in drafts:
        fill_status(draft, status)
        fill_channel(draft, channels)
        fill_delivery(draft, deliveries)
        fill_retention(draft, retention)
    return Collected(drafts)


def recorder_draft(recorder: Response) -> Draft[ConfigRecorder]:
    """Map one recorder as it is listed."""
    group = recorder.get("recordingGroup", {})
    body = ConfigRecorder(
        recorder_name=recorder["name"],
        role=recorder.get("roleARN", ""),
        all_supported=group.get("allSupported", False),
        includes_global_types=group.get("includeGlobalResourceTypes", False),
        resource_types=sorted(group.get("resourceTypes", ())),
        excluded_resource_types=sorted(
            group.get("exclusionByResourceTypes", {}).get("resourceTypes", ())
        ),
        frequency=recorder.get("recordingMode", {}).get("recordingFrequency", "CONTINUOUS"),
    )
    return Draft(native_id=body.recorder_name, arn=str(recorder.get("arn", "")), body=body)


def fill_status(draft: Draft[ConfigRecorder], found: Items) -> None:
    """Fill how a recorder stands; one without a status never recorded."""
    if isinstance(found, Unread):
        draft.miss(found, *STATUS_FIELDS)
        return
    body = draft.body
    status = _named(found, body.recorder_name)
    body.recording = status.get("recording", False)
    # The API reference writes ``Success``, services answer ``SUCCESS``.
    body.last_status = status.get("lastStatus", "").upper()
    if error := status.get("lastErrorCode"):
        body.last_error = error
    if started := status.get("lastStartTime"):
        body.last_start_time.CopyFrom(timestamp(started))
    if stopped := status.get("lastStopTime"):
        body.last_stop_time.CopyFrom(timestamp(stopped))


def _named(found: Iterable[Response], name: str) -> Response:
    return next((each for each in found if each.get("name") == name), {})


def fill_channel(draft: Draft[ConfigRecorder], found: Items) -> None:
    """Fill where a recorder delivers to; a region has one delivery channel at most."""
    if isinstance(found, Unread):
        draft.miss(found, *CHANNEL_FIELDS)
        return
    for channel in found[:1]:
        for name, key in zip(
            CHANNEL_FIELDS, ("s3BucketName", "s3KmsKeyArn", "snsTopicARN"), strict=True
        ):
            if value := channel.get(key):
                setattr(draft.body, name, value)


def fill_delivery(draft: Draft[ConfigRecorder], found: Items) -> None:
    """Fill how the last delivery of history ended."""
    if isinstance(found, Unread):
        draft.miss(found, *DELIVERY_FIELDS)
        return
    for channel in found[:1]:
        history = channel.get("configHistoryDeliveryInfo", {})
        if status := history.get("lastStatus"):
            draft.body.delivery_status = status.upper()
        if error := history.get("lastErrorCode"):
            draft.body.delivery_error = error


def fill_retention(draft: Draft[ConfigRecorder], found: Items) -> None:
    """Fill how long what was recorded is kept."""
    if isinstance(found, Unread):
        draft.miss(found, "retention_days")
        return
    days = [each["RetentionPeriodInDays"] for each in found]
    draft.body.retention_days = days[0] if days else DEFAULT_RETENTION_DAYS


def fill_global_types(drafts: list[Draft[ConfigRecorder]], sources: Sources) -> None:
    """Tell of each recorder whether one of the account records the types of IAM."""
    if drafts:
        truth = global_types_recorded(sources[RECORDERS], sources[ACCOUNT])
        for draft in drafts:
            draft.decide("global_types_recorded", truth)


def global_types_recorded(recorders: Source, account: Source) -> Truth:
    """True if a recorder that records includes them; false once all regions were listed."""
    recorded = any_of(
        all_of((draft.truth("recording"), draft.truth("includes_global_types")))
        for draft in recorders.drafts
    )
    if recorded is not False:
        return recorded
    gaps = (recorders.gap(region, LIST) for region in recorders.gaps)
    if gap := next(gaps, None):
        return gap
    for draft in account.drafts:
        body: AccountMetadata = draft.body
        if gap := draft.unread.get("regions_enabled"):
            return gap
        unlisted = (recorders.gap(region, LIST) for region in body.regions_enabled)
        return next((each for each in unlisted if each), None) or False
    return account.gap(GLOBAL, REGIONS) or False


COLLECTOR = Collector(
    RECORDERS,
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
    sources=(RECORDERS, ACCOUNT),
    derive=fill_global_types,
)
