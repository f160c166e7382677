"""Whether the internet reaches a database: its own address, its routes, its security groups."""

from typing import Any

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.ec2_pb2 import PortRange
from secmesh.inventory.v1.rds_pb2 import RdsInstance
from services.inventory.collect import security_groups
from services.inventory.collect.derive import NOT_IN_ACCOUNT
from services.inventory.collect.draft import Draft, Truth, all_of, any_of
from services.inventory.collect.source import Source, Sources

GROUPS = "security_groups"
_TCP = ("tcp", security_groups.ALL)


def fill_public(drafts: list[Draft[RdsInstance]], sources: Sources) -> None:
    """Tell of each instance whether the internet reaches it."""
    source = sources[GROUPS]
    groups = {draft.body.group_id: draft for draft in source.drafts}
    for draft in drafts:
        opened = any_of(_admits(name, draft, groups, source) for name in draft.body.security_groups)
        facts = (draft.truth("publicly_accessible"), draft.truth("routed_to_internet"), opened)
        draft.decide("public", all_of(facts))


def _admits(
    name: str, instance: Draft[RdsInstance], groups: dict[str, Draft[Any]], source: Source
) -> Truth:
    group = groups.get(name)
    if group is None:
        # Groups of a shared VPC belong to another account.
        region = instance.arn.split(":")[3]
        foreign = Unread.of(security_groups.GROUPS, Outcome.FAILED, NOT_IN_ACCOUNT)
        return source.gap(region, security_groups.GROUPS) or foreign
    unread = group.unread.get("open_to_world")
    return unread or any(_covers(span, instance.body) for span in group.body.open_to_world)


def _covers(span: PortRange, instance: RdsInstance) -> bool:
    if span.protocol not in _TCP:
        return False
    # While an instance is being made nobody knows its port.
    return not instance.HasField("port") or span.from_port <= instance.port <= span.to_port
