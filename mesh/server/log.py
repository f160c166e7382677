"""JSON logs, one line an event, that hold nothing a contract hides.

What may be logged, decided once:
- a Protobuf message given as an argument or field is redacted by its contract;
- the text of an exception is never logged, because drivers put values into it (SQL parameters,
  URLs); its type and frames are, with those of its causes;
- request metadata is never logged, and whatever looks like a token is masked on the way out.

gRPC's C core writes lines of its own, without values, unless GRPC_VERBOSITY=NONE is in the
environment before the process starts.
"""

import asyncio
import logging
import re
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
from google.protobuf.message import Message

from mesh.server.call import Call, find_current_call
from mesh.server.log_lines import Lines
from mesh.server.redaction import redacted
from mesh.telemetry.tracing import current_trace_id

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}")
_MAX_FRAMES = 30
_OUR_LOGGERS = ("mesh", "services", "gateway")


def failure(error: BaseException) -> list[dict[str, Any]]:
    """Describe an exception and its causes, the outermost first, without their texts."""
    chain: list[dict[str, Any]] = []
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        kind = type(step)
        entry: dict[str, Any] = {
            "type": f"{kind.__module__}.{kind.__qualname__}",
            "frames": [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(step.__traceback__)[-_MAX_FRAMES:]
            ],
        }
        if isinstance(step, BaseExceptionGroup):
            entry["exceptions"] = [failure(each) for each in step.exceptions]
        chain.append(entry)
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return chain


class JsonFormatter(logging.Formatter):
    """Writes records as JSON; ``extra={"fields": {...}}`` adds members."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": _text(record),
        }
        known: Call | None = getattr(record, "call", None)
        call = known or find_current_call()
        if call is not None:
            event["request_id"] = call.request_id
            if call.caller.subject:
                event["subject"] = call.caller.subject
                event["tenant"] = call.caller.tenant
        trace_id = current_trace_id() if known is None else getattr(record, "trace_id", "")
        if trace_id:
            event["trace_id"] = trace_id
        event.update(getattr(record, "fields", ()))
        if record.exc_info and record.exc_info[1] is not None:
            event["error"] = failure(record.exc_info[1])
        line = orjson.dumps(event, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
        return _JWT.sub("[token]", line) if "eyJ" in line else line


def _text(record: logging.LogRecord) -> str:
    arguments = record.args
    if isinstance(arguments, tuple) and arguments:
        return str(record.msg) % tuple(_argument(each) for each in arguments)
    return record.getMessage()


def _argument(value: Any) -> Any:
    if isinstance(value, Message):
        return orjson.dumps(redacted(value), default=_plain).decode()
    if isinstance(value, BaseException):
        return type(value).__name__
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return redacted(value)
    if isinstance(value, BaseException):
        return failure(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(type(value).__name__)


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all logs of the process as JSON to standard error, of other libraries only warnings."""
    handler = Lines() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OUR_LOGGERS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    # What no line shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


_BLANK = vars(logging.LogRecord("", logging.NOTSET, "", 0, "", None, None))
"""What all records have; to make each by its constructor takes several times as long."""


def log_call(logger: logging.Logger, level: int, call: Call, fields: Mapping[str, Any]) -> None:
    """Log how a call ended, without looking for the calling line: that costs more than the rest.

    The fields are plain values that nobody changes, so that the line may be written later.
    """
    if logger.isEnabledFor(level):
        record = logging.LogRecord.__new__(logging.LogRecord)
        record.__dict__ = {
            **_BLANK,
            "name": logger.name,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": "call",
            "created": time.time(),
            "fields": fields,
            "call": call,
            "trace_id": current_trace_id(),
        }
        logger.handle(record)


def report_loop_failure(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what the event loop caught; its own words hold the text of exceptions."""
    error = context.get("exception")
    fields: dict[str, Any] = {}
    if isinstance(error, BaseException):
        fields["error"] = failure(error)
    else:  # then its words are fixed, such as those about a task that was never awaited
        task = context.get("task")
        fields["event"] = str(context.get("message", ""))
        fields["task"] = task.get_name() if isinstance(task, asyncio.Task) else ""
    logging.getLogger("mesh.server.loop").error(
        "a task of the event loop failed", extra={"fields": fields}
    )
