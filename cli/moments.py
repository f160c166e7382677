"""Moments as people write them on the command line."""

import re
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from cli.connection import UsageProblem

DAY = len("2026-01-31")
LONGEST = timedelta(days=366)
"""From now to the expiry of an API key or an exception."""
_EXPIRY = re.compile(r"([0-9]{1,5})([hd])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}


def parse_time(text: str, option: str) -> Timestamp:
    """Read an RFC 3339 time, or a date as its midnight in UTC."""
    made = Timestamp()
    try:
        made.FromJsonString(f"{text}T00:00:00Z" if len(text) == DAY else text)
    except ValueError:
        raise UsageProblem(f"{option} is a time such as 2026-01-31T12:00:00Z, or a date") from None
    return made


def parse_expiry(text: str, more: str = "") -> timedelta:
    """Read how long something holds, such as ``90d``; ``more`` says how it is told as well."""
    match = _EXPIRY.fullmatch(text)
    found = int(match[1]) * _UNITS[match[2]] if match else timedelta(0)
    if not timedelta(0) < found <= LONGEST:
        raise UsageProblem(f"--expires is hours or days up to 366d, such as 90d{more}")
    return found
