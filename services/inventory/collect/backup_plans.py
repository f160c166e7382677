"""Plans of AWS Backup: what they back up, when, where to and for how long."""

from collections.abc import Iterable
from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.aws_backup_pb2 import BackupPlan
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

PLANS = "backup:ListBackupPlans"
PLAN = "backup:GetBackupPlan"
SELECTIONS = "backup:ListBackupSelections"
SELECTION = "backup:GetBackupSelection"
TAGS = "backup:ListTags"
LISTINGS = (PLANS,)
OPERATIONS = frozenset((PLANS, PLAN, SELECTIONS, SELECTION, TAGS))
PAGE = 1000
RULE_FIELDS = ("rules", "copies_elsewhere")
FIELDS = frozenset(BackupPlan.DESCRIPTOR.fields_by_name)
TAG_KEY = "aws:ResourceTag/"
"""Begins the keys of conditions; those of single tags have the tag's key alone."""
OPERATORS = ("StringEquals", "StringLike", "StringNotEquals", "StringNotLike")
_ARN_PARTS = 6


def collect(reader: Reader) -> Collected:
    """Read the plans of one region."""
    plans = reader.items(PLANS, "BackupPlansList", page_size=PAGE, listing=True)
    if isinstance(plans, Unread):
        return Collected([], plans)
    read = reader.fan_out(lambda plan: _read(reader, plan), plans)
    return Collected([draft for draft in read if draft is not None])


def _read(reader: Reader, listed: Response) -> Draft[BackupPlan] | None:
    draft = plan_draft(listed)
    plan = draft.body.plan_id
    answer = reader.call(PLAN, resource=draft.arn, BackupPlanId=plan)
    if isinstance(answer, Absent):
        return None
    here = f"{reader.region}:{reader.account.cloud_account_id}"
    draft.take(answer, RULE_FIELDS, lambda body, told: fill_rules(body, told, here))
    selections = _selections(reader, draft)
    if isinstance(selections, Unread):
        draft.miss(selections, "selections")
    else:
        draft.body.selections.extend(selections)
    draft.take(reader.call(TAGS, resource=draft.arn, ResourceArn=draft.arn), ("tags",), _fill_tags)
    return draft


def _selections(reader: Reader, draft: Draft[BackupPlan]) -> list[BackupPlan.Selection] | Unread:
    plan = draft.body.plan_id
    listed = reader.picked(
        SELECTIONS,
        "BackupSelectionsList",
        lambda selection: str(selection["SelectionId"]),
        page_size=PAGE,
        resource=draft.arn,
        BackupPlanId=plan,
    )
    if isinstance(listed, Unread):
        return listed
    found = []
    for each in sorted(listed):
        answer = reader.call(SELECTION, resource=draft.arn, BackupPlanId=plan, SelectionId=each)
        if isinstance(answer, Unread):
            return answer
        if not isinstance(answer, Absent):
            found.append(selection_of(answer["BackupSelection"]))
    return found


def plan_draft(listed: Response) -> Draft[BackupPlan]:
    """Map one plan by its place in the list."""
    body = BackupPlan(
        plan_id=listed["BackupPlanId"],
        plan_name=listed.get("BackupPlanName", ""),
    )
    if created := listed.get("CreationDate"):
        body.creation_date.CopyFrom(timestamp(created))
    return Draft(native_id=body.plan_id, arn=str(listed["BackupPlanArn"]), body=body)


def fill_rules(body: BackupPlan, response: Response | None, here: str) -> None:
    """Fill the rules, and whether one copies away from here, which is ``region:account``."""
    told: Any = (response or {}).get("BackupPlan", {})
    body.rules.extend(map(_rule, told.get("Rules", ())))
    body.copies_elsewhere = any(
        _place(vault) != here for rule in body.rules for vault in rule.copied_to
    )


def _rule(rule: Response) -> BackupPlan.Rule:
    lifecycle: Any = rule.get("Lifecycle") or {}
    return BackupPlan.Rule(
        rule_name=rule["RuleName"],
        schedule=rule.get("ScheduleExpression") or None,
        vault_name=rule.get("TargetBackupVaultName", ""),
        retention_days=lifecycle.get("DeleteAfterDays"),
        cold_storage_days=lifecycle.get("MoveToColdStorageAfterDays"),
        continuous=rule.get("EnableContinuousBackup", False),
        copied_to=sorted(copy["DestinationBackupVaultArn"] for copy in rule.get("CopyActions", ())),
    )


def _place(arn: str) -> str:
    parts = arn.split(":")
    return ":".join(parts[3:5]) if len(parts) >= _ARN_PARTS else ""


def selection_of(selection: Response) -> BackupPlan.Selection:
    """Map one selection; of its conditions the keys are the tags' own."""
    conditions: Any = selection.get("Conditions") or {}
    return BackupPlan.Selection(
        selection_name=selection["SelectionName"],
        role=selection.get("IamRoleArn", ""),
        resources=sorted(selection.get("Resources", ())),
        excluded=sorted(selection.get("NotResources", ())),
        any_tag=_tag_rules("StringEquals", selection.get("ListOfTags", ())),
        all_tags=[
            rule
            for operator in OPERATORS
            for rule in _tag_rules(operator, conditions.get(operator) or ())
        ],
    )


def _tag_rules(operator: str, told: Iterable[Response]) -> list[BackupPlan.TagRule]:
    return [
        BackupPlan.TagRule(
            operator=operator,
            key=str(each["ConditionKey"]).removeprefix(TAG_KEY),
            value=each.get("ConditionValue", ""),
        )
        for each in told
    ]


def _fill_tags(body: BackupPlan, response: Response | None) -> None:
    body.tags.update((response or {}).get("Tags") or {})


COLLECTOR = Collector(
    "backup_plans",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
