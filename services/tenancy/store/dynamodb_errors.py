"""Errors of DynamoDB as those of the port (API reference, "Error handling")."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from services.tenancy.store.port import (
    ConditionFailed,
    Conflict,
    ItemTooLarge,
    RequestInvalid,
    StoreError,
    StoreUnavailable,
    Throttled,
    TokenReused,
)
from services.tenancy.store.wire import item_from_wire

_LOGGER = logging.getLogger(__name__)
_CONFLICTS = {
    "TransactionConflict",
    "TransactionConflictException",
    "TransactionInProgressException",
}
_THROTTLES = {
    "LimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingError",
    "ThrottlingException",
}
_INVALID = {"ValidationError", "ValidationException", "ItemCollectionSizeLimitExceeded"}
_CONDITION = {"ConditionalCheckFailed", "ConditionalCheckFailedException"}
_TOO_LARGE = ("item size", "aggregate size", "collection size")
"""What messages about sizes speak of, there being no code for it."""


def store_error(error: BotoCoreError | ClientError, operation: str) -> StoreError:
    """Give the error of the port that an error of boto3 is."""
    if not isinstance(error, ClientError):
        return _unavailable(type(error).__name__, operation)
    response: Mapping[str, Any] = error.response
    code = str(response.get("Error", {}).get("Code", ""))
    if code == "TransactionCanceledException":
        return _cancelled(response.get("CancellationReasons", ()), operation)
    if code in _CONDITION:
        return _failed(0, response)
    return _of_code(code, str(response.get("Error", {}).get("Message", "")), operation)


def _cancelled(reasons: Sequence[Mapping[str, Any]], operation: str) -> StoreError:
    """Give the first condition that failed, else the first other reason."""
    found = [
        (position, reason)
        for position, reason in enumerate(reasons)
        if reason.get("Code", "None") != "None"
    ]
    for position, reason in found:
        if reason["Code"] in _CONDITION:
            return _failed(position, reason)
    for _, reason in found:
        return _of_code(str(reason["Code"]), str(reason.get("Message", "")), operation)
    return _unavailable("TransactionCanceledException", operation)


def _failed(position: int, told: Mapping[str, Any]) -> ConditionFailed:
    item = told.get("Item")
    return ConditionFailed(position, item_from_wire(item) if item else None)


def _of_code(code: str, message: str, operation: str) -> StoreError:
    if code in _CONFLICTS:
        return Conflict(code)
    if code in _THROTTLES:
        return Throttled(code)
    if code == "IdempotentParameterMismatchException":
        return TokenReused("the token stands for another transaction")
    if code in _INVALID:
        # The message may quote values, so it goes no further.
        too_large = any(words in message.lower() for words in _TOO_LARGE)
        return ItemTooLarge("a table") if too_large else RequestInvalid(code)
    return _unavailable(code, operation)


def _unavailable(code: str, operation: str) -> StoreUnavailable:
    _LOGGER.warning("DynamoDB did not answer %s: %s", operation, code)
    return StoreUnavailable(code)
