"""What a bucket policy demands of a connection."""

import json
from collections.abc import Iterable
from typing import Any

SECURE_TRANSPORT = "aws:securetransport"


def demands_tls(policy: str, bucket: str, partition: str = "aws") -> bool:
    """Tell whether a policy denies everyone every S3 action without TLS, on bucket and objects.

    The two resources may be denied by two statements. A statement with further
    conditions, a narrower principal or exceptions does not count. A text that is
    no policy demands nothing.
    """
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        return False
    denied: set[str] = set()
    for statement in _statements(document):
        if _denies_plain_text(statement):
            denied.update(_texts(statement.get("Resource")))
    if "*" in denied:
        return True
    arn = f"arn:{partition}:s3:::{bucket}"
    whole = {f"arn:{partition}:s3:::*", f"{arn}*"} & denied
    return bool(whole) or {arn, f"{arn}/*"} <= denied


def _statements(document: Any) -> list[dict[str, Any]]:
    found = document.get("Statement") if isinstance(document, dict) else None
    listed = found if isinstance(found, list) else [found]
    return [each for each in listed if isinstance(each, dict)]


def _denies_plain_text(statement: dict[str, Any]) -> bool:
    return (
        statement.get("Effect") == "Deny"
        and _everyone(statement.get("Principal"))
        and any(text.lower() in ("*", "s3:*") for text in _texts(statement.get("Action")))
        and _only_without_tls(statement.get("Condition"))
    )


def _everyone(principal: Any) -> bool:
    if isinstance(principal, dict):
        return "*" in _texts(principal.get("AWS"))
    return bool(principal == "*")


def _only_without_tls(condition: Any) -> bool:
    """Accept Bool on aws:SecureTransport alone; more conditions would narrow the denial."""
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


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(each for each in value if isinstance(each, str))
    return ()
