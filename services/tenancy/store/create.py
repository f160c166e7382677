"""Makes the tables: as often as it is run, and only what is missing.

An endpoint on this machine may refuse what only AWS has (recovery, encryption by a key);
what it refuses is listed. Of AWS itself a refusal is an error.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from services.tenancy.store.table_shapes import (
    ON_DEMAND,
    RECOVERY_DAYS,
    Step,
    StepKind,
    TableShape,
    attribute_definitions,
    create_arguments,
    encryption,
    found,
    index_arguments,
    steps,
)
from services.tenancy.store.tables import EXPIRES_AT, Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LOG = logging.getLogger(__name__)
_NEEDED = {StepKind.CREATE, StepKind.ADD_INDEX, StepKind.BILL_ON_DEMAND}
"""Without these nothing works, wherever it is."""
_ABSENT = "ResourceNotFoundException"
_BUSY = "ResourceInUseException"
_PAUSE_SECONDS = 2.0
_MAX_PAUSES = 300
"""Ten minutes; an index of a table with much in it takes hours."""


class TablesFailed(Exception):
    """The tables cannot be made what they are to be; the message says which and why."""


@dataclass(frozen=True)
class Made:
    """What ``create`` did."""

    done: Sequence[Step]
    refused: Sequence[Step]
    """What the endpoint on this machine does not have."""


class Tables:
    """The tables of one region, by a client whose calls block."""

    def __init__(
        self,
        client: "DynamoDBClient",
        names: Mapping[Table, str],
        *,
        kms_key: str = "",
        lenient: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take names, and the id, ARN or alias of a KMS key; ``lenient`` for endpoints of ours."""
        self._client = client
        self._names = dict(names)
        self._kms_key = kms_key
        self._lenient = lenient
        self._sleep = sleep

    def plan(self) -> list[Step]:
        """Give what is missing. TablesFailed."""
        return [step for table in Table for step in self._missing(table)]

    def create(self) -> Made:
        """Do all that is missing and wait until it is done. TablesFailed."""
        done: list[Step] = []
        refused: list[Step] = []
        for table in Table:
            missing = self._missing(table)
            hopeless = [step for step in missing if step.kind is StepKind.REPLACE]
            if hopeless:
                raise TablesFailed("; ".join(map(str, hopeless)))
            for step in missing:
                (done if self._is_done(step) else refused).append(step)
            # Some endpoints accept what they then do not do.
            left = [step for step in self._missing(table) if step not in refused]
            if left and not self._lenient:
                raise TablesFailed(f"{left[0]}: accepted, but not done")
            refused += left
        return Made([step for step in done if step not in refused], refused)

    def _missing(self, table: Table) -> list[Step]:
        try:
            return steps(table, self._shape(table), self._kms_key)
        except (BotoCoreError, ClientError) as error:
            raise TablesFailed(f"{self._names[table]}: {_code(error)}") from None

    def _shape(self, table: Table) -> TableShape | None:
        name = self._names[table]
        try:
            description: Any = self._client.describe_table(TableName=name)["Table"]
        except ClientError as error:
            if _code(error) == _ABSENT:
                return None
            raise
        return found(
            description,
            self._described("describe_time_to_live", "TimeToLiveDescription", name),
            self._described("describe_continuous_backups", "ContinuousBackupsDescription", name),
        )

    def _described(self, operation: str, member: str, name: str) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._client, operation)(TableName=name)
        except ClientError:
            if self._lenient:
                return {}
            raise
        described: Mapping[str, Any] = answer[member]
        return described

    def _is_done(self, step: Step) -> bool:
        name = self._names[step.table]
        try:
            self._do(step, name)
            self._wait(name)
        except (BotoCoreError, ClientError) as error:
            if self._lenient and step.kind not in _NEEDED:
                _LOG.info("not on this endpoint: %s (%s)", step, _code(error))
                return False
            raise TablesFailed(f"{step}: {_code(error)}") from None
        return True

    def _do(self, step: Step, name: str) -> None:
        client: Any = self._client
        match step.kind:
            case StepKind.CREATE:
                self._create(step.table, name)
            case StepKind.EXPIRE:
                wanted = {"Enabled": True, "AttributeName": EXPIRES_AT}
                client.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)
            case StepKind.RECOVER:
                reach = {
                    "PointInTimeRecoveryEnabled": True,
                    "RecoveryPeriodInDays": RECOVERY_DAYS,
                }
                client.update_continuous_backups(
                    TableName=name, PointInTimeRecoverySpecification=reach
                )
            case _:
                client.update_table(TableName=name, **self._update(step))

    def _create(self, table: Table, name: str) -> None:
        client: Any = self._client
        try:
            client.create_table(**create_arguments(table, name, self._kms_key))
        except ClientError as error:
            # Another process made it at the same time.
            if _code(error) != _BUSY:
                raise

    def _update(self, step: Step) -> dict[str, Any]:
        if step.kind is StepKind.ADD_INDEX:
            index = step.table.indexes[step.subject]
            return {
                "AttributeDefinitions": attribute_definitions(list(index.keys)),
                "GlobalSecondaryIndexUpdates": [{"Create": index_arguments(index)}],
            }
        if step.kind is StepKind.ENCRYPT:
            return {"SSESpecification": encryption(self._kms_key)}
        if step.kind is StepKind.PROTECT:
            return {"DeletionProtectionEnabled": True}
        return {"BillingMode": ON_DEMAND}

    def _wait(self, name: str) -> None:
        """Wait until the table takes the next step."""
        for _ in range(_MAX_PAUSES):
            description: Any = self._client.describe_table(TableName=name)["Table"]
            parts = [description["TableStatus"]]
            parts += [each["IndexStatus"] for each in description.get("GlobalSecondaryIndexes", ())]
            if all(status == "ACTIVE" for status in parts):
                return
            self._sleep(_PAUSE_SECONDS)
        raise TablesFailed(f"{name} is still being made; run this again")


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "ClientError"))
    return type(error).__name__
