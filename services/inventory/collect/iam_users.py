"""Users of IAM, from two bulk reads and the list of virtual MFA devices."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.iam_pb2 import AccessKey, IamUser
from services.inventory.collect.administrators import Grants, grants_of, is_administrator
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.credential_report import (
    GENERATE,
    GET,
    REPORT_PATIENCE,
    ROOT,
    KeyLine,
    UserLine,
    read_report,
)
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

DETAILS = "iam:GetAccountAuthorizationDetails"
DEVICES = "iam:ListVirtualMFADevices"
USER_DEVICES = "iam:ListMFADevices"
LISTINGS = (DETAILS,)
OPERATIONS = frozenset((DETAILS, DEVICES, USER_DEVICES, GENERATE, GET))
PAGE = 1000

IDENTITY_FIELDS = ("username", "is_root", "path", "create_date")
DETAIL_FIELDS = (
    "user_id",
    "attached_policies",
    "inline_policies",
    "groups",
    "permissions_boundary",
    "administrator",
    "tags",
)
REPORT_FIELDS = (
    "password_enabled",
    "last_login",
    "password_last_changed",
    "access_keys",
    "active_access_keys",
    "oldest_active_key_rotated",
    "credential_unused_since",
)
MFA_FIELDS = ("mfa_enabled", "mfa_types")
FIELDS = frozenset((*IDENTITY_FIELDS, *DETAIL_FIELDS, *REPORT_FIELDS, *MFA_FIELDS))

Report = Mapping[str, UserLine] | Unread
Devices = frozenset[str] | Unread
"""ARNs of the users that a virtual device is assigned to."""


def collect(reader: Reader) -> Collected:
    """Read all users; either bulk read alone still gives what it tells."""
    details = reader.items(DETAILS, "UserDetailList", page_size=PAGE, listing=True, Filter=["User"])
    report = read_report(reader, REPORT_PATIENCE)
    devices = _virtual_devices(reader)
    if isinstance(details, Unread):
        found = () if isinstance(report, Unread) else report.values()
        drafts = [report_draft(line, details) for line in found]
    else:
        grants = _grants(reader)
        drafts = [detail_draft(detail, grants) for detail in details]
        drafts.append(
            root_draft(
                f"arn:{reader.account.partition}:iam::{reader.account.cloud_account_id}:root",
                report,
            )
        )
    for draft in drafts:
        fill_report(draft, report)
    reader.fan_out(lambda draft: _read_mfa(reader, draft, report, devices), drafts)
    return Collected(drafts, details if isinstance(details, Unread) else None)


def _grants(reader: Reader) -> Grants | Unread:
    groups = reader.items(DETAILS, "GroupDetailList", page_size=PAGE, Filter=["Group"])
    policies = reader.items(DETAILS, "Policies", page_size=PAGE, Filter=["LocalManagedPolicy"])
    if isinstance(groups, Unread):
        return groups
    if isinstance(policies, Unread):
        return policies
    return grants_of(groups, policies, reader.account.partition)


def detail_draft(detail: Response, grants: Grants | Unread) -> Draft[IamUser]:
    """Map one user of GetAccountAuthorizationDetails."""
    body = IamUser(
        username=detail["UserName"],
        is_root=False,
        path=detail["Path"],
        # The report tells whole seconds; both must agree, for either may be unread.
        create_date=timestamp(detail["CreateDate"].replace(microsecond=0)),
        user_id=detail["UserId"],
        attached_policies=sorted(
            each["PolicyArn"] for each in detail.get("AttachedManagedPolicies", ())
        ),
        inline_policies=sorted(each["PolicyName"] for each in detail.get("UserPolicyList", ())),
        groups=sorted(detail.get("GroupList", ())),
        tags=tag_map(detail.get("Tags", ())),
    )
    if boundary := detail.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"):
        body.permissions_boundary = boundary
    draft = Draft(native_id=detail["Arn"], arn=detail["Arn"], body=body)
    draft.decide(
        "administrator",
        grants if isinstance(grants, Unread) else is_administrator(detail, grants),
    )
    return draft


def report_draft(line: UserLine, details: Unread) -> Draft[IamUser]:
    """Make a user of its line in the report, where the details are unread."""
    body = IamUser(username=line.user, is_root=line.is_root)
    if line.created is not None:
        body.create_date.CopyFrom(timestamp(line.created))
    draft = Draft(native_id=line.arn, arn=line.arn, body=body)
    if not line.is_root:
        # arn:aws:iam::123456789012:user/path/name
        body.path = line.arn.partition(":user")[2].removesuffix(line.user)
        draft.miss(details, *DETAIL_FIELDS)
    return draft


def root_draft(arn: str, report: Report) -> Draft[IamUser]:
    """Make the root user, whom only the report lists."""
    line = None if isinstance(report, Unread) else report.get(arn)
    draft = Draft(native_id=arn, arn=arn, body=IamUser(username=ROOT, is_root=True))
    if isinstance(report, Unread):
        draft.miss(report, "create_date")
    elif line is not None and line.created is not None:
        draft.body.create_date.CopyFrom(timestamp(line.created))
    draft.only_if_stored = line is None
    return draft


def _line_of(draft: Draft[IamUser], report: Report) -> UserLine | Unread:
    if isinstance(report, Unread):
        return report
    # A user made after the report was.
    return report.get(draft.arn) or Unread.of(GET, Outcome.FAILED, "NotInReport")


def fill_report(draft: Draft[IamUser], report: Report) -> None:
    """Fill what the report tells of passwords and keys."""
    line = _line_of(draft, report)
    if isinstance(line, Unread):
        draft.miss(line, *REPORT_FIELDS)
        return
    body = draft.body
    if line.password_enabled is not None:
        body.password_enabled = line.password_enabled
    if line.password_last_used is not None:
        body.last_login.CopyFrom(timestamp(line.password_last_used))
    if line.password_last_changed is not None:
        body.password_last_changed.CopyFrom(timestamp(line.password_last_changed))
    body.access_keys.extend(map(_access_key, line.keys))
    active = [key for key in line.keys if key.active]
    body.active_access_keys = len(active)
    if rotated := [key.last_rotated for key in active if key.last_rotated]:
        body.oldest_active_key_rotated.CopyFrom(timestamp(min(rotated)))
    if unused := unused_since(line):
        body.credential_unused_since.CopyFrom(timestamp(unused))


def _access_key(key: KeyLine) -> AccessKey:
    found = AccessKey(slot=key.slot, active=key.active)
    if key.last_rotated is not None:
        found.last_rotated.CopyFrom(timestamp(key.last_rotated))
    if key.last_used is not None:
        found.last_used.CopyFrom(timestamp(key.last_used))
    if key.last_used_service:
        found.last_used_service = key.last_used_service
    return found


def unused_since(line: UserLine) -> datetime | None:
    """Give since when the longest idle of the enabled credentials was not used.

    A credential that was never used is idle since it was set.
    """
    moments = [key.last_used or key.last_rotated or line.created for key in line.keys if key.active]
    if line.password_enabled:
        moments.append(line.password_last_used or line.password_last_changed or line.created)
    return min((moment for moment in moments if moment is not None), default=None)


def _virtual_devices(reader: Reader) -> Devices:
    # The listing has a field for seeds, too; nothing but the owner is kept.
    found = reader.picked(
        DEVICES,
        "VirtualMFADevices",
        lambda device: str(device.get("User", {}).get("Arn", "")),
        page_size=PAGE,
        AssignmentStatus="Assigned",
    )
    return found if isinstance(found, Unread) else frozenset(found)


def _read_mfa(reader: Reader, draft: Draft[IamUser], report: Report, devices: Devices) -> None:
    line = _line_of(draft, report)
    assigned: Any = None
    if needs_device_list(draft, line, devices):
        assigned = reader.call(USER_DEVICES, resource=draft.arn, UserName=draft.body.username)
        if isinstance(assigned, Absent):
            assigned = {}
    fill_mfa(draft, line, devices, assigned)


def needs_device_list(draft: Draft[IamUser], line: UserLine | Unread, devices: Devices) -> bool:
    """Tell whether only a read of this user's own devices shows their kinds."""
    if isinstance(line, Unread) or draft.body.is_root or not line.mfa_active:
        return False
    return isinstance(devices, Unread) or draft.arn not in devices


def fill_mfa(
    draft: Draft[IamUser],
    line: UserLine | Unread,
    devices: Devices,
    assigned: Response | Unread | None,
) -> None:
    """Fill MFA facts from the report, the virtual devices and, if read, the user's own list."""
    if not isinstance(devices, Unread) and draft.arn in devices:
        draft.body.mfa_enabled = True
        draft.body.mfa_types.append("virtual")
    elif isinstance(line, Unread):
        draft.miss(line, *MFA_FIELDS)
    elif not line.mfa_active:
        draft.body.mfa_enabled = False
    elif draft.body.is_root:
        draft.body.mfa_enabled = True
        # IAM lists no devices of the root user but virtual ones.
        draft.miss(Unread.of(USER_DEVICES, Outcome.UNSUPPORTED, "RootUser"), "mfa_types")
    elif isinstance(assigned, Unread):
        draft.body.mfa_enabled = True
        draft.miss(assigned, "mfa_types")
    else:
        # The report may be hours older than this list.
        found = (assigned or {}).get("MFADevices", ())
        draft.body.mfa_enabled = bool(found)
        draft.body.mfa_types.extend(sorted({device_type(each["SerialNumber"]) for each in found}))


def device_type(serial: str) -> str:
    """Tell the kind of an MFA device by its serial number, an ARN unless it is hardware."""
    resource = serial.rpartition(":")[2] if serial.startswith("arn:") else ""
    if resource.startswith("u2f/"):
        return "u2f"
    return "virtual" if resource.startswith("mfa/") else "hardware"


COLLECTOR = Collector(
    "iam_users",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
