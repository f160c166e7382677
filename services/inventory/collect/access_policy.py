"""Whom a policy lets in, and how much it permits.

Sources: AWS IAM User Guide, "Grammar of the IAM JSON policy language" and "AWS global
condition context keys"; Amazon S3 User Guide, "The meaning of public", whose list of
limiting keys is extended by those of KMS and EFS (Amazon EFS User Guide, "The meaning of public").
"""

import json
import re
from collections.abc import Iterable
from typing import Any

EVERYONE = "*"
EXTERNAL_ID = "sts:externalid"
# Keys whose value says who or from where, so that a condition on them limits a principal `*`.
_LIMITING = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceip",
        "aws:sourceorgid",
        "aws:sourceorgpaths",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "aws:vpcsourceip",
        "elasticfilesystem:accesspointarn",
        "kms:calleraccount",
    }
)
_LIMITING_OPERATORS = frozenset(
    {
        "arnequals",
        "arnlike",
        "ipaddress",
        "stringequals",
        "stringequalsignorecase",
        "stringlike",
    }
)
_MOUNTED = "elasticfilesystem:accessedviamounttarget"
"""Only who reaches a network interface of the file system meets a demand for it."""
_ACCOUNT = re.compile(r"(?:arn:[^:]*:(?:iam|sts)::)?(?P<account>\d{12})(?::.*)?", re.DOTALL)
_ARN_PARTS = 6
_WHOLE_NETWORKS = frozenset({"0.0.0.0/0", "::/0"})


def policy_document(policy: object) -> dict[str, Any]:
    """Give a policy, written or parsed; empty if it is none."""
    if isinstance(policy, str):
        try:
            policy = json.loads(policy)
        except (ValueError, RecursionError):
            return {}
    return policy if isinstance(policy, dict) else {}


def policy_text(policy: object) -> str:
    """Give a parsed policy as JSON text that is the same whenever the policy is."""
    if isinstance(policy, str):
        return policy
    return json.dumps(policy, sort_keys=True, separators=(",", ":"))


def admits_everyone(policy: object) -> bool:
    """Tell whether a statement lets any principal in without a condition that says who."""
    return any(_names_everyone(each) and not is_limited(each) for each in _allowing(policy))


def foreign_accounts(policy: object, own: str) -> frozenset[str]:
    """Give the accounts other than ``own`` that a policy's principals name."""
    named = {
        found["account"]
        for statement in _allowing(policy)
        for principal in principals(statement, "AWS")
        if (found := _ACCOUNT.fullmatch(principal))
    }
    return frozenset(named - {own})


def trusted(policy: object, kind: str) -> list[str]:
    """Give the principals of one kind (``AWS``, ``Service``, ``Federated``), each once."""
    return sorted({each for found in _allowing(policy) for each in principals(found, kind)})


def demands_external_id(policy: object, own: str) -> bool:
    """Tell whether every statement that lets another account in asks for an external id."""
    return all(
        EXTERNAL_ID in _demanded_keys(statement)
        for statement in _allowing(policy)
        if foreign_accounts({"Statement": statement}, own)
    )


def permits_everything(policy: object) -> bool:
    """Tell whether one statement allows every action on every resource, without a condition."""
    return any(
        EVERYONE in texts(statement.get("Resource"))
        and any(action in (EVERYONE, "*:*") for action in texts(statement.get("Action")))
        and not statement.get("Condition")
        for statement in _allowing(policy)
    )


def principals(statement: dict[str, Any], kind: str) -> Iterable[str]:
    """Give a statement's principals of one kind; ``*`` alone is one of ``AWS``."""
    named = statement.get("Principal")
    if isinstance(named, dict):
        return texts(named.get(kind))
    return texts(named) if kind == "AWS" else ()


def is_limited(statement: dict[str, Any]) -> bool:
    """Tell whether a condition says who may come, or from where."""
    return not _LIMITING.isdisjoint(_demanded_keys(statement)) or _is_via_network(statement)


def _is_via_network(statement: dict[str, Any]) -> bool:
    condition = statement.get("Condition")
    if not isinstance(condition, dict):
        return False
    return any(
        str(key).lower() == _MOUNTED and str(value).lower() == "true"
        for operator, keys in condition.items()
        if str(operator).lower() == "bool" and isinstance(keys, dict)
        for key, value in keys.items()
    )


def _demanded_keys(statement: dict[str, Any]) -> Iterable[str]:
    """Give the keys that a condition demands a value of, in lower case."""
    condition = statement.get("Condition")
    if not isinstance(condition, dict):
        return frozenset()
    return frozenset(
        str(key).lower()
        for operator, keys in condition.items()
        # With ForAllValues or IfExists a request without the key passes.
        if str(operator).lower().removeprefix("foranyvalue:") in _LIMITING_OPERATORS
        and isinstance(keys, dict)
        for key, value in keys.items()
        if _is_narrow(value)
    )


def _is_narrow(value: object) -> bool:
    values = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    return bool(values) and not any(map(_matches_anyone, values))


def _matches_anyone(value: str) -> bool:
    parts = value.split(":", 5)
    any_account = parts[0] == "arn" and len(parts) == _ARN_PARTS and "*" in parts[4]
    return any_account or set(value) <= {"*", "?", ":"} or value in _WHOLE_NETWORKS


def _names_everyone(statement: dict[str, Any]) -> bool:
    # An Allow with NotPrincipal lets in all but a few.
    return EVERYONE in principals(statement, "AWS") or "NotPrincipal" in statement


def policy_statements(policy: object) -> list[dict[str, Any]]:
    """Give a policy's statements, one or many."""
    found = policy_document(policy).get("Statement")
    listed = found if isinstance(found, list) else [found]
    return [each for each in listed if isinstance(each, dict)]


def _allowing(policy: object) -> list[dict[str, Any]]:
    return [each for each in policy_statements(policy) if each.get("Effect") == "Allow"]


def texts(value: object) -> tuple[str, ...]:
    """Give a policy element that is one text or a list of them."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(each for each in value if isinstance(each, str))
    return ()
