"""Probes of AWS through boto3."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.tenancy.credentials.sts import AwsKeys
from services.tenancy.onboarding.probes import PROBES, Outcome, Probe, Probed

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "InvalidClientTokenId",
        "UnauthorizedOperation",
    }
)
_THREADS = 4
"""Verifications at a time; the calls of one follow one another."""
_CONFIG = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
)


class AwsProber:
    """See ``Prober``."""

    def __init__(self, region: str, endpoint: str = "") -> None:
        self._region, self._endpoint = region, endpoint
        self._session = boto3.Session()
        # A session makes clients one at a time, and reads each service's definition once.
        self._making = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="probes")

    async def probe(self, keys: AwsKeys) -> Sequence[Probed]:
        """See ``Prober``."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._probed, keys)

    async def close(self) -> None:
        """See ``Prober``."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _probed(self, keys: AwsKeys) -> list[Probed]:
        return [self._tried(each, keys) for each in PROBES]

    def _tried(self, probe: Probe, keys: AwsKeys) -> Probed:
        with self._making:
            # The services are data here, so that boto3's types of each do not fit.
            made: Any = self._session.client
            client = made(
                probe.service,
                region_name=self._region,
                endpoint_url=self._endpoint or None,
                config=_CONFIG,
                aws_access_key_id=keys.access_key_id,
                aws_secret_access_key=keys.secret_access_key,
                aws_session_token=keys.session_token or None,
            )
        try:
            getattr(client, probe.operation)()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            return Probed(
                probe.action, Outcome.DENIED if code in _DENIED else Outcome.UNKNOWN, code
            )
        except BotoCoreError as error:
            return Probed(probe.action, Outcome.UNKNOWN, type(error).__name__)
        finally:
            client.close()
        return Probed(probe.action, Outcome.GRANTED)
