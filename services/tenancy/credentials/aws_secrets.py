"""AWS Secrets Manager through boto3."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import boto3

from services.tenancy.credentials.aws_calls import CONFIG, AwsCalls
from services.tenancy.credentials.secrets import (
    MAX_BYTES,
    SecretExists,
    SecretFacts,
    SecretMissing,
    SecretPendingDeletion,
    SecretRejected,
    SecretsDenied,
    SecretsError,
    SecretsThrottled,
    SecretsUnavailable,
    SecretTooLarge,
    SecretValue,
    SecretVersion,
)

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import TagTypeDef

_ERRORS: Mapping[str, type[SecretsError]] = {
    "ResourceNotFoundException": SecretMissing,
    "ResourceExistsException": SecretExists,
    # Of a secret that can be used it is the answer to nothing that is asked here.
    "InvalidRequestException": SecretPendingDeletion,
    "InvalidParameterException": SecretRejected,
    "ValidationException": SecretRejected,
    "PreconditionNotMetException": SecretRejected,
    "LimitExceededException": SecretRejected,
    "AccessDeniedException": SecretsDenied,
    "DecryptionFailure": SecretsDenied,
    "EncryptionFailure": SecretsDenied,
    "ExpiredTokenException": SecretsDenied,
    "UnrecognizedClientException": SecretsDenied,
    "ThrottlingException": SecretsThrottled,
    "TooManyRequestsException": SecretsThrottled,
}
"""Codes of the API reference of Secrets Manager; all others are failures of its own."""


class AwsSecrets:
    """See ``Secrets``."""

    def __init__(
        self,
        region: str,
        kms_key_id: str,
        endpoint: str = "",
        *,
        session: boto3.Session | None = None,
    ) -> None:
        """Encrypt by the customer's own key ``kms_key_id``; with "" by the account's default."""
        made = session or boto3.Session()
        self._client: SecretsManagerClient = made.client(
            "secretsmanager", region_name=region, endpoint_url=endpoint or None, config=CONFIG
        )
        self._key = {"KmsKeyId": kms_key_id} if kms_key_id else {}
        self._call = AwsCalls(
            "secrets", _ERRORS, rejected=SecretRejected, unavailable=SecretsUnavailable
        )

    async def create(
        self, name: str, value: str, *, version_id: str, tags: Mapping[str, str]
    ) -> None:
        """See ``Secrets``."""
        _require_small(value)
        try:
            await self._call(
                self._client.create_secret,
                Name=name,
                SecretString=value,
                ClientRequestToken=version_id,
                Tags=[{"Key": key, "Value": text} for key, text in sorted(tags.items())],
                **self._key,
            )
        except SecretExists:
            # A repeated request finds what it made before; some stores refuse it all the same.
            if not await self._was_made(name, value, version_id):
                raise

    async def put(self, name: str, value: str, *, version_id: str, stages: Sequence[str]) -> None:
        """See ``Secrets``."""
        _require_small(value)
        await self._call(
            self._client.put_secret_value,
            SecretId=name,
            SecretString=value,
            ClientRequestToken=version_id,
            VersionStages=list(stages),
        )

    async def get(self, name: str, stage: str) -> SecretValue:
        """See ``Secrets``."""
        answer = await self._call(
            self._client.get_secret_value, SecretId=name, VersionStage=str(stage)
        )
        return SecretValue(answer["VersionId"], answer.get("SecretString", ""))

    async def move(self, name: str, stage: str, *, to: str = "", away: str = "") -> None:
        """See ``Secrets``."""
        ends = {"MoveToVersionId": to, "RemoveFromVersionId": away}
        await self._call(
            self._client.update_secret_version_stage,
            SecretId=name,
            VersionStage=str(stage),
            **{key: version for key, version in ends.items() if version},
        )

    async def describe(self, name: str) -> SecretFacts:
        """See ``Secrets``; two calls: DescribeSecret has no times of versions."""
        facts = await self._call(self._client.describe_secret, SecretId=name)
        deleted = "DeletedDate" in facts
        listed = (
            {}
            if deleted
            else await self._call(
                self._client.list_secret_version_ids, SecretId=name, MaxResults=100
            )
        )
        versions = [
            SecretVersion(
                each["VersionId"], frozenset(each["VersionStages"]), _micros(each["CreatedDate"])
            )
            for each in listed.get("Versions", [])
            if each.get("VersionStages")
        ]
        versions.sort(key=lambda version: version.created_at, reverse=True)
        return SecretFacts(_tags(facts.get("Tags", [])), versions, deleted)

    async def tags(self, name: str) -> Mapping[str, str]:
        """See ``Secrets``."""
        facts = await self._call(self._client.describe_secret, SecretId=name)
        return _tags(facts.get("Tags", []))

    async def delete(self, name: str, *, days: int) -> None:
        """See ``Secrets``."""
        await self._call(self._client.delete_secret, SecretId=name, RecoveryWindowInDays=days)

    async def restore(self, name: str) -> None:
        """See ``Secrets``."""
        await self._call(self._client.restore_secret, SecretId=name)

    async def close(self) -> None:
        """See ``Secrets``."""
        self._call.close()
        self._client.close()

    async def _was_made(self, name: str, value: str, version_id: str) -> bool:
        with suppress(SecretMissing):
            found = await self.get(name, "AWSCURRENT")
            return (found.version_id, found.value) == (version_id, value)
        return False


def _tags(written: Sequence["TagTypeDef"]) -> Mapping[str, str]:
    return {each["Key"]: each["Value"] for each in written}


def _require_small(value: str) -> None:
    # Held here too: not every store that takes the calls has the limit.
    if len(value.encode()) > MAX_BYTES:
        raise SecretTooLarge(f"longer than {MAX_BYTES} bytes")


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
