"""Keys of KMS under their aliases: made if they are missing, renewed by AWS every 365 days.

Nothing is ever replaced: an alias that leads to a key keeps it, whatever the key is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_kms.type_defs import KeyMetadataTypeDef

ROTATION_DAYS = 365
"""KMS takes 90 to 2,560."""
PROJECT = "threat-engine"
_ALIAS = "alias/"
_ABSENT = "NotFoundException"
_TAKEN = "AlreadyExistsException"


class KeysFailed(Exception):
    """A key cannot be made what it is to be; the message says which and why."""


@dataclass(frozen=True)
class WantedKey:
    """A key that there is to be."""

    name: str
    """Alias; of a key that is there already the id or ARN will do."""
    purpose: str


@dataclass(frozen=True)
class KeyDone:
    """What was done to have a key."""

    name: str
    key_id: str
    made: bool
    """Whether it was missing."""
    renewed: bool
    """Whether its rotation had to be set."""

    def __str__(self) -> str:
        what = "made" if self.made else "kept"
        return f"{what} {self.name}: rotates every {ROTATION_DAYS} days"


class KeySetup:
    """Sets keys up, by a client whose calls block."""

    def __init__(self, client: "KMSClient") -> None:
        self._client = client

    def run(self, wanted: Sequence[WantedKey]) -> list[KeyDone]:
        """Have all keys, as often as it is run. KeysFailed."""
        return [self._one(each) for each in wanted]

    def _one(self, wanted: WantedKey) -> KeyDone:
        try:
            found = self._found(wanted)
            key_id = self._usable(wanted, found) if found else self._made(wanted)
            renewed = self._renews(key_id)
            if not found:
                # Last, so that the alias never leads to a key that does not rotate.
                self._client.create_alias(AliasName=wanted.name, TargetKeyId=key_id)
        except ClientError as error:
            if _code(error) == _TAKEN:
                raise KeysFailed(
                    f"{wanted.name}: another run made it at the same time; "
                    f"key {key_id} has no use, schedule its deletion"
                ) from None
            raise KeysFailed(f"{wanted.name}: {_code(error)}") from None
        except BotoCoreError as error:
            raise KeysFailed(f"{wanted.name}: {type(error).__name__}") from None
        return KeyDone(wanted.name, key_id, not found, renewed)

    def _found(self, wanted: WantedKey) -> "KeyMetadataTypeDef | None":
        try:
            return self._client.describe_key(KeyId=wanted.name)["KeyMetadata"]
        except ClientError as error:
            if _code(error) == _ABSENT:
                return None
            raise

    def _usable(self, wanted: WantedKey, found: "KeyMetadataTypeDef") -> str:
        """Give the id of a key that can encrypt and rotate. KeysFailed."""
        if found["KeyState"] != "Enabled":
            raise KeysFailed(f"{wanted.name} leads to a key that is {found['KeyState']}")
        if found.get("KeySpec") != "SYMMETRIC_DEFAULT" or found.get("Origin") != "AWS_KMS":
            raise KeysFailed(f"{wanted.name} leads to a key that cannot rotate by itself")
        return found["KeyId"]

    def _made(self, wanted: WantedKey) -> str:
        if not wanted.name.startswith(_ALIAS):
            raise KeysFailed(f"{wanted.name} does not exist, and is no alias to make a key under")
        # Its policy is that of KMS: this account's IAM decides, which tenancy-roles.yaml is.
        made = self._client.create_key(
            Description=wanted.purpose, Tags=[{"TagKey": "Project", "TagValue": PROJECT}]
        )
        return made["KeyMetadata"]["KeyId"]

    def _renews(self, key_id: str) -> bool:
        """Have it rotate; tell whether it did not yet."""
        status = self._client.get_key_rotation_status(KeyId=key_id)
        days = status.get("RotationPeriodInDays", ROTATION_DAYS)
        if status["KeyRotationEnabled"] and days == ROTATION_DAYS:
            return False
        self._client.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=ROTATION_DAYS)
        return True


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "ClientError"))
