"""What the tables are to be in DynamoDB, what they are, and the steps from one to the other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from services.tenancy.store.tables import EXPIRES_AT, PK, SK, Index, Projection, Table

ON_DEMAND = "PAY_PER_REQUEST"
RECOVERY_DAYS = 35
"""Days back to which point-in-time recovery reaches."""


@dataclass(frozen=True)
class IndexShape:
    """Keys and projection of an index."""

    keys: tuple[str, ...]
    projection: str
    included: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TableShape:
    """What matters of a table."""

    keys: tuple[str, ...]
    indexes: Mapping[str, IndexShape]
    on_demand: bool = True
    deletion_protected: bool = True
    recoverable: bool = True
    """Whether it can be restored to each moment of the last days."""
    ttl: str = EXPIRES_AT
    """Attribute after which items go; empty if none do."""
    own_key: bool = True
    """Whether it is encrypted by a key of ours."""


class StepKind(Enum):
    """What is done to a table, in this order."""

    CREATE = "create the table"
    BILL_ON_DEMAND = "bill it on demand"
    ADD_INDEX = "add the index"
    ENCRYPT = "encrypt it by the key"
    PROTECT = "protect it from deletion"
    EXPIRE = "remove items after the time in the attribute"
    RECOVER = f"keep it recoverable for {RECOVERY_DAYS} days"
    REPLACE = "cannot be changed: make a new table, and move the items"


@dataclass(frozen=True)
class Step:
    """One thing that is missing of a table."""

    table: Table
    kind: StepKind
    subject: str = ""
    """Of an index its name, of a key its alias."""

    def __str__(self) -> str:
        subject = f" ({self.subject})" if self.subject else ""
        return f"{self.table.value}: {self.kind.value}{subject}"


def wanted(table: Table, kms_key: str) -> TableShape:
    """Give what a table is to be; without a key of ours it is encrypted by one of AWS."""
    indexes = {name: _shape(index) for name, index in table.indexes.items()}
    return TableShape((PK, SK), indexes, own_key=bool(kms_key))


def found(
    description: Mapping[str, Any], ttl: Mapping[str, Any], backups: Mapping[str, Any]
) -> TableShape:
    """Read the answers of DescribeTable, DescribeTimeToLive and DescribeContinuousBackups."""
    indexes = {
        each["IndexName"]: IndexShape(
            _keys(each),
            each["Projection"]["ProjectionType"],
            frozenset(each["Projection"].get("NonKeyAttributes", ())),
        )
        for each in description.get("GlobalSecondaryIndexes", ())
    }
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    expires = ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return TableShape(
        keys=_keys(description),
        indexes=indexes,
        on_demand=description.get("BillingModeSummary", {}).get("BillingMode") == ON_DEMAND,
        deletion_protected=bool(description.get("DeletionProtectionEnabled")),
        recoverable=recovery.get("PointInTimeRecoveryStatus") == "ENABLED",
        ttl=ttl.get("AttributeName", "") if expires else "",
        own_key=description.get("SSEDescription", {}).get("SSEType") == "KMS",
    )


def steps(table: Table, shape: TableShape | None, kms_key: str) -> list[Step]:
    """Give what is missing of a table; None stands for one that does not exist."""
    goal = wanted(table, kms_key)
    if shape is None:
        bare = replace(_BARE, own_key=goal.own_key)
        return [Step(table, StepKind.CREATE), *_settings(table, goal, bare, kms_key)]
    if shape.keys != goal.keys:
        return [Step(table, StepKind.REPLACE, " and ".join(shape.keys))]
    made = []
    for name, index in goal.indexes.items():
        if name not in shape.indexes:
            made.append(Step(table, StepKind.ADD_INDEX, name))
        elif shape.indexes[name] != index:
            made.append(Step(table, StepKind.REPLACE, name))
    return [*made, *_settings(table, goal, shape, kms_key)]


def create_arguments(table: Table, name: str, kms_key: str) -> dict[str, Any]:
    """Give the arguments of CreateTable: a table is encrypted by its key from the first."""
    attributes = sorted({PK, SK, *(key for each in table.indexes.values() for key in each.keys)})
    arguments: dict[str, Any] = {
        "TableName": name,
        "BillingMode": ON_DEMAND,
        "AttributeDefinitions": attribute_definitions(attributes),
        "KeySchema": key_schema((PK, SK)),
    }
    if table.indexes:
        indexes = [index_arguments(index) for index in table.indexes.values()]
        arguments["GlobalSecondaryIndexes"] = indexes
    if kms_key:
        arguments["SSESpecification"] = encryption(kms_key)
    return arguments


def encryption(kms_key: str) -> dict[str, Any]:
    """Describe the encryption by a key as CreateTable and UpdateTable take it."""
    return {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": kms_key}


def index_arguments(index: Index) -> dict[str, Any]:
    """Describe an index as CreateTable and UpdateTable take it."""
    projection: dict[str, Any] = {"ProjectionType": index.projection.value}
    if index.projection is Projection.INCLUDE:
        projection["NonKeyAttributes"] = list(index.included)
    return {
        "IndexName": index.name,
        "KeySchema": key_schema(index.keys),
        "Projection": projection,
    }


def attribute_definitions(attributes: list[str]) -> list[dict[str, str]]:
    """Declare key attributes, all of them texts."""
    return [{"AttributeName": each, "AttributeType": "S"} for each in attributes]


def key_schema(keys: tuple[str, ...]) -> list[dict[str, str]]:
    """Declare a partition key and the sort key after it."""
    kinds = ("HASH", "RANGE")
    return [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)]


_BARE = TableShape((PK, SK), {}, deletion_protected=False, recoverable=False, ttl="")
"""A table as CreateTable makes it from ``create_arguments``, but for its indexes."""


def _settings(table: Table, goal: TableShape, shape: TableShape, kms_key: str) -> list[Step]:
    missing = {
        StepKind.BILL_ON_DEMAND: goal.on_demand and not shape.on_demand,
        StepKind.ENCRYPT: goal.own_key and not shape.own_key,
        StepKind.PROTECT: goal.deletion_protected and not shape.deletion_protected,
        StepKind.EXPIRE: goal.ttl != shape.ttl,
        StepKind.RECOVER: goal.recoverable and not shape.recoverable,
    }
    subjects = {StepKind.ENCRYPT: kms_key, StepKind.EXPIRE: goal.ttl}
    return [
        Step(table, kind, subjects.get(kind, ""))
        for kind, is_missing in missing.items()
        if is_missing
    ]


def _shape(index: Index) -> IndexShape:
    return IndexShape(index.keys, index.projection.value, frozenset(index.included))


def _keys(description: Mapping[str, Any]) -> tuple[str, ...]:
    schema = sorted(description["KeySchema"], key=lambda each: str(each["KeyType"]))
    return tuple(each["AttributeName"] for each in schema)
