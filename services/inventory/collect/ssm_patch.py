"""Machines that Systems Manager manages or should, and how they are patched."""

from collections.abc import Iterable, Mapping
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.ssm_pb2 import SsmNode
from services.inventory.collect.batches import batches
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

INSTANCES = "ec2:DescribeInstances"
NODES = "ssm:DescribeInstanceInformation"
PATCHES = "ssm:DescribeInstancePatchStates"
LISTINGS = (INSTANCES, NODES)
OPERATIONS = frozenset((*LISTINGS, PATCHES))
INSTANCE_PAGE = 1000
NODE_PAGE = 50
PATCHED_AT_ONCE = 50
"""Machines of one call. Source: Systems Manager API Reference, "DescribeInstancePatchStates"."""
ENDING = ("shutting-down", "terminated")
OF_EC2 = "i-"
NODE_FIELDS = (
    "managed",
    "ping_status",
    "agent_version",
    "agent_latest",
    "platform_name",
    "platform_version",
    "association_status",
)
PATCH_FIELDS = (
    "patch_group",
    "patch_baseline",
    "last_scan_time",
    "missing_count",
    "failed_count",
    "pending_reboot_count",
    "critical_noncompliant_count",
    "security_noncompliant_count",
)
FIELDS = frozenset(SsmNode.DESCRIPTOR.fields_by_name)

States = Mapping[str, str] | Unread
"""State in EC2 by machine."""


def collect(reader: Reader) -> Collected:
    """Read the machines of one region."""
    states = _states(reader)
    nodes = reader.items(NODES, "InstanceInformationList", page_size=NODE_PAGE, listing=True)
    account = reader.account
    place = f"{reader.region}:{account.cloud_account_id}"
    drafts = node_drafts(states, nodes, f"arn:{account.partition}", place)
    if not isinstance(nodes, Unread):
        managed = [draft for draft in drafts if draft.body.managed]
        reader.fan_out(lambda some: _read_patches(reader, some), batches(managed, PATCHED_AT_ONCE))
    unlisted = next((each for each in (states, nodes) if isinstance(each, Unread)), None)
    return Collected(drafts, unlisted)


def _states(reader: Reader) -> States:
    reader.ledger.is_listing(INSTANCES)
    found = reader.picked(
        INSTANCES,
        "Reservations",
        lambda reservation: [
            (str(each["InstanceId"]), str(each["State"]["Name"]))
            for each in reservation.get("Instances", ())
        ],
        page_size=INSTANCE_PAGE,
    )
    if isinstance(found, Unread):
        return found
    return {name: state for each in found for name, state in each if state not in ENDING}


def node_drafts(
    states: States, nodes: Iterable[Response] | Unread, partition: str, place: str
) -> list[Draft[SsmNode]]:
    """Bring together what EC2 and Systems Manager list.

    Systems Manager goes on to list a machine of EC2 for some time after its end.
    """
    known = {} if isinstance(nodes, Unread) else {str(each["InstanceId"]): each for each in nodes}
    running = {} if isinstance(states, Unread) else states
    drafts = []
    for name in dict.fromkeys((*running, *known)):
        of_ec2 = name.startswith(OF_EC2)
        if of_ec2 and name not in running and not isinstance(states, Unread):
            continue
        sort = "ec2:{}:instance/{}" if of_ec2 else "ssm:{}:managed-instance/{}"
        body = SsmNode(instance_id=name, instance_state=running.get(name))
        draft = Draft(native_id=name, arn=f"{partition}:{sort.format(place, name)}", body=body)
        if of_ec2 and isinstance(states, Unread):
            draft.miss(states, "instance_state")
        if isinstance(nodes, Unread):
            draft.miss(nodes, *NODE_FIELDS, *PATCH_FIELDS)
        else:
            fill_node(body, known.get(name))
        drafts.append(draft)
    return drafts


def fill_node(body: SsmNode, node: Response | None) -> None:
    """Fill what Systems Manager knows of a machine."""
    body.managed = node is not None
    if node is None:
        return
    body.ping_status = node.get("PingStatus", "Inactive")
    if (latest := node.get("IsLatestVersion")) is not None:
        body.agent_latest = latest
    for field, key in (
        ("agent_version", "AgentVersion"),
        ("platform_name", "PlatformName"),
        ("platform_version", "PlatformVersion"),
        ("association_status", "AssociationStatus"),
    ):
        if value := node.get(key):
            setattr(body, field, value)


def _read_patches(reader: Reader, drafts: Iterable[Draft[SsmNode]]) -> None:
    by_id = {draft.body.instance_id: draft for draft in drafts}
    found = reader.items(
        PATCHES, "InstancePatchStates", page_size=PATCHED_AT_ONCE, InstanceIds=list(by_id)
    )
    if isinstance(found, Unread):
        for draft in by_id.values():
            draft.miss(found, *PATCH_FIELDS)
        return
    for state in found:
        if scanned := by_id.get(str(state["InstanceId"])):
            fill_patches(scanned.body, state)


def fill_patches(body: SsmNode, state: Response) -> None:
    """Fill how a machine was patched when it was last scanned."""
    told: Any = state
    body.patch_baseline = told.get("BaselineId", "")
    if group := told.get("PatchGroup"):
        body.patch_group = group
    if ended := told.get("OperationEndTime"):
        body.last_scan_time.CopyFrom(timestamp(ended))
    body.missing_count = told.get("MissingCount", 0)
    body.failed_count = told.get("FailedCount", 0)
    body.pending_reboot_count = told.get("InstalledPendingRebootCount", 0)
    body.critical_noncompliant_count = told.get("CriticalNonCompliantCount", 0)
    body.security_noncompliant_count = told.get("SecurityNonCompliantCount", 0)


COLLECTOR = Collector(
    "ssm_patch",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
