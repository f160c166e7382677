"""Calls of one AWS client in threads of its own, whose failures are told apart by their codes."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from services.tenancy.credentials.telemetry import called

THREADS = 8

CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=THREADS,
)
"""Throttles and outages are tried again within a call: a write that was done already is seen."""


class AwsCalls:
    """Runs calls off the event loop, at most so many at once."""

    def __init__(
        self,
        name: str,
        errors: Mapping[str, type[Exception]],
        *,
        rejected: type[Exception],
        unavailable: type[Exception],
    ) -> None:
        """Map error codes to exceptions; codes that are not listed mean ``unavailable``."""
        self._name = name
        self._errors = errors
        self._rejected = rejected
        self._unavailable = unavailable
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)

    async def __call__(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Make a call; its exception holds the code alone, for messages of AWS quote values."""
        began, outcome = time.monotonic(), "ok"
        try:
            return await self._made(operation, arguments)
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            name = getattr(operation, "__name__", "")
            called(self._name, name, time.monotonic() - began, outcome)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _made(self, operation: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(operation, **arguments))
        except ClientError as error:
            raise self._told(error) from None
        except ParamValidationError as error:
            raise self._rejected(type(error).__name__) from None
        except BotoCoreError as error:
            raise self._unavailable(type(error).__name__) from None

    def _told(self, error: ClientError) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        return self._errors.get(code, self._unavailable)(code)
