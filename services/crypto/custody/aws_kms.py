"""AWS KMS as the custodian of the keys of tenants, through boto3 in threads of its own."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.crypto.custody.kms import (
    DataKey,
    KmsContext,
    KmsDenied,
    KmsDisabled,
    KmsError,
    KmsKey,
    KmsKeyState,
    KmsRejected,
    KmsThrottled,
    KmsUnavailable,
)

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_ERRORS: Mapping[str, type[KmsError]] = {
    "DisabledException": KmsDisabled,
    "KMSInvalidStateException": KmsDisabled,
    "NotFoundException": KmsDisabled,
    "AccessDeniedException": KmsDenied,
    "IncorrectKeyException": KmsRejected,
    "InvalidCiphertextException": KmsRejected,
    "ValidationException": KmsRejected,
    "LimitExceededException": KmsThrottled,
    "ThrottlingException": KmsThrottled,
    "TooManyRequestsException": KmsThrottled,
}
"""Codes of the API reference of KMS; all others are failures of the KMS itself."""
_STATES = {
    "Enabled": KmsKeyState.ENABLED,
    "Disabled": KmsKeyState.DISABLED,
    "PendingDeletion": KmsKeyState.PENDING_DELETION,
    "PendingReplicaDeletion": KmsKeyState.PENDING_DELETION,
}
_THREADS = 8


class AwsKms:
    """See ``Kms``. Key ids are ARNs; ids and aliases are taken, and resolved by ``describe``."""

    def __init__(
        self, region: str, endpoint: str = "", *, session: "boto3.Session | None" = None
    ) -> None:
        # Tries and pauses are the caller's (``GuardedKms``), who counts them, too.
        config = Config(
            connect_timeout=2,
            read_timeout=2,
            retries={"total_max_attempts": 1},
            max_pool_connections=_THREADS,
        )
        made = session or boto3.Session()
        self._client: KMSClient = made.client(
            "kms", region_name=region, endpoint_url=endpoint or None, config=config
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="kms")

    async def generate(self, key_id: str, context: KmsContext) -> DataKey:
        """Make a key of 32 bytes."""
        made = await self._call(
            self._client.generate_data_key,
            KeyId=key_id,
            KeySpec="AES_256",
            EncryptionContext=context,
        )
        return DataKey(made["Plaintext"], made["CiphertextBlob"], made["KeyId"])

    async def encrypt(self, key_id: str, plaintext: bytes, context: KmsContext) -> bytes:
        """Wrap at most 4,096 bytes."""
        answer = await self._call(
            self._client.encrypt, KeyId=key_id, Plaintext=plaintext, EncryptionContext=context
        )
        return bytes(answer["CiphertextBlob"])

    async def decrypt(self, key_id: str, wrapped: bytes, context: KmsContext) -> bytes:
        """Unwrap what was wrapped by this key in the same context."""
        answer = await self._call(
            self._client.decrypt, KeyId=key_id, CiphertextBlob=wrapped, EncryptionContext=context
        )
        return bytes(answer["Plaintext"])

    async def re_encrypt(
        self, key_id: str, wrapped: bytes, context: KmsContext, new_key_id: str
    ) -> bytes:
        """Wrap by another key what was wrapped by one; the KMS alone sees it in clear."""
        answer = await self._call(
            self._client.re_encrypt,
            CiphertextBlob=wrapped,
            SourceKeyId=key_id,
            SourceEncryptionContext=context,
            DestinationKeyId=new_key_id,
            DestinationEncryptionContext=context,
        )
        return bytes(answer["CiphertextBlob"])

    async def describe(self, key_id: str) -> KmsKey:
        """Say what a key is; an alias leads to the key itself."""
        found = (await self._call(self._client.describe_key, KeyId=key_id))["KeyMetadata"]
        state = _STATES.get(found["KeyState"], KmsKeyState.UNAVAILABLE)
        return KmsKey(found["Arn"], state, f"aws:{found['AWSAccountId']}")

    async def renews(self, key_id: str) -> bool:
        """Tell whether automatic rotation is on; False where that may not be asked."""
        try:
            status = await self._call(self._client.get_key_rotation_status, KeyId=key_id)
        except (KmsDenied, KmsRejected):
            return False
        return bool(status["KeyRotationEnabled"])

    async def close(self) -> None:
        """Let go of connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(operation, **arguments))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise _ERRORS.get(code, KmsUnavailable)(code) from None
        except BotoCoreError as error:
            raise KmsUnavailable(type(error).__name__) from None
