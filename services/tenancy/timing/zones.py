"""Time zones of the pinned IANA database."""

import re
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import tzdata

from services.tenancy.timing.errors import TimingInvalid

UTC = "UTC"
TZDATA_VERSION: str = tzdata.IANA_VERSION
"""Release of the database, such as ``2026f``."""
_FIELD = "time_zone"
_PART = re.compile(r"^[A-Za-z][A-Za-z0-9_+-]*$")


@cache
def _names() -> frozenset[str]:
    text = files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(name for name in text.split() if all(map(_PART.match, name.split("/"))))


@cache
def zone(name: str) -> ZoneInfo:
    """Give the zone of a name, UTC for none; TimingInvalid if the database has no such zone.

    The system's own database is never asked: its release differs from machine to machine.
    """
    name = name or UTC
    if name not in _names():
        raise TimingInvalid(_FIELD, f"{name!r} is no zone of the IANA database {TZDATA_VERSION}")
    source = files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with source.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
