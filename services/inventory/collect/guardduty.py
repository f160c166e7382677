"""Detectors of GuardDuty: what they watch, who administers them and what they found."""

from datetime import datetime
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.guardduty_pb2 import GuarddutyDetector
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

LIST = "guardduty:ListDetectors"
GET = "guardduty:GetDetector"
ADMINISTRATOR = "guardduty:GetAdministratorAccount"
MEMBERS = "guardduty:ListMembers"
DESTINATIONS = "guardduty:ListPublishingDestinations"
FILTERS = "guardduty:ListFilters"
STATISTICS = "guardduty:GetFindingsStatistics"
FINDINGS = "guardduty:ListFindings"
FINDING = "guardduty:GetFindings"
ORGANIZATION = "guardduty:DescribeOrganizationConfiguration"
LISTINGS = (LIST,)
OPERATIONS = frozenset(
    (
        *(LIST, GET, ADMINISTRATOR, MEMBERS, DESTINATIONS, FILTERS, STATISTICS),
        *(FINDINGS, FINDING, ORGANIZATION),
    )
)
PAGE = 50
GROUPS = 100
"""Severities that one answer tells of; there are fewer."""
FIELDS = frozenset(GuarddutyDetector.DESCRIPTOR.fields_by_name)
DETAIL_FIELDS = (
    *("status", "creation_date", "publishing_frequency", "enabled_features"),
    *("disabled_features", "tags"),
)
ADMINISTRATOR_FIELDS = ("administrator_account", "administrator_status")
ORGANIZATION_FIELDS = ("auto_enable_members", "auto_enable_features")
# Source: GuardDuty User Guide, "Severity levels of GuardDuty findings".
SEVERITIES = (
    (9.0, "findings_critical"),
    (7.0, "findings_high"),
    (4.0, "findings_medium"),
    (0.0, "findings_low"),
)
COUNTS = tuple(name for _, name in SEVERITIES)
HIGH = 7
ENABLED = "ENABLED"


def collect(reader: Reader) -> Collected:
    """Read the detector of one region."""
    detectors = reader.picked(LIST, "DetectorIds", str, page_size=PAGE)
    reader.ledger.is_listing(LIST)
    if isinstance(detectors, Unread):
        return Collected([], detectors)
    read = reader.fan_out(lambda detector: _read(reader, detector), detectors)
    return Collected([draft for draft in read if draft is not None])


def _read(reader: Reader, detector: str) -> Draft[GuarddutyDetector] | None:
    def call(operation: str, **parameters: Any) -> Answer:
        return reader.call(operation, resource=detector, DetectorId=detector, **parameters)

    told = call(GET)
    if isinstance(told, Absent):
        return None
    account = reader.account.cloud_account_id
    arn = f"arn:{reader.account.partition}:guardduty:{reader.region}:{account}:detector/{detector}"
    draft = detector_draft(detector, arn, told)
    draft.take(call(ADMINISTRATOR), ADMINISTRATOR_FIELDS, _fill_administrator)
    draft.take(call(ORGANIZATION), ORGANIZATION_FIELDS, _fill_organization)
    _read_lists(reader, draft)
    # An administrator is told of its members' findings too.
    own = {"service.archived": {"Equals": ["false"]}, "accountId": {"Equals": [account]}}
    statistics = call(
        STATISTICS, GroupBy="SEVERITY", MaxResults=GROUPS, FindingCriteria={"Criterion": own}
    )
    draft.take(statistics, COUNTS, _fill_counts)
    grave = {**own, "severity": {"GreaterThanOrEqual": HIGH}}
    oldest = call(
        FINDINGS,
        FindingCriteria={"Criterion": grave},
        SortCriteria={"AttributeName": "createdAt", "OrderBy": "ASC"},
        MaxResults=1,
    )
    if isinstance(oldest, (Absent, Unread)) or not oldest.get("FindingIds"):
        draft.take(oldest, ("oldest_high_finding",), _fill_oldest)
    else:
        finding = call(FINDING, FindingIds=oldest["FindingIds"][:1])
        draft.take(finding, ("oldest_high_finding",), _fill_oldest)
    return draft


def _read_lists(reader: Reader, draft: Draft[GuarddutyDetector]) -> None:
    detector = draft.body.detector_id
    for name, operation, key, pick in (
        ("members", MEMBERS, "Members", _member),
        ("publishing_destinations", DESTINATIONS, "Destinations", _destination),
        ("filters", FILTERS, "FilterNames", str),
    ):
        found: Any = reader.picked(
            operation, key, pick, page_size=PAGE, resource=detector, DetectorId=detector
        )
        if isinstance(found, Unread):
            draft.miss(found, name)
        else:
            getattr(draft.body, name).extend(sorted(found, key=str))


def detector_draft(detector: str, arn: str, told: Answer) -> Draft[GuarddutyDetector]:
    """Map one detector."""
    draft = Draft(native_id=detector, arn=arn, body=GuarddutyDetector(detector_id=detector))
    draft.take(told, DETAIL_FIELDS, _fill_details)
    return draft


def _fill_details(body: GuarddutyDetector, response: Response | None) -> None:
    told = response or {}
    body.status = told.get("Status", "")
    body.publishing_frequency = told.get("FindingPublishingFrequency", "")
    for feature in sorted(told.get("Features", ()), key=lambda each: str(each["Name"])):
        on = feature.get("Status") == ENABLED
        (body.enabled_features if on else body.disabled_features).append(feature["Name"])
    body.tags.update(told.get("Tags") or {})
    if created := told.get("CreatedAt"):
        body.creation_date.CopyFrom(timestamp(datetime.fromisoformat(created)))


def _fill_administrator(body: GuarddutyDetector, response: Response | None) -> None:
    told = (response or {}).get("Administrator") or {}
    if account := told.get("AccountId"):
        body.administrator_account = account
        body.administrator_status = told.get("RelationshipStatus", "")


def _fill_organization(body: GuarddutyDetector, response: Response | None) -> None:
    told = response or {}
    if members := told.get("AutoEnableOrganizationMembers"):
        body.auto_enable_members = members
    body.auto_enable_features.extend(
        sorted(
            str(each["Name"])
            for each in told.get("Features", ())
            if each.get("AutoEnable", "NONE") != "NONE"
        )
    )


def _fill_counts(body: GuarddutyDetector, response: Response | None) -> None:
    counts = dict.fromkeys(COUNTS, 0)
    statistics = (response or {}).get("FindingStatistics", {})
    for group in statistics.get("GroupedBySeverity", ()):
        severity = group.get("Severity", 0.0)
        name = next(name for least, name in SEVERITIES if severity >= least)
        counts[name] += group.get("TotalFindings", 0)
    for name, count in counts.items():
        setattr(body, name, count)


def _fill_oldest(body: GuarddutyDetector, response: Response | None) -> None:
    for finding in (response or {}).get("Findings", ())[:1]:
        created = datetime.fromisoformat(finding["CreatedAt"])
        body.oldest_high_finding.CopyFrom(timestamp(created))


def _member(member: Response) -> GuarddutyDetector.Member:
    return GuarddutyDetector.Member(
        account_id=member["AccountId"], status=member.get("RelationshipStatus", "")
    )


def _destination(told: Response) -> GuarddutyDetector.Destination:
    return GuarddutyDetector.Destination(
        type=told.get("DestinationType", ""), status=told.get("Status", "")
    )


COLLECTOR = Collector(
    "guardduty",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
