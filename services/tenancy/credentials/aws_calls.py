"""Calls of one AWS client in threads of its own, whose failures are told apart by their codes."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

THREADS = 8

CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=THREADS,
)
"""Throttles and outages are tried again within a call: each write here can be repeated."""


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
        self._errors = errors
        self._rejected = rejected
        self._unavailable = unavailable
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)

    async def __call__(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Make a call; its exception holds the code alone, for messages of AWS quote values."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(operation, **arguments))
        except ClientError as error:
            raise self._told(error) from None
        except ParamValidationError as error:
            raise self._rejected(type(error).__name__) from None
        except BotoCoreError as error:
            raise self._unavailable(type(error).__name__) from None

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _told(self, error: ClientError) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        return self._errors.get(code, self._unavailable)(code)
