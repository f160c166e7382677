"""App keys in AWS Secrets Manager, best in another account than the KMS key's.

The secret's text is what a file of app keys holds: ``v1 enabled <base64 of 32 bytes>``. It is
read at intervals; one that cannot be read serves from memory for a while and then no longer.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.crypto.custody.key_file import FileKey, KeyFileError, keys_of

_SECONDS = 60.0
"""Between two readings."""
_LONGEST = 3600.0
"""For which keys are served that could not be read again."""
_DENIED = frozenset(
    {"AccessDeniedException", "ResourceNotFoundException", "InvalidRequestException"}
)
"""Codes of a secret that was taken away, is to be deleted, or is gone."""
_ARN_ACCOUNT = 4


class AwsSecretKeys:
    """See ``KeySource``; reads block, so they belong into a thread (``LocalAppKeys`` does so)."""

    def __init__(
        self,
        secret: str,
        region: str,
        endpoint: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the secret of an ARN or a name."""
        config = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 2})
        client = boto3.Session().client(
            "secretsmanager", region_name=region, endpoint_url=endpoint or None, config=config
        )
        self._close = client.close
        self._read = partial(client.get_secret_value, SecretId=secret)
        self._clock = clock
        self._keys: Mapping[str, FileKey] = {}
        self._arn = ""
        self._read_at = -_LONGEST

    def keys(self) -> Mapping[str, FileKey]:
        """Give the keys by id. Raises KeyFileError."""
        age = self._clock() - self._read_at
        if age >= _SECONDS:
            try:
                self._read_again()
            except KeyFileError:
                if age >= _LONGEST or not self._keys:
                    raise
        return self._keys

    @property
    def principal(self) -> str:
        """Who can read the secret: the account that owns it."""
        self.keys()
        return f"aws:{self._arn.split(':')[_ARN_ACCOUNT]}"

    def close(self) -> None:
        """Let go of the connection."""
        self._close()

    def _read_again(self) -> None:
        try:
            answer = self._read()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _DENIED:
                # Its owner's will: nothing is served from memory.
                self._keys = {}
            raise KeyFileError(f"the secret cannot be read: {code}") from None
        except BotoCoreError as error:
            raise KeyFileError(f"the secret cannot be read: {type(error).__name__}") from None
        self._keys = keys_of(answer.get("SecretString", "").encode(), "the secret")
        self._arn, self._read_at = answer["ARN"], self._clock()
