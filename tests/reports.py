"""Reads a scanner's report from what a test has it in."""

from collections.abc import Iterable
from typing import TypeVar

import orjson

from services.security.importing import formats
from services.security.importing.limits import Limits
from services.security.importing.model import Finding, Item, Problem, Rejected
from services.security.importing.spool import Spool

Wanted = TypeVar("Wanted", bound=Item)


def read(report: object, name: str = "", limits: Limits | None = None) -> list[Item]:
    """The items of a report: bytes, text, or what is to be written as JSON."""
    if isinstance(report, str):
        content = report.encode()
    else:
        content = report if isinstance(report, bytes) else orjson.dumps(report)
    with Spool.of([content], limits) as spool:
        return list(formats.items(spool, name))


def only(kind: type[Wanted], items: Iterable[Item]) -> list[Wanted]:
    """The items of one kind."""
    return [item for item in items if isinstance(item, kind)]


def one(report: object, name: str = "") -> Finding:
    """The single finding of a report in which nothing is wrong."""
    items = read(report, name)
    assert only(Rejected, items) == []
    assert only(Problem, items) == []
    (finding,) = only(Finding, items)
    return finding
