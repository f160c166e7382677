"""What receivers are sent: a JSON object with ``type``, ``timestamp`` and ``data``."""

from datetime import UTC, datetime

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

FOUND = "contradiction.found"
PING = "webhook.ping"


def body_of(event: str, moment: datetime, data: Message | None = None) -> str:
    """Write a message; ``data`` in the JSON of its contract."""
    shown = {} if data is None else json_format.MessageToDict(data)
    timestamp = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return orjson.dumps({"type": event, "timestamp": timestamp, "data": shown}).decode()
