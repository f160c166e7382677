"""Tables that are laid out by spaces, in text and in PDF: lines become rows of cells."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.inventory.compliance.documents.blocks import Block
from services.inventory.compliance.documents.columns import Columns, columns_of
from services.inventory.compliance.documents.vocabulary import Label, reference

_GAP = re.compile(r"\t+| {2,}")
_FIRST_TABLE = 1_000_000
"""Numbers of tables that are found by their layout, beyond those a format marks."""


@dataclass
class _Laid:
    """A table whose head has been read."""

    number: int
    starts: list[int]
    columns: Columns
    head: tuple[str, ...]
    place: str = ""
    cells: list[str] = field(default_factory=list)


def tabulate(blocks: Sequence[Block]) -> list[Block]:
    """Give the blocks with lines that follow a table's head as rows of it.

    A line whose control is empty goes on with the row before it. A heading of a control, or
    another line that does not stand in the columns, ends the table.
    """
    found: list[Block] = []
    laid: _Laid | None = None
    count = 0
    for block in blocks:
        segments = [] if block.table or block.level else _segments(block.cells[0])
        head = _head(segments)
        if head is not None:
            _end_row(found, laid)
            count += laid is None or laid.head != tuple(text for _, text in segments)
            starts = [start for start, _ in segments]
            texts = tuple(text for _, text in segments)
            laid = _Laid(_FIRST_TABLE + count, starts, head, texts)
            found.append(Block(block.place, texts, laid.number))
        elif laid is None:
            found.append(block)
        elif not _take(laid, block.place, segments, found):
            _end_row(found, laid)
            laid = None
            found.append(block)
    _end_row(found, laid)
    return found


def _segments(line: str) -> list[tuple[int, str]]:
    """Give the texts of a line that gaps part, each with where it begins."""
    line = line.expandtabs(8)
    found: list[tuple[int, str]] = []
    begins = 0
    for gap in [*_GAP.finditer(line), None]:
        end = gap.start() if gap is not None else len(line)
        if line[begins:end].strip():
            found.append((begins, line[begins:end].strip()))
        begins = gap.end() if gap is not None else end
    return found


def _head(segments: list[tuple[int, str]]) -> Columns | None:
    return columns_of([text for _, text in segments]) if len(segments) > 1 else None


def _take(laid: _Laid, place: str, segments: list[tuple[int, str]], found: list[Block]) -> bool:
    """Take a line into the table; False if it does not belong to it."""
    cells = [""] * len(laid.starts)
    for start, text in segments:
        column = _column(laid.starts, start)
        cells[column] = f"{cells[column]} {text}".strip()
    control = cells[laid.columns.of[Label.CONTROL]]
    named = reference(control) if control else None
    if named is not None and sum(map(bool, cells)) > 1:
        _end_row(found, laid)
        laid.place, laid.cells = place, cells
        return True
    if control or not laid.cells:
        return False
    laid.cells = [f"{old} {new}".strip() for old, new in zip(laid.cells, cells, strict=True)]
    return True


def _column(starts: Sequence[int], start: int) -> int:
    """Give the column that a text stands in: the one whose head begins nearest."""
    return min(range(len(starts)), key=lambda index: abs(starts[index] - start))


def _end_row(found: list[Block], laid: _Laid | None) -> None:
    if laid is not None and laid.cells:
        found.append(Block(laid.place, tuple(laid.cells), laid.number))
        laid.cells = []
