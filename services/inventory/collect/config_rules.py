"""Rules of AWS Config: what they look at and what they found."""

from collections.abc import Mapping

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.config_pb2 import ConfigRule
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft

LIST = "config:DescribeConfigRules"
COMPLIANCE = "config:DescribeComplianceByConfigRule"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, COMPLIANCE))
FIELDS = frozenset(ConfigRule.DESCRIPTOR.fields_by_name)
COMPLIANCE_FIELDS = ("compliance_type", "noncompliant_count", "noncompliant_count_capped")

Found = Mapping[str, Response] | Unread
"""What each rule found, by its name."""


def collect(reader: Reader) -> Collected:
    """Read the rules of one region."""
    rules = reader.items(LIST, "ConfigRules", listing=True)
    if isinstance(rules, Unread):
        return Collected([], rules)
    found = _found(reader) if rules else {}
    return Collected([rule_draft(rule, found) for rule in rules])


def _found(reader: Reader) -> Found:
    listed = reader.items(COMPLIANCE, "ComplianceByConfigRules")
    if isinstance(listed, Unread):
        return listed
    return {str(each["ConfigRuleName"]): each.get("Compliance", {}) for each in listed}


def rule_draft(rule: Response, found: Found) -> Draft[ConfigRule]:
    """Map one rule and what it found."""
    source, scope = rule.get("Source", {}), rule.get("Scope", {})
    body = ConfigRule(
        rule_name=rule["ConfigRuleName"],
        rule_id=rule.get("ConfigRuleId", ""),
        description=rule.get("Description", ""),
        owner=source.get("Owner", ""),
        source_identifier=source.get("SourceIdentifier") or None,
        state=rule.get("ConfigRuleState", ""),
        resource_types=sorted(scope.get("ComplianceResourceTypes", ())),
        resource_id=scope.get("ComplianceResourceId") or None,
        tag_key=scope.get("TagKey") or None,
        input_parameters=rule.get("InputParameters") or None,
        frequency=rule.get("MaximumExecutionFrequency") or None,
        evaluation_modes=sorted(each["Mode"] for each in rule.get("EvaluationModes", ())),
        created_by=rule.get("CreatedBy") or None,
    )
    draft = Draft(native_id=body.rule_name, arn=str(rule.get("ConfigRuleArn", "")), body=body)
    if isinstance(found, Unread):
        draft.miss(found, *COMPLIANCE_FIELDS)
    elif compliance := found.get(body.rule_name):
        count = compliance.get("ComplianceContributorCount", {})
        body.compliance_type = compliance.get("ComplianceType", "")
        body.noncompliant_count = count.get("CappedCount", 0)
        body.noncompliant_count_capped = count.get("CapExceeded", False)
    return draft


COLLECTOR = Collector(
    "config_rules",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
