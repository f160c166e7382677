"""Whether the internet reaches an instance: its own addresses and its security groups."""

from typing import Any

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.ec2_instance_pb2 import Ec2Instance
from services.inventory.collect import security_groups
from services.inventory.collect.derive import NOT_IN_ACCOUNT
from services.inventory.collect.draft import Draft, Truth, all_of, any_of
from services.inventory.collect.source import Source, Sources

GROUPS = "security_groups"


def fill_exposed(drafts: list[Draft[Ec2Instance]], sources: Sources) -> None:
    """Tell of each instance whether it has a public address and a group that lets everyone in."""
    source = sources[GROUPS]
    groups = {draft.body.group_id: draft for draft in source.drafts}
    for draft in drafts:
        opened = any_of(_admits(name, draft, groups, source) for name in draft.body.security_groups)
        draft.decide("exposed", all_of((bool(draft.body.public_ips), opened)))


def _admits(
    name: str, instance: Draft[Ec2Instance], groups: dict[str, Draft[Any]], source: Source
) -> Truth:
    group = groups.get(name)
    if group is None:
        # Groups of a shared VPC belong to another account.
        region = instance.arn.split(":")[3]
        foreign = Unread.of(security_groups.GROUPS, Outcome.FAILED, NOT_IN_ACCOUNT)
        return source.gap(region, security_groups.GROUPS) or foreign
    return group.unread.get("open_to_world") or bool(group.body.open_to_world)
