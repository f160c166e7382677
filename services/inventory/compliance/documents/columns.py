"""Tables whose first row tells what their columns hold."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.inventory.compliance.documents.drafts import Draft, Entry
from services.inventory.compliance.documents.vocabulary import (
    STATES,
    Label,
    Reference,
    Status,
    is_better_statement,
    is_inherited,
    is_status,
    is_ticked,
    label_of,
    part_of,
    plain,
    reference,
)

_LONGEST_HEAD = 100
_SEVERAL = re.compile(r"[,;\n&]|\band\b")


@dataclass(frozen=True)
class Columns:
    """Where in the rows of a table each thing stands."""

    of: Mapping[Label, int]
    ticks: Mapping[int, str] = field(default_factory=dict)
    """Columns that stand for a status each, ticked where it applies."""
    aside: tuple[str, ...] = ()
    """Heads of columns that are known, and no part of a claim."""
    unknown: tuple[str, ...] = ()
    """Heads of columns that are not known."""

    def cell(self, cells: Sequence[str], label: Label) -> str:
        index = self.of.get(label, len(cells))
        return cells[index].strip() if index < len(cells) else ""

    def status(self, cells: Sequence[str]) -> Status:
        """Read what the ticked columns say."""
        states = [
            STATES[plain(head)]
            for index, head in self.ticks.items()
            if index < len(cells) and is_ticked(cells[index])
        ]
        return Status(tuple(states))


def columns_of(cells: Sequence[str]) -> Columns | None:
    """Read a table's head; None if the row is none.

    It names a control and at least one of status and statement.
    """
    heads = [cell.strip() for cell in cells]
    if any(len(head) > _LONGEST_HEAD for head in heads):
        return None
    labels = [label_of(head) for head in heads]
    ticks = {index: head for index, head in enumerate(heads) if plain(head) in STATES}
    if len(ticks) < 2:
        ticks = {}
    chosen: dict[Label, int] = {}
    aside: list[str] = []
    unknown: list[str] = []
    for index, (head, label) in enumerate(zip(heads, labels, strict=True)):
        if index in ticks or not head:
            continue
        if label is None:
            unknown.append(head)
        elif label in (Label.TITLE, Label.OTHER):
            aside.append(head)
        elif label not in chosen:
            chosen[label] = index
        else:
            better = _better(label, head, heads[chosen[label]])
            aside.append(heads[chosen[label]] if better else head)
            chosen[label] = index if better else chosen[label]
    if Label.CONTROL not in chosen:
        return None
    if not ticks and Label.STATUS not in chosen and Label.STATEMENT not in chosen:
        return None
    return Columns(chosen, ticks, tuple(aside), tuple(unknown))


def _better(label: Label, head: str, taken: str) -> bool:
    """Tell whether a column is it, rather than another that was taken for it."""
    if label is Label.CONTROL:
        return _names_id(head) and not _names_id(taken)
    if label is Label.STATEMENT:
        return is_better_statement(head) and not is_better_statement(taken)
    return False


def _names_id(head: str) -> bool:
    return bool({"id", "ids", "identifier", "number", "no", "#"} & {*plain(head).split()})


def references(cell: str) -> list[Reference] | None:
    """Give the controls of a cell: one with its title, or several; None if it names none."""
    whole = reference(cell)
    if whole is not None and not _SEVERAL.search(whole.rest):
        return [whole]
    several = [reference(each) for each in _SEVERAL.split(cell) if each.strip()]
    found = [each for each in several if each is not None and not each.rest]
    if found and len(found) == len(several):
        return found
    return [whole] if whole is not None else None


def drafts_of(
    place: str, cells: Sequence[str], columns: Columns, above: str, entry: Entry
) -> list[Draft]:
    """Make the drafts of one row; none if it names no control.

    Args:
        above: Control of the row before, which a row that only names a part belongs to.
    """
    written = columns.cell(cells, Label.CONTROL)
    part_cell = columns.cell(cells, Label.PART)
    part = part_of(part_cell) if part_cell else ""
    if not written and above and part:
        found = [Reference(above, part, "")]
    elif not written:
        return []
    else:
        found = references(written) or [Reference(" ".join(written.split())[:32], "", "")]
    named = reference(part_cell) if part is None else None
    if named is not None:
        found, part = [named], ""
    elif part is None:
        entry.blame(f"{part_cell[:64]!r} is no part of a control")
    drafts = [Draft(each.control, place, each.part or part or "") for each in found]
    for number, draft in enumerate(drafts):
        # What is wrong with a row is said once, however many controls it names.
        _fill(draft, cells, columns, Entry("", "", entry.outcome) if number else entry)
    return drafts


def _fill(draft: Draft, cells: Sequence[str], columns: Columns, entry: Entry) -> None:
    takers = {
        Label.STATUS: draft.take_status,
        Label.ORIGIN: draft.take_origin,
        Label.INHERITED: draft.take_inherited,
        Label.DUE: draft.take_due,
        Label.PARAMETERS: draft.take_parameters,
    }
    draft.apply(columns.status(cells), entry)
    for label, take in takers.items():
        if cell := columns.cell(cells, label):
            take(cell, entry)
    draft.component = " ".join(columns.cell(cells, Label.COMPONENT).split())
    if words := columns.cell(cells, Label.STATEMENT):
        draft.words.append(words)


def headless(cells: Sequence[str]) -> Columns | None:
    """Guess the columns of a row without a head: control, status and the longest other cell."""
    named = reference(cells[0]) if len(cells) > 1 else None
    if named is None or named.rest:
        return None
    told = [i for i, cell in enumerate(cells) if i and (is_status(cell) or is_inherited(cell))]
    if len(told) != 1:
        return None
    of = {Label.CONTROL: 0, Label.STATUS: told[0]}
    left = [i for i, cell in enumerate(cells) if i not in (0, told[0]) and cell.strip()]
    if left:
        of[Label.STATEMENT] = max(left, key=lambda index: len(cells[index]))
    return Columns(of, aside=tuple(cells[i] for i in left if i != of[Label.STATEMENT]))
