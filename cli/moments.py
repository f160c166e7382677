"""Moments as people write them on the command line."""

from google.protobuf.timestamp_pb2 import Timestamp

from cli.connection import UsageProblem

DAY = len("2026-01-31")


def parse_time(text: str, option: str) -> Timestamp:
    """Read an RFC 3339 time, or a date as its midnight in UTC."""
    made = Timestamp()
    try:
        made.FromJsonString(f"{text}T00:00:00Z" if len(text) == DAY else text)
    except ValueError:
        raise UsageProblem(f"{option} is a time such as 2026-01-31T12:00:00Z, or a date") from None
    return made
