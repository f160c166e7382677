"""Which actions the statements of a policy allow, on what and to whom.

Sources: AWS IAM User Guide, "IAM JSON policy elements: Action", "NotAction" and "Resource"; AWS
Security Hub, controls IAM.21, KMS.1 and S3.6, whose list of actions on a bucket is extended by
those that write and delete objects.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from services.inventory.collect.access_policy import (
    EVERYONE,
    admits_everyone,
    foreign_accounts,
    policy_document,
)

DECRYPTING = ("kms:Decrypt", "kms:ReEncryptFrom")
BUCKET_WRITING = (
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:DeleteObject",
    "s3:PutBucketAcl",
    "s3:PutBucketPolicy",
    "s3:PutEncryptionConfiguration",
    "s3:PutObject",
    "s3:PutObjectAcl",
)
_ARN_PARTS = 6


def whole_services(policy: object) -> list[str]:
    """Give the services of which a statement allows every action, unconditionally; ``*`` is all."""
    found: set[str] = set()
    for statement in _allowing(policy):
        if statement.get("Condition"):
            continue
        if "NotAction" in statement:
            # Every action but a few.
            found.add(EVERYONE)
        for action in _texts(statement.get("Action")):
            service, _, name = action.partition(":")
            if set(action) == {EVERYONE} or (name and set(name) == {EVERYONE}):
                found.add(service.lower() if set(service) != {EVERYONE} else EVERYONE)
    return sorted(found)


def decrypts_with_all_keys(policy: object) -> bool:
    """Tell whether a statement allows to decrypt with every key, without a condition."""
    return any(
        not statement.get("Condition")
        and _allows_any(statement, DECRYPTING)
        and any(map(_is_every_key, _texts(statement.get("Resource"))))
        for statement in _allowing(policy)
    )


def lets_others_write(policy: object, own: str) -> bool:
    """Tell whether a bucket policy lets another account write, delete or change who may."""
    return any(
        _allows_any(statement, BUCKET_WRITING)
        and (
            foreign_accounts({"Statement": statement}, own)
            or admits_everyone({"Statement": statement})
        )
        for statement in _allowing(policy)
    )


def _allows_any(statement: dict[str, Any], actions: Iterable[str]) -> bool:
    if "NotAction" in statement:
        kept = _texts(statement.get("NotAction"))
        return not all(_is_named(action, kept) for action in actions)
    given = _texts(statement.get("Action"))
    return any(_is_named(action, given) for action in actions)


def _is_named(action: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


def _is_every_key(resource: str) -> bool:
    if set(resource) == {EVERYONE}:
        return True
    parts = resource.split(":", _ARN_PARTS - 1)
    named = len(parts) == _ARN_PARTS and parts[2] in ("kms", EVERYONE)
    return named and parts[5] in (EVERYONE, "key/*", "key*")


def _allowing(policy: object) -> list[dict[str, Any]]:
    found = policy_document(policy).get("Statement")
    listed = found if isinstance(found, list) else [found]
    return [each for each in listed if isinstance(each, dict) and each.get("Effect") == "Allow"]


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(each for each in value if isinstance(each, str))
    return ()
