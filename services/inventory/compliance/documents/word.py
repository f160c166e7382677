"""Word documents (ECMA-376 part 1, WordprocessingML), drawn into blocks.

Paragraphs, tables and content controls are read in their order; check boxes are written as ☒ and
☐ as Word shows them. Deleted text and fields' instructions are not the document's words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.inventory.compliance.documents.blocks import Block, DocumentRefused, Extract
from services.inventory.compliance.documents.office import Package, opened, title_of

MAX_DEPTH = 30
"""Of tables within tables."""
_HEADING = re.compile(r"^heading\s*([1-9])", re.IGNORECASE)
_BREAKS = {"br": "\n", "cr": "\n", "tab": "\t", "noBreakHyphen": "-", "ptab": "\t"}
_NOT_WORDS = frozenset({"instrText", "delText", "delInstrText", "Fallback"})
_ON = frozenset({"1", "true", "on", ""})


@dataclass
class _Cell:
    lines: list[str] = field(default_factory=list)
    span: int = 1
    continues: bool = False
    """Whether the cell above goes on in it."""


@dataclass
class _Table:
    number: int
    rows: int = 0
    cells: list[_Cell] = field(default_factory=list)
    above: list[str] = field(default_factory=list)


class _Styles:
    """Levels of headings by the ids of their styles."""

    def __init__(self) -> None:
        self.levels: dict[str, int] = {}
        self._id = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "style":
            self._id = attributes.get("styleId", "")
        elif tag == "name" and self._id:
            named = _HEADING.match(attributes.get("val", ""))
            if named is not None:
                self.levels[self._id] = int(named[1])
            elif attributes.get("val", "").lower() == "title":
                self.levels[self._id] = 1

    def end(self, _tag: str) -> None: ...

    def text(self, _data: str) -> None: ...


class _Document:
    """Makes blocks of the elements of `word/document.xml`."""

    def __init__(self, extract: Extract, levels: Mapping[str, int]) -> None:
        self._extract = extract
        self._levels = levels
        self._tables: list[_Table] = []
        self._made = 0
        self._paragraphs = 0
        self._words: list[str] = []
        self._level = 0
        self._mute = 0
        self._in_text = False
        self._ticked: bool | None = None
        """Of the form's check box that is being read."""
        self._outer: list[tuple[list[str], int]] = []
        """Paragraphs that a text box stands in."""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        value = attributes.get("val", "")
        if self._mute or tag in _NOT_WORDS or tag in ("del", "moveFrom"):
            self._mute += 1
        elif tag == "t":
            self._in_text = True
        elif tag == "p":
            self._outer.append((self._words, self._level))
            self._words, self._level = [], 0
        elif tag in _BREAKS:
            self._words.append(_BREAKS[tag])
        elif tag == "pStyle":
            self._level = self._levels.get(value, 0)
        elif tag == "outlineLvl" and value.isdigit() and int(value) < 9:
            self._level = int(value) + 1
        elif tag in ("tbl", "tr", "tc", "gridSpan", "vMerge"):
            self._table_start(tag, attributes)
        else:
            self._box_start(tag, attributes)

    def _box_start(self, tag: str, attributes: Mapping[str, str]) -> None:
        value = attributes.get("val", "")
        if tag == "checkBox":
            self._ticked = False
        elif tag == "checked" or (tag == "default" and self._ticked is not None):
            self._ticked = value.lower() in _ON
        elif tag == "sym":
            self._words.append(_symbol(attributes.get("char", "")))

    def _table_start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "tbl":
            if len(self._tables) >= MAX_DEPTH:
                raise DocumentRefused("its tables are nested too deeply", self._place())
            self._made += 1
            self._tables.append(_Table(self._made))
        elif not self._tables:
            return
        elif tag == "tr":
            self._tables[-1].rows += 1
            self._tables[-1].cells = []
        elif tag == "tc":
            self._tables[-1].cells.append(_Cell())
        elif self._tables[-1].cells:
            cell = self._tables[-1].cells[-1]
            if tag == "gridSpan":
                given = attributes.get("val", "1")
                cell.span = min(int(given), 63) if given.isdigit() else 1
            else:
                cell.continues = attributes.get("val", "continue") != "restart"

    def text(self, data: str) -> None:
        if self._in_text and not self._mute:
            self._words.append(data)

    def end(self, tag: str) -> None:
        if self._mute:
            self._mute -= 1
        elif tag == "t":
            self._in_text = False
        elif tag == "checkBox":
            self._words.append("☒ " if self._ticked else "☐ ")
            self._ticked = None
        elif tag == "p":
            self._paragraph()
        elif tag == "tr" and self._tables:
            self._row()
        elif tag == "tbl" and self._tables:
            self._tables.pop()

    def _place(self) -> str:
        if self._tables:
            return f"table {self._tables[0].number}, row {self._tables[0].rows}"
        return f"paragraph {self._paragraphs}"

    def _paragraph(self) -> None:
        text, level = "".join(self._words).strip(), self._level
        self._words, self._level = self._outer.pop() if self._outer else ([], 0)
        if self._tables:
            cells = self._tables[-1].cells
            if cells and text:
                cells[-1].lines.append(text)
            return
        self._paragraphs += 1
        for line in [text] if level else text.split("\n"):
            self._extract.add(Block(self._place(), (line.strip(),), level=level))

    def _row(self) -> None:
        table = self._tables[-1]
        texts: list[str] = []
        for cell in table.cells:
            column = len(texts)
            text = "\n".join(cell.lines)
            if cell.continues and not text and column < len(table.above):
                text = table.above[column]
            texts += [text] + [""] * (cell.span - 1)
        table.above, table.cells = texts, []
        if len(self._tables) > 1:
            # A table in a cell: its rows are lines of that cell.
            outer = self._tables[-2].cells
            if outer:
                outer[-1].lines.append(": ".join(text for text in texts if text))
            return
        self._extract.add(Block(self._place(), tuple(texts), table.number))


def _symbol(char: str) -> str:
    """Give the check boxes of Wingdings (ECMA-376 17.3.3.30); other symbols are none."""
    code = char.upper()[-2:]
    return {"FE": "☒ ", "FD": "☒ ", "78": "☒ ", "A8": "☐ ", "6F": "☐ ", "FC": "✓ "}.get(code, "")


def read_word(content: bytes) -> Extract:
    """Draw a DOCX into blocks; raises DocumentRefused if it is none that can be read."""
    extract = Extract()
    with opened(content) as package:
        if "word/document.xml" not in package.names:
            raise DocumentRefused("it is no Word document: word/document.xml is missing")
        extract.title = title_of(package)
        styles = _Styles()
        package.read("word/styles.xml", styles)
        package.read("word/document.xml", _Document(extract, styles.levels))
        _note_unread(package, extract)
    return extract


class _Words:
    """Tells whether a part has any words."""

    def __init__(self) -> None:
        self.any = False

    def start(self, _tag: str, _attributes: Mapping[str, str]) -> None: ...

    def end(self, _tag: str) -> None: ...

    def text(self, data: str) -> None:
        self.any = self.any or bool(data.strip())


def _note_unread(package: Package, extract: Extract) -> None:
    for what in ("comments", "footnotes", "endnotes"):
        words = _Words()
        package.read(f"word/{what}.xml", words)
        if words.any:
            extract.notes.append((what, f"the document has {what}, which are not read"))
