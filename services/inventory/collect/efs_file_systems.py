"""File systems of EFS: who reaches them and what is kept of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.efs_pb2 import EfsFileSystem
from services.inventory.collect.access_policy import EVERYONE, admits_everyone, texts
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.denials import denials, names_action, only_without_tls
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp
from services.inventory.collect.wildcards import matches

LIST = "efs:DescribeFileSystems"
TARGETS = "efs:DescribeMountTargets"
TARGET_GROUPS = "efs:DescribeMountTargetSecurityGroups"
ACCESS_POINTS = "efs:DescribeAccessPoints"
REPLICATIONS = "efs:DescribeReplicationConfigurations"
LISTINGS = (LIST,)
PAGE = 100
ENABLED = "ENABLED"
MOUNT = "elasticfilesystem:ClientMount"
FIELDS = frozenset(EfsFileSystem.DESCRIPTOR.fields_by_name)

Items = list[Response] | Unread


@dataclass(frozen=True)
class Part:
    """One read of a file system and the fields it fills."""

    operation: str
    fields: tuple[str, ...]
    fill: Callable[[str, EfsFileSystem, Response | None], None]
    """Gets the ARN first."""


def _backups(_: str, body: EfsFileSystem, response: Response | None) -> None:
    status = (response or {}).get("BackupPolicy", {}).get("Status")
    body.automatic_backups = status in (ENABLED, "ENABLING")


def _policy(arn: str, body: EfsFileSystem, response: Response | None) -> None:
    policy = (response or {}).get("Policy")
    if policy:
        body.policy = policy
    body.policy_public = admits_everyone(policy)
    body.tls_required = demands_tls(policy, arn)


def _lifecycle(_: str, body: EfsFileSystem, response: Response | None) -> None:
    policies = (response or {}).get("LifecyclePolicies", ())
    body.lifecycle.extend(
        sorted(f"{step} {after}" for each in policies for step, after in each.items())
    )


PARTS = (
    Part("efs:DescribeBackupPolicy", ("automatic_backups",), _backups),
    Part("efs:DescribeFileSystemPolicy", ("policy", "policy_public", "tls_required"), _policy),
    Part("efs:DescribeLifecycleConfiguration", ("lifecycle",), _lifecycle),
)
OPERATIONS = frozenset(
    (
        *(LIST, TARGETS, TARGET_GROUPS, ACCESS_POINTS, REPLICATIONS),
        *(part.operation for part in PARTS),
    )
)


def collect(reader: Reader) -> Collected:
    """Read the file systems of one region."""
    listed = reader.items(LIST, "FileSystems", page_size=PAGE, listing=True)
    if isinstance(listed, Unread):
        return Collected([], listed)
    if not listed:
        return Collected([])
    points = reader.items(ACCESS_POINTS, "AccessPoints", page_size=PAGE)
    replications = reader.items(REPLICATIONS, "Replications", page_size=PAGE)
    drafts = reader.fan_out(lambda each: _read(reader, each), listed)
    for draft in drafts:
        fill_access_points(draft, points)
        fill_replicas(draft, replications)
    return Collected(drafts)


def _read(reader: Reader, listed: Response) -> Draft[EfsFileSystem]:
    draft = file_system_draft(listed)
    name, arn = draft.body.file_system_id, draft.arn
    for part in PARTS:
        answer = reader.call(part.operation, resource=arn, FileSystemId=name)
        draft.take(answer, part.fields, partial(part.fill, arn))
    targets = _mount_targets(reader, draft)
    if isinstance(targets, Unread):
        draft.miss(targets, "mount_targets")
    else:
        draft.body.mount_targets.extend(targets)
    return draft


def _mount_targets(
    reader: Reader, draft: Draft[EfsFileSystem]
) -> list[EfsFileSystem.MountTarget] | Unread:
    targets = reader.picked(
        TARGETS,
        "MountTargets",
        mount_target,
        page_size=PAGE,
        resource=draft.arn,
        FileSystemId=draft.body.file_system_id,
    )
    if isinstance(targets, Unread):
        return targets
    for target in targets:
        answer = reader.call(
            TARGET_GROUPS, resource=draft.arn, MountTargetId=target.mount_target_id
        )
        if isinstance(answer, Unread):
            return answer
        if not isinstance(answer, Absent):
            target.security_groups.extend(sorted(answer.get("SecurityGroups", ())))
    return sorted(targets, key=lambda target: target.mount_target_id)


def file_system_draft(listed: Response) -> Draft[EfsFileSystem]:
    """Map one file system by its place in the list."""
    body = EfsFileSystem(
        file_system_id=listed["FileSystemId"],
        file_system_name=listed.get("Name") or None,
        state=listed.get("LifeCycleState", ""),
        encrypted=listed.get("Encrypted", False),
        kms_key_id=listed.get("KmsKeyId") or None,
        performance_mode=listed.get("PerformanceMode", "generalPurpose"),
        throughput_mode=listed.get("ThroughputMode", "bursting"),
        availability_zone=listed.get("AvailabilityZoneName") or None,
        tags=tag_map(listed.get("Tags", ())),
    )
    if created := listed.get("CreationTime"):
        body.creation_date.CopyFrom(timestamp(created))
    return Draft(native_id=body.file_system_id, arn=str(listed["FileSystemArn"]), body=body)


def mount_target(target: Response) -> EfsFileSystem.MountTarget:
    """Map one mount target, without its security groups."""
    return EfsFileSystem.MountTarget(
        mount_target_id=target["MountTargetId"],
        subnet_id=target.get("SubnetId", ""),
        availability_zone=target.get("AvailabilityZoneName", ""),
    )


def fill_access_points(draft: Draft[EfsFileSystem], points: Items) -> None:
    """Fill the access points of a file system from those of its region."""
    if isinstance(points, Unread):
        draft.miss(points, "access_points")
        return
    own = [each for each in points if each.get("FileSystemId") == draft.body.file_system_id]
    for point in sorted(own, key=lambda each: str(each["AccessPointId"])):
        user: Any = point.get("PosixUser") or {}
        draft.body.access_points.add(
            access_point_id=point["AccessPointId"],
            root_directory=(point.get("RootDirectory") or {}).get("Path", "/"),
            uid=user.get("Uid"),
            gid=user.get("Gid"),
        )


def fill_replicas(draft: Draft[EfsFileSystem], replications: Items) -> None:
    """Fill where a file system is replicated to."""
    if isinstance(replications, Unread):
        draft.miss(replications, "replica_regions")
        return
    regions = {
        str(destination["Region"])
        for each in replications
        if each.get("SourceFileSystemId") == draft.body.file_system_id
        for destination in each.get("Destinations", ())
    }
    draft.body.replica_regions.extend(sorted(regions))


def demands_tls(policy: object, arn: str) -> bool:
    """Tell whether a policy denies everyone to mount a file system without TLS.

    A statement with further conditions or a narrower principal does not count.
    """
    return any(
        only_without_tls(each) and names_action(each, MOUNT) and _concerns(each, arn)
        for each in denials(policy)
    )


def _concerns(statement: dict[str, Any], arn: str) -> bool:
    # Without a resource a statement speaks of the file system that has the policy.
    named = texts(statement.get("Resource", EVERYONE))
    return any(matches(pattern, arn) for pattern in named)


COLLECTOR = Collector(
    "efs_file_systems",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
