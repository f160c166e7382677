"""Text, Markdown and separated values, drawn into blocks.

Sources: RFC 4180 (CSV), CommonMark 0.31 with GitHub's tables, the WHATWG's order of encodings.
"""

import csv
import io
import re
from collections.abc import Iterator

from services.inventory.compliance.documents.blocks import Block, DocumentRefused, Extract

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
CONTROLS = dict.fromkeys([*range(9), *range(14, 32), 127], "\N{REPLACEMENT CHARACTER}")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_RULE = re.compile(r"^[ \t]*[|:=+-][ \t|:=+-]*$")
_QUOTE = re.compile(r"^[ \t]*(?:>[ \t]?)+")
_BULLET = re.compile(r"^[ \t]*[*+-][ \t]+")
_EMPHASIS = re.compile(r"\*\*|__|``?|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->")
_CELL_END = re.compile(r"(?<!\\)\|")
_GAP = re.compile(r"\t+| {2,}")
_LONGEST_CELL = 1 << 20
_LAST = "\x1e"
"""A line after the last one, of a character that no decoded text holds."""
_OPEN_QUOTE = "a quote that opens in this row is not closed"
DELIMITERS = ",;\t|"


def decode(content: bytes, extract: Extract) -> str:
    """Give the text of a file; notes it if the encoding had to be guessed.

    Raises DocumentRefused if it is no text in Unicode or Windows-1252.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _strictly(content[len(mark) :], encoding)
    pairs = content[: 4096 & ~1]
    for encoding, zeros in (("utf-16-le", pairs[1::2]), ("utf-16-be", pairs[::2])):
        if zeros and zeros.count(0) * 2 > len(zeros):
            return _strictly(content, encoding)
    if b"\x00" in content:
        raise DocumentRefused("it is no text: it holds NUL")
    try:
        return content.decode("utf-8").translate(CONTROLS)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        extract.notes.append((f"line {line}", "is not UTF-8; the file is read as Windows-1252"))
        return content.decode("cp1252", errors="replace").translate(CONTROLS)


def _strictly(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding).translate(CONTROLS)
    except UnicodeDecodeError as error:
        problem = f"is not {encoding.upper()}, as it begins: byte {error.start:,} is wrong"
        raise DocumentRefused(f"the document {problem}") from None


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines and their numbers, from 1, whatever ends them."""
    return enumerate(re.split(r"\r\n|\r|\n", text), start=1)


def read_text(text: str, extract: Extract) -> None:
    """Draw plain text into blocks: a line each; gaps of two spaces or a tab part cells."""
    for number, line in lines_of(text):
        line = line.replace("\f", " ").rstrip()
        if not _RULE.match(line):
            extract.add(Block(f"line {number}", (line,)))


def read_markdown(text: str, extract: Extract) -> None:
    """Draw Markdown into blocks; a table's rows are of one table until another line comes."""
    table, inside, fenced = 0, False, False
    for number, raw in lines_of(text):
        place = f"line {number}"
        line = _COMMENT.sub("", _QUOTE.sub("", raw))
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            continue
        row = None if fenced else _table_row(line)
        if row is not None:
            table += not inside
            inside = True
            if not _RULE.match(line):
                extract.add(Block(place, row, table))
            continue
        inside = False
        heading = None if fenced else _HEADING.match(line)
        if heading is not None:
            extract.add(Block(place, (unmarked(heading[2]),), level=len(heading[1])))
        elif not _RULE.match(line):
            extract.add(Block(place, (unmarked(_BULLET.sub("", line)),)))


def _table_row(line: str) -> tuple[str, ...] | None:
    stripped = line.strip()
    if not stripped.startswith("|") or len(_CELL_END.findall(stripped)) < 2:
        return None
    inner = _CELL_END.split(stripped[1:].removesuffix("|"))
    return tuple(unmarked(cell.replace("\\|", "|")) for cell in inner)


def unmarked(text: str) -> str:
    """Take Markdown's emphasis off a line; line breaks of cells become real ones."""
    text = _BREAK.sub("\n", text)
    return re.sub(r"\\([^\w\s])", r"\1", _EMPHASIS.sub("", text)).strip()


def read_separated(text: str, delimiter: str, extract: Extract) -> None:
    """Draw separated values into the rows of one table, each at the line it begins on.

    Raises DocumentRefused if a quote is not closed: what follows it would be lost in one cell.
    """
    ended = text if text.endswith(("\n", "\r")) else f"{text}\n"
    reader = csv.reader(io.StringIO(ended + _LAST, newline=""), delimiter=delimiter)
    csv.field_size_limit(_LONGEST_CELL)
    begins = 1
    try:
        for row in reader:
            if row == [_LAST]:
                return
            if row and row[-1].endswith(_LAST):
                raise DocumentRefused(_OPEN_QUOTE, f"line {begins}")
            extract.add(Block(f"line {begins}", tuple(row), 1))
            begins = reader.line_num + 1
    except csv.Error as error:
        problem = f"is no separated values: {error}"
        if "field limit" in str(error):
            problem = f"a cell has more than {_LONGEST_CELL:,} characters; is a quote not closed?"
        raise DocumentRefused(problem, f"line {begins}") from None


def cells_of_line(line: str) -> tuple[str, ...]:
    """Part a line of text at tabs and gaps of two spaces or more."""
    return tuple(part.strip() for part in _GAP.split(line.strip()))
