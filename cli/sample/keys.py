"""Keys of the sample account."""

import json
from typing import Any

from cli.sample.clients import ACCOUNT


def make_keys(kms: Any) -> str:
    """Make a key that is well kept and give its id, and for each check one that is not."""
    kept = _key(kms, "data", "Encrypts figures and reports")
    kms.enable_key_rotation(KeyId=kept)
    kms.tag_resource(KeyId=kept, Tags=[{"TagKey": "owner", "TagValue": "data"}])
    kms.create_grant(
        KeyId=kept,
        GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:role/etl",
        Operations=["Decrypt"],
    )
    _key(kms, "archive", "Was never rotated")
    shared = _key(kms, "shared", "Anyone in the world may decrypt with it")
    kms.enable_key_rotation(KeyId=shared)
    kms.put_key_policy(KeyId=shared, PolicyName="default", Policy=_open_policy())
    _key(kms, "signing", "Signs releases", KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    kms.schedule_key_deletion(KeyId=_key(kms, "retired", "Is to be deleted"))
    return kept


def _key(kms: Any, alias: str, description: str, **more: str) -> str:
    key = str(kms.create_key(Description=description, **more)["KeyMetadata"]["KeyId"])
    kms.create_alias(AliasName=f"alias/{alias}", TargetKeyId=key)
    return key


def _open_policy() -> str:
    own = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    statements = [
        {"Effect": "Allow", "Principal": own, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
