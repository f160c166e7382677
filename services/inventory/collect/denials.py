"""What policies deny everyone.

Source: AWS IAM User Guide, "Grammar of the IAM JSON policy language".
"""

from typing import Any

from services.inventory.collect.access_policy import EVERYONE, policy_statements, principals, texts
from services.inventory.collect.wildcards import matches

SECURE_TRANSPORT = "aws:securetransport"


def denials(policy: object) -> list[dict[str, Any]]:
    """Give the statements of a policy that deny everyone something."""
    return [
        each
        for each in policy_statements(policy)
        if each.get("Effect") == "Deny" and EVERYONE in principals(each, "AWS")
    ]


def names_action(statement: dict[str, Any], action: str) -> bool:
    """Tell whether a statement's actions hold this one; AWS does not mind their case."""
    return any(
        matches(pattern.lower(), action.lower()) for pattern in texts(statement.get("Action"))
    )


def only_without_tls(statement: dict[str, Any]) -> bool:
    """Tell whether plain text is the one condition of a statement; more would narrow it."""
    condition = statement.get("Condition")
    if not isinstance(condition, dict) or len(condition) != 1:
        return False
    ((operator, keys),) = condition.items()
    if str(operator).lower() not in ("bool", "boolifexists") or not isinstance(keys, dict):
        return False
    if [str(key).lower() for key in keys] != [SECURE_TRANSPORT]:
        return False
    ((_, value),) = keys.items()
    values = value if isinstance(value, list) else [value]
    return any(str(each).lower() == "false" for each in values)
