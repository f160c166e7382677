"""Service control policies: which of them keep to certain regions, or hold the root users back.

Sources: AWS Organizations User Guide, "Service control policies (SCPs)", and its examples "Deny
access to AWS based on the requested AWS Region" and "Restrict root user access".
"""

from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from services.inventory.collect.access_policy import policy_document

POLICY = "organizations:DescribePolicy"
TARGETS = "organizations:ListTargetsForPolicy"
PAGE = 20
_REGION = "aws:requestedregion"
_PRINCIPAL = "aws:principalarn"
_ROOT = ":root"


def limiting(reader: Reader, policies: list[Response]) -> list[str] | Unread:
    """Give the names of the policies that limit regions or root users and are attached."""
    # What AWS makes itself permits everything.
    own = [policy for policy in policies if not policy.get("AwsManaged")]
    answers = reader.fan_out(lambda policy: _is_limiting(reader, policy), own)
    gap = next((each for each in answers if isinstance(each, Unread)), None)
    if gap is not None:
        return gap
    return sorted(str(policy["Name"]) for policy, truth in zip(own, answers, strict=True) if truth)


def _is_limiting(reader: Reader, policy: Response) -> bool | Unread:
    asked = {"resource": policy["Arn"], "PolicyId": policy["Id"]}
    targets = reader.items(TARGETS, "Targets", page_size=PAGE, **asked)
    if isinstance(targets, Unread):
        return targets
    told = reader.call(POLICY, **asked) if targets else Absent("")
    if isinstance(told, Unread):
        return told
    return not isinstance(told, Absent) and limits_regions_or_root(told["Policy"]["Content"])


def limits_regions_or_root(policy: object) -> bool:
    """Tell whether a statement denies what is asked of other regions, or what root users ask."""
    found = policy_document(policy).get("Statement")
    statements = found if isinstance(found, list) else [found]
    return any(
        isinstance(each, dict) and each.get("Effect") == "Deny" and _is_about(each.get("Condition"))
        for each in statements
    )


def _is_about(condition: Any) -> bool:
    if not isinstance(condition, dict):
        return False
    return any(
        _limits(str(operator).lower(), str(key).lower(), value)
        for operator, keys in condition.items()
        if isinstance(keys, dict)
        for key, value in keys.items()
    )


def _limits(operator: str, key: str, value: object) -> bool:
    if key == _REGION:
        return True
    values = value if isinstance(value, list) else [value]
    positive = operator.startswith(("stringlike", "arnlike", "stringequals", "arnequals"))
    return key == _PRINCIPAL and positive and any(str(each).endswith(_ROOT) for each in values)
