"""Access keys, each a resource of its own, from IAM's credential report."""

from mesh.aws.reader import Reader, Unread
from secmesh.inventory.v1.iam_pb2 import IamAccessKey
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.credential_report import (
    GENERATE,
    GET,
    REPORT_PATIENCE,
    KeyLine,
    UserLine,
    read_report,
)
from services.inventory.collect.draft import Collected, Draft, timestamp

LISTINGS = (GET,)
OPERATIONS = frozenset((GET, GENERATE))
FIELDS = frozenset(IamAccessKey.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the keys of all users."""
    reader.ledger.is_listing(GET)
    report = read_report(reader, REPORT_PATIENCE)
    if isinstance(report, Unread):
        return Collected([], report)
    return Collected([key_draft(line, key) for line in report.values() for key in line.keys])


def key_draft(line: UserLine, key: KeyLine) -> Draft[IamAccessKey]:
    """Map one key of one line."""
    body = IamAccessKey(username=line.user, is_root=line.is_root, slot=key.slot, active=key.active)
    if rotated := key.last_rotated or line.created:
        body.last_rotated.CopyFrom(timestamp(rotated))
    if key.last_used is not None:
        body.last_used.CopyFrom(timestamp(key.last_used))
    if key.last_used_service:
        body.last_used_service = key.last_used_service
    # Keys have no ARN; their user's tells where to look.
    return Draft(native_id=f"{line.arn} {key.slot}", arn=line.arn, body=body)


COLLECTOR = Collector(
    "access_keys",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
    heartbeats=frozenset({"last_used"}),
)
