"""What IAM is asked when a call of AWS is made: actions, resources and condition keys.

A call may ask several questions: a transaction one for each of its actions, a tagged secret one
for its tags, and whatever is kept under a key of KMS one for that key. Sources: the service
authorization reference, and "Encryption context" of DynamoDB and Secrets Manager.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.tenancy.policy.document import Request
from services.tenancy.policy.patterns import Context

Parameters = Mapping[str, Any]
_EQUALS = re.compile(r"(#?\w+)\s*=\s*(:\w+)")
_SECRET_SUFFIX = "-AbCdEf"  # noqa: S105  # what AWS adds to a secret's name in its ARN
_KEY = "00000000-0000-0000-0000-000000000000"
_TABLES_KEY, _SECRETS_KEY = "alias/threat-engine-tables", "alias/threat-engine-secrets"
_IN_TRANSACTION = {
    "Put": ("PutItem", "Item"),
    "Update": ("UpdateItem", "Key"),
    "Delete": ("DeleteItem", "Key"),
    "ConditionCheck": ("ConditionCheckItem", "Key"),
}
_WRITES_SECRET = {"CreateSecret", "PutSecretValue"}
_READS_SECRET = {"GetSecretValue"}
_OF_ITEM = {"GetItem", "PutItem", "UpdateItem", "DeleteItem"}
_OF_TABLE = {
    "CreateTable",
    "DescribeTable",
    "UpdateTable",
    "DeleteTable",
    "DescribeTimeToLive",
    "UpdateTimeToLive",
    "DescribeContinuousBackups",
    "UpdateContinuousBackups",
}
_TO_ENCRYPT_A_TABLE = ("DescribeKey", "CreateGrant", "Encrypt", "Decrypt", "GenerateDataKey")
_NEW_KEY = {"CreateKey"}
_ALIASES = {"CreateAlias", "UpdateAlias", "DeleteAlias"}


@dataclass(frozen=True)
class Call:
    """A call of AWS as botocore makes it."""

    service: str
    """Name of the service's endpoint, such as ``dynamodb``."""
    operation: str
    parameters: Parameters


@dataclass(frozen=True)
class Account:
    """Where calls are made, and what IAM knows there of what they name."""

    number: str = "111122223333"
    region: str = "eu-west-1"
    secret_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Tags by name of secret."""
    key_tags: Mapping[str, str] = field(default_factory=lambda: {"Project": "threat-engine"})
    """Tags of the keys that calls name by an id."""
    partition_key: str = "pk"

    def arn(self, service: str, resource: str) -> str:
        """Name a resource of this account."""
        return f"arn:aws:{service}:{self.region}:{self.number}:{resource}"


class CallUnknown(Exception):
    """A call of which this does not know what IAM is asked."""


def requests_of(call: Call, account: Account) -> list[Request]:
    """Give all questions to IAM that a call causes; CallUnknown."""
    asking = _SERVICES.get(call.service)
    if asking is None:
        raise CallUnknown(f"{call.service}:{call.operation}")
    return list(asking(call.operation, call.parameters, account))


def _dynamodb(operation: str, given: Parameters, account: Account) -> Iterator[Request]:
    if operation in _OF_TABLE:
        table = str(given["TableName"])
        yield Request(f"dynamodb:{operation}", account.arn("dynamodb", f"table/{table}"))
        if given.get("SSESpecification", {}).get("KMSMasterKeyId"):
            for action in _TO_ENCRYPT_A_TABLE:
                yield _kms(action, _TABLES_KEY, "dynamodb", {}, account)
        return
    for action, table, index, keys in _reached(operation, given, account.partition_key):
        resource = f"table/{table}" + (f"/index/{index}" if index else "")
        context = {"dynamodb:leadingkeys": tuple(keys)} if keys else {}
        yield Request(f"dynamodb:{action}", account.arn("dynamodb", resource), context)
        bound = {"kms:encryptioncontext:aws:dynamodb:tablename": (table,)}
        yield _kms("Decrypt", _TABLES_KEY, "dynamodb", bound, account)


def _reached(
    operation: str, given: Parameters, partition: str
) -> Iterator[tuple[str, str, str, list[str]]]:
    """Give action, table, index and partition keys of each item or page that is reached."""
    if operation == "TransactWriteItems":
        for each in given["TransactItems"]:
            ((kind, part),) = each.items()
            action, place = _IN_TRANSACTION[kind]
            yield action, part["TableName"], "", [_text(part[place][partition])]
    elif operation == "TransactGetItems":
        for each in given["TransactItems"]:
            part = each["Get"]
            yield "GetItem", part["TableName"], "", [_text(part["Key"][partition])]
    elif operation == "BatchGetItem":
        for table, part in given["RequestItems"].items():
            yield operation, table, "", [_text(each[partition]) for each in part["Keys"]]
    elif operation in {"Query", "Scan"}:
        keys = [_queried(given)] if operation == "Query" else []
        yield operation, given["TableName"], given.get("IndexName", ""), keys
    elif operation in _OF_ITEM:
        place = "Item" if operation == "PutItem" else "Key"
        yield operation, given["TableName"], "", [_text(given[place][partition])]
    else:
        raise CallUnknown(f"dynamodb:{operation}")


def _queried(given: Parameters) -> str:
    """Give the partition of a query: what its one equality compares with."""
    (found,) = _EQUALS.findall(given["KeyConditionExpression"])
    return _text(given["ExpressionAttributeValues"][found[1]])


def _text(value: Any) -> str:
    """Take a text as the low-level client has it, or plain."""
    return str(value["S"]) if isinstance(value, Mapping) else str(value)


def _secretsmanager(operation: str, given: Parameters, account: Account) -> Iterator[Request]:
    name = str(given.get("Name") or given["SecretId"])
    if name.startswith("arn:"):
        arn, name = name, name.partition(":secret:")[2].removesuffix(_SECRET_SUFFIX)
    else:
        arn = account.arn("secretsmanager", f"secret:{name}{_SECRET_SUFFIX}")
    asked = {each["Key"]: each["Value"] for each in given.get("Tags", ())}
    # What is made has no tags yet that a condition could look at.
    has = {} if operation == "CreateSecret" else account.secret_tags.get(name, {})
    context = _tag_keys("resourcetag", has)
    context |= _tag_keys("requesttag", asked)
    own = {
        "secretsmanager:versionstage": given.get("VersionStage"),
        "secretsmanager:kmskeyid": given.get("KmsKeyId"),
        "secretsmanager:recoverywindowindays": given.get("RecoveryWindowInDays"),
        "secretsmanager:forcedeletewithoutrecovery": given.get("ForceDeleteWithoutRecovery"),
    }
    said = {key: (str(value),) for key, value in own.items() if value is not None}
    yield Request(f"secretsmanager:{operation}", arn, {**context, **said})
    if operation == "CreateSecret" and asked:
        yield Request("secretsmanager:TagResource", arn, context)
    wrapped = {"kms:encryptioncontext:secretarn": (arn,)}
    needed = ["GenerateDataKey", "Decrypt"] if operation in _WRITES_SECRET else []
    needed += ["Decrypt"] if operation in _READS_SECRET else []
    for action in needed:
        yield _kms(action, _SECRETS_KEY, "secretsmanager", wrapped, account)


def _tag_keys(kind: str, tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {f"aws:{kind}/{key}".lower(): (value,) for key, value in tags.items()}


def _sts(operation: str, given: Parameters, account: Account) -> Iterator[Request]:
    if operation == "GetCallerIdentity":
        return  # Everybody may; IAM is not asked.
    role = str(given["RoleArn"])
    context: dict[str, tuple[str, ...]] = {
        "aws:resourceaccount": (role.split(":")[4],),
        "aws:principalaccount": (account.number,),
    }
    if "ExternalId" in given:
        context["sts:externalid"] = (str(given["ExternalId"]),)
    tags = {each["Key"]: each["Value"] for each in given.get("Tags", ())}
    context |= _tag_keys("requesttag", tags)
    yield Request(f"sts:{operation}", role, context)
    if tags:
        yield Request("sts:TagSession", role, context)


def _kms_call(operation: str, given: Parameters, account: Account) -> Iterator[Request]:
    key = account.arn("kms", f"key/{_KEY}")
    asked = {each["TagKey"]: each["TagValue"] for each in given.get("Tags", ())}
    wanted = _tag_keys("requesttag", asked)
    if operation in _NEW_KEY:
        yield Request(f"kms:{operation}", "*", wanted)
        if asked:
            yield Request("kms:TagResource", key, wanted)
        return
    yield Request(f"kms:{operation}", key, wanted | _tag_keys("resourcetag", account.key_tags))
    if operation in _ALIASES:
        yield Request(f"kms:{operation}", account.arn("kms", str(given["AliasName"])))


def _kms(action: str, alias: str, via: str, bound: Context, account: Account) -> Request:
    """Ask for what a service does with a key in the name of who called it."""
    context: dict[str, tuple[str, ...]] = {
        "kms:resourcealiases": (alias,),
        "kms:viaservice": (f"{via}.{account.region}.amazonaws.com",),
        **bound,
    }
    return Request(f"kms:{action}", account.arn("kms", f"key/{_KEY}"), context)


_SERVICES: Mapping[str, Callable[[str, Parameters, Account], Iterator[Request]]] = {
    "dynamodb": _dynamodb,
    "kms": _kms_call,
    "secretsmanager": _secretsmanager,
    "sts": _sts,
}
