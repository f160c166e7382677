"""The blocks of a document, read into drafts of claims and an entry for everything."""

import re
from dataclasses import dataclass, field

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance import controls
from services.inventory.compliance.documents.blocks import Block
from services.inventory.compliance.documents.columns import (
    Columns,
    columns_of,
    drafts_of,
    headless,
)
from services.inventory.compliance.documents.drafts import Draft, Entry
from services.inventory.compliance.documents.section import Section
from services.inventory.compliance.documents.vocabulary import (
    Label,
    Reference,
    boxes,
    is_status,
    label_of,
    part_of,
    plain,
    reference,
)

_PASSAGE = ssp_pb2.Passage
_CONTENTS = re.compile(r"(?:\.\s?){4,}\s*\d+\s*$|\t\d+\s*$")
_LABELLED = re.compile(r"^\s*([^:?=☐☒\[]{2,80}?)\s*(?:\([^)]*\))?\s*([:?])\s*(.*)$", re.DOTALL)
_PART = re.compile(
    r"^\s*(?:implementation (?:for|of) )?(?:part|req\.)\s+(\(?[a-z]\)?(?:\.?\(?\d{1,2}\)?)?)"
    r"(?=$|[\s.:)|-])\s*[.:|)-]*\s*(.*)$",
    re.IGNORECASE | re.DOTALL,
)
_PARAMETER = re.compile(
    r"^\s*(?:parameter\s+[^:]{0,60}:\s*(?P<value>.*)|(?P<set>[a-z]{2}-[0-9.]+_(?:odp|prm)\S*\s*[:=].*))$",
    re.IGNORECASE | re.DOTALL,
)
_SEPARATOR = re.compile(r"\s*[|;\t]\s*|\s{2,}|\s*[:,]\s+|\s+-\s+|^\s*[:,-]\s*")
_MOST_CELLS = 4
_FARTHEST_BASELINE = 300


@dataclass
class Reading:
    """What was read of a document."""

    drafts: list[Draft] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    baseline: ssp_pb2.Baseline.ValueType = ssp_pb2.BASELINE_UNSPECIFIED
    title: str = ""


class Reader:
    """Reads block after block; what stands there once is in `entries` once, in order."""

    def __init__(self) -> None:
        self.found = Reading()
        self._tables: dict[int, Columns] = {}
        self._above = ""
        self._section: Section | None = None

    def read(self, blocks: list[Block]) -> Reading:
        for block in blocks:
            if block.table:
                self._row(block)
            else:
                self._line(block.place, block.text.strip(), block.level)
        self._close()
        return self.found

    def _entry(self, place: str, text: str, outcome: int, reason: str = "") -> Entry:
        kind = _PASSAGE.Outcome.ValueType(outcome)
        entry = Entry(place, " ".join(text.split()), kind, reason)
        self.found.entries.append(entry)
        return entry

    def _close(self) -> None:
        if self._section is not None:
            self.found.drafts += self._section.finish()
            self._section = None

    def _row(self, block: Block) -> None:
        columns = columns_of(block.cells)
        if columns is not None:
            self._close()
            self._tables[block.table], self._above = columns, ""
            self._head(block, columns)
            return
        columns = self._tables.get(block.table) or headless(block.cells)
        if columns is not None:
            self._close()
            self._claim_row(block, columns)
            return
        for text in _lines_of_row(block.cells):
            self._line(block.place, text, 0)

    def _head(self, block: Block, columns: Columns) -> None:
        entry = self._entry(block.place, block.text, _PASSAGE.OUTCOME_CONTEXT)
        if columns.aside:
            entry.reason = f"columns that are no part of a claim: {', '.join(columns.aside)}"
        for head in columns.unknown:
            problem = f"the column {head[:64]!r} is not known and is not read"
            self._entry(block.place, head, _PASSAGE.OUTCOME_NOT_UNDERSTOOD, problem)

    def _claim_row(self, block: Block, columns: Columns) -> None:
        entry = self._entry(block.place, block.text, _PASSAGE.OUTCOME_CLAIM)
        drafts = drafts_of(block.place, block.cells, columns, self._above, entry)
        said = [draft for draft in drafts if draft.says_something]
        if drafts:
            self._above = drafts[0].control
            entry.control = drafts[0].control
        if said:
            entry.draft = said[0]
            self.found.drafts += said
            return
        entry.outcome = _PASSAGE.OUTCOME_NO_CLAIM
        told = bool(columns.cell(block.cells, Label.STATEMENT)) or bool(
            columns.cell(block.cells, Label.STATUS)
        )
        if drafts:
            if entry.reason:
                entry.outcome = _PASSAGE.OUTCOME_NOT_UNDERSTOOD
            entry.blame("the row names a control, with neither status nor statement")
        elif told and len({*block.cells}) > 1:
            entry.outcome = _PASSAGE.OUTCOME_NOT_UNDERSTOOD
            entry.blame("the row names no control")
        else:
            entry.blame("the row names no control")

    def _line(self, place: str, text: str, level: int) -> None:
        if not text:
            return
        if _CONTENTS.search(text):
            self._entry(place, text, _PASSAGE.OUTCOME_NO_CLAIM, "a line of a table of contents")
            return
        named = reference(text)
        if named is not None and self._names_control(place, text, level, named):
            return
        section = self._section
        if section is None:
            self._outside(place, text, level)
            return
        if self._labelled(section, place, text):
            return
        if level and level <= max(section.level, 1):
            self._close()
            self._outside(place, text, level)
            return
        if level:
            reason = f"a heading within {section.control}"
            self._entry(place, text, _PASSAGE.OUTCOME_CONTEXT, reason).control = section.control
            return
        entry = section.own(self._entry(place, text, _PASSAGE.OUTCOME_CLAIM))
        if not section.take_boxes(text, entry):
            section.take_words(entry.text, entry)

    def _outside(self, place: str, text: str, level: int) -> None:
        baseline = (
            controls.recognise_baseline(text)
            if len(text) <= _FARTHEST_BASELINE
            else ssp_pb2.BASELINE_UNSPECIFIED
        )
        if baseline and not self.found.baseline:
            self.found.baseline = baseline
            said = f"the baseline is {controls.baseline_title(baseline)}"
            self._entry(place, text, _PASSAGE.OUTCOME_CONTEXT, said)
        elif level and not self.found.title:
            self._entry(place, text, _PASSAGE.OUTCOME_CONTEXT, "the title")
        else:
            reason = "no control is named before it"
            self._entry(place, text, _PASSAGE.OUTCOME_NO_CLAIM, reason)
        if level and not self.found.title:
            self.found.title = text

    def _names_control(self, place: str, text: str, level: int, named: Reference) -> bool:
        """Take a line that begins with a control as its heading or its claim, if it is one."""
        rest = named.rest.strip()
        announced = label_of(rest.rstrip("?: ")) if rest else None
        inline = None if announced else _inline(rest)
        if inline is not None:
            self._close()
        elif not (level or announced or _is_title(rest, named.control)):
            return False
        section = self._section
        if section is None or section.control != named.control:
            self._close()
            section = self._section = Section(named.control, place, level)
        section.go_to_part(named.part, place)
        entry = section.own(self._entry(place, text, _PASSAGE.OUTCOME_CLAIM))
        if inline is not None:
            status, words = inline
            section.labelled = True
            section.take_status(status, entry)
            if words:
                section.current.words.append(words)
        elif announced is Label.STATEMENT:
            section.take(announced, "", entry)
        return True

    def _labelled(self, section: Section, place: str, text: str) -> bool:
        """Take a line that says what it holds, such as `Implementation Status: Planned`."""
        setting = _PARAMETER.match(text)
        part = _PART.match(text)
        match = _LABELLED.match(text)
        label = label_of(match[1]) if match else label_of(text)
        if setting is not None:
            entry = section.own(self._entry(place, text, _PASSAGE.OUTCOME_CLAIM))
            section.take(Label.PARAMETERS, setting["set"] or setting["value"].strip(), entry)
        elif part is not None:
            section.go_to_part(part_of(part[1]) or "", place)
            entry = section.own(self._entry(place, text, _PASSAGE.OUTCOME_CLAIM))
            section.take(Label.STATEMENT, part[2].strip(), entry)
        elif label is not None and (match is not None or _stands_alone(text)):
            value = match[3].strip() if match else ""
            if label is Label.PART and (named := part_of(value)):
                section.go_to_part(named, place)
            entry = section.own(self._entry(place, text, _PASSAGE.OUTCOME_CLAIM))
            self._take(section, label, value, entry)
        else:
            return False
        return True

    def _take(self, section: Section, label: Label, value: str, entry: Entry) -> None:
        if label is Label.CONTROL or label is Label.PART:
            return
        if value and boxes(value) and label in (Label.STATUS, Label.ORIGIN):
            section.take(label, "", entry)
            section.take_boxes(value, entry)
        elif label is Label.TITLE and not value:
            entry.outcome = _PASSAGE.OUTCOME_CONTEXT
        else:
            section.take(label, value, entry)


def _stands_alone(text: str) -> bool:
    """Tell whether a line without a colon is a label all the same: several words and no more."""
    return len(plain(text).split()) > 1


def _lines_of_row(cells: tuple[str, ...]) -> list[str]:
    """Make lines of a row without a head: a label and its value in two cells are one line."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    if len(filled) == 2 and "\n" not in filled[0]:
        first, second = filled
        named = reference(first)
        if named is not None and not named.rest:
            return [f"{first} {second}"]
        if label_of(first.rstrip(": ")) is not None or _PART.match(first):
            head, *more = second.split("\n")
            return [f"{first.rstrip(': ')}: {head}", *more]
    return [line for cell in filled for line in cell.split("\n")]


def _is_title(rest: str, control: str) -> bool:
    """Tell whether what follows a control's id is its title, so that the line is a heading."""
    known = controls.load_controls().get(control)
    words, title = plain(rest), plain(known.title) if known else ""
    if not words:
        return True
    return bool(title) and (words.startswith(title) or (title in words and len(rest) < 160))


def _inline(rest: str) -> tuple[str, str] | None:
    """Find a status among the first parts of a line, and the words after it."""
    begins = 0
    for count, gap in enumerate([*_SEPARATOR.finditer(rest), None]):
        end = gap.start() if gap is not None else len(rest)
        segment = rest[begins:end].strip()
        if segment and is_status(segment):
            return segment, rest[gap.end() :].strip() if gap is not None else ""
        if gap is None or count == _MOST_CELLS:
            return None
        begins = gap.end()
    return None
