"""Access keys of users, by IAM."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3

from services.tenancy.credentials.access_keys import (
    AccessKeysError,
    AccessKeysForbidden,
    AccessKeysRefused,
    AccessKeysUnavailable,
    KeyFacts,
    TooManyAccessKeys,
)
from services.tenancy.credentials.aws_calls import CONFIG, AwsCalls
from services.tenancy.credentials.sts import AwsKeys

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


class _Gone(AccessKeysError):
    """The key is not there."""


_ERRORS: Mapping[str, type[AccessKeysError]] = {
    "AccessDenied": AccessKeysForbidden,
    "AccessDeniedException": AccessKeysForbidden,
    "InvalidClientTokenId": AccessKeysRefused,
    "UnrecognizedClientException": AccessKeysRefused,
    "SignatureDoesNotMatch": AccessKeysRefused,
    "AuthFailure": AccessKeysRefused,
    "LimitExceeded": TooManyAccessKeys,
    "LimitExceededException": TooManyAccessKeys,
    "NoSuchEntity": _Gone,
}
"""Codes of the API reference of IAM; all others are failures of its own."""


class AwsAccessKeys:
    """See ``AccessKeys``."""

    def __init__(
        self, region: str, endpoint: str = "", *, session: boto3.Session | None = None
    ) -> None:
        self._region, self._endpoint = region, endpoint
        self._session = session or boto3.Session()
        self._call = AwsCalls(
            "iam", _ERRORS, rejected=AccessKeysUnavailable, unavailable=AccessKeysUnavailable
        )

    async def create(self, keys: AwsKeys, user: str) -> AwsKeys:
        """See ``AccessKeys``."""
        made = (await self._by(keys, "create_access_key", UserName=user))["AccessKey"]
        return AwsKeys(made["AccessKeyId"], made["SecretAccessKey"])

    async def listed(self, keys: AwsKeys, user: str) -> Sequence[KeyFacts]:
        """See ``AccessKeys``."""
        answer = await self._by(keys, "list_access_keys", UserName=user)
        return [
            KeyFacts(each["AccessKeyId"], _microseconds(each["CreateDate"]))
            for each in answer["AccessKeyMetadata"]
        ]

    async def delete(self, keys: AwsKeys, user: str, key_id: str) -> None:
        """See ``AccessKeys``."""
        try:
            await self._by(keys, "delete_access_key", UserName=user, AccessKeyId=key_id)
        except _Gone:
            return

    async def close(self) -> None:
        """See ``AccessKeys``."""
        self._call.close()

    async def _by(self, keys: AwsKeys, operation: str, **arguments: Any) -> Any:
        client = self._client_of(keys)
        try:
            return await self._call(getattr(client, operation), **arguments)
        finally:
            client.close()

    def _client_of(self, keys: AwsKeys) -> "IAMClient":
        return self._session.client(
            "iam",
            region_name=self._region,
            endpoint_url=self._endpoint or None,
            config=CONFIG,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
        )


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
