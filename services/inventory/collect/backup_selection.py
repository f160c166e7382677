"""What the plans of AWS Backup select.

Source: AWS Backup Developer Guide, "BackupSelection": ARNs and single tags add up, each is
enough; conditions must all hold; exclusions win.
"""

from collections.abc import Mapping
from typing import Any

from secmesh.inventory.v1.aws_backup_pb2 import BackupPlan
from services.inventory.collect.backup_plans import PLANS
from services.inventory.collect.draft import Draft, Truth, any_of
from services.inventory.collect.source import Source, Sources
from services.inventory.collect.wildcards import matches

COLLECTION = "backup_plans"
FIELD = "in_backup_plan"


def fill_planned(drafts: list[Draft[Any]], sources: Sources) -> None:
    """Tell of each resource whether a plan of its region selects it."""
    for draft in drafts:
        draft.decide(FIELD, planned(draft, sources[COLLECTION]))


def planned(resource: Draft[Any], plans: Source) -> Truth:
    """True if one of the plans selects a resource."""
    region = resource.arn.split(":")[3]
    selected = any_of(
        _selects(plan, resource) for plan in plans.drafts if plan.arn.split(":")[3] == region
    )
    return selected or plans.gap(region, PLANS) or False


def _selects(plan: Draft[BackupPlan], resource: Draft[Any]) -> Truth:
    unread = plan.unread.get("selections") or resource.unread.get("tags")
    return unread or any(
        covers(each, resource.arn, resource.body.tags) for each in plan.body.selections
    )


def covers(selection: BackupPlan.Selection, arn: str, tags: Mapping[str, str]) -> bool:
    """Tell whether a selection holds a resource, by its ARN and its tags."""
    if any(matches(pattern, arn) for pattern in selection.excluded):
        return False
    named = any(matches(pattern, arn) for pattern in selection.resources)
    tagged = any(_holds(rule, tags) for rule in selection.any_tag)
    # Without either it starts from everything.
    chosen = named or tagged or not (selection.resources or selection.any_tag)
    return chosen and all(_holds(rule, tags) for rule in selection.all_tags)


def _holds(rule: BackupPlan.TagRule, tags: Mapping[str, str]) -> bool:
    value = tags.get(rule.key)
    found = value is not None and (
        matches(rule.value, value) if rule.operator.endswith("Like") else rule.value == value
    )
    return found != rule.operator.startswith("StringNot")
