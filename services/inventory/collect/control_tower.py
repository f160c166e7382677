"""The landing zone of Control Tower, with the controls and baselines that are in force.

Source of the manifest's members: AWS Control Tower User Guide, "View the details of your landing
zone manifest file".
"""

from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.control_tower_pb2 import LandingZone
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft

LIST = "controltower:ListLandingZones"
GET = "controltower:GetLandingZone"
CONTROLS = "controltower:ListEnabledControls"
BASELINES = "controltower:ListEnabledBaselines"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, GET, CONTROLS, BASELINES))
PAGE = 200
BASELINE_PAGE = 100
FAILED, DRIFTED = "FAILED", "DRIFTED"
CONTROL_FIELDS = ("enabled_controls", "broken_controls")
BASELINE_FIELDS = ("enabled_baselines",)
FIELDS = frozenset(LandingZone.DESCRIPTOR.fields_by_name)
ZONE_FIELDS = tuple(sorted(FIELDS - {*CONTROL_FIELDS, *BASELINE_FIELDS}))


def collect(reader: Reader) -> Collected:
    """Read the landing zone, if the region is its home."""
    zones = reader.picked(LIST, "landingZones", lambda zone: str(zone["arn"]))
    reader.ledger.is_listing(LIST)
    if isinstance(zones, Unread):
        return Collected([], zones)
    drafts = [_read_zone(reader, arn) for arn in zones]
    return Collected([draft for draft in drafts if draft is not None])


def _read_zone(reader: Reader, arn: str) -> Draft[LandingZone] | None:
    zone = reader.call(GET, resource=arn, landingZoneIdentifier=arn)
    if isinstance(zone, Absent):
        return None
    draft = zone_draft(arn, zone)
    controls = reader.picked(CONTROLS, "enabledControls", control, page_size=PAGE, resource=arn)
    fill_controls(draft, controls)
    baselines = reader.picked(
        BASELINES, "enabledBaselines", baseline, page_size=BASELINE_PAGE, resource=arn
    )
    if isinstance(baselines, Unread):
        draft.miss(baselines, *BASELINE_FIELDS)
    else:
        ordered = sorted(baselines, key=lambda each: (each.baseline, each.target))
        draft.body.enabled_baselines.extend(ordered)
    return draft


def zone_draft(arn: str, answer: Answer) -> Draft[LandingZone]:
    """Map one landing zone by its description."""
    draft = Draft(native_id=arn, arn=arn, body=LandingZone())
    draft.take(answer, ZONE_FIELDS, _fill_zone)
    return draft


def _fill_zone(body: LandingZone, response: Response | None) -> None:
    zone: Any = (response or {}).get("landingZone", {})
    manifest = zone.get("manifest") or {}
    logging = manifest.get("centralizedLogging") or {}
    settings = logging.get("configurations") or {}
    texts = {
        "version": zone.get("version"),
        "latest_version": zone.get("latestAvailableVersion"),
        "status": zone.get("status"),
        "drift_status": (zone.get("driftStatus") or {}).get("status"),
        "log_account": logging.get("accountId"),
        "log_kms_key_id": settings.get("kmsKeyArn"),
        "security_account": (manifest.get("securityRoles") or {}).get("accountId"),
    }
    for name, text in texts.items():
        if text:
            setattr(body, name, str(text))
    body.governed_regions.extend(sorted(manifest.get("governedRegions") or ()))
    # Where it says nothing of it, logging is on.
    body.centralized_logging = bool(logging) and bool(logging.get("enabled", True))
    days = (settings.get("loggingBucket") or {}).get("retentionDays")
    if days is not None:
        body.log_retention_days = int(days)
    access = manifest.get("accessManagement") or {}
    body.access_management = bool(access.get("enabled", True))


def control(told: Any) -> LandingZone.EnabledControl:
    """Map one control that is in force."""
    return LandingZone.EnabledControl(
        control=told.get("controlIdentifier", ""),
        target=told.get("targetIdentifier", ""),
        status=told.get("statusSummary", {}).get("status", ""),
        drift_status=told.get("driftStatusSummary", {}).get("driftStatus", ""),
    )


def fill_controls(
    draft: Draft[LandingZone], controls: list[LandingZone.EnabledControl] | Unread
) -> None:
    """Fill the controls in force, and how many of them are not what they should be."""
    if isinstance(controls, Unread):
        draft.miss(controls, *CONTROL_FIELDS)
        return
    ordered = sorted(controls, key=lambda each: (each.control, each.target))
    draft.body.enabled_controls.extend(ordered)
    draft.body.broken_controls = sum(
        each.status == FAILED or each.drift_status == DRIFTED for each in controls
    )


def baseline(told: Any) -> LandingZone.EnabledBaseline:
    """Map one baseline that is in force."""
    return LandingZone.EnabledBaseline(
        baseline=told.get("baselineIdentifier", ""),
        baseline_version=told.get("baselineVersion", ""),
        target=told.get("targetIdentifier", ""),
        status=told.get("statusSummary", {}).get("status", ""),
    )


COLLECTOR = Collector(
    "control_tower",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
