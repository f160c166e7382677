"""The words that plans in tables and text use for a control, its status, origin and parts.

Sources: FedRAMP's SSP template (rev 4 and 5), NIST SP 800-18, CMS and GSA plan workbooks, and
the words that OSCAL has for the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance import controls

State: TypeAlias = ssp_pb2.ClaimState.ValueType


class Label(Enum):
    """What a column, a label or a heading announces."""

    CONTROL = "control"
    PART = "part"
    STATUS = "status"
    STATEMENT = "statement"
    COMPONENT = "component"
    ORIGIN = "origin"
    INHERITED = "inherited"
    DUE = "due"
    PARAMETERS = "parameters"
    TITLE = "title"
    OTHER = "other"


_WORDS = {
    Label.CONTROL: "control|controls|control id|control ids|control identifier|control number"
    "|control no|control #|control ref|control reference|id|nist control|nist control id|nist id"
    "|nist 800 53 control|nist sp 800 53 control|sp 800 53 control|800 53 control|security control"
    "|security control id|sc id|requirement id|control enhancement|ccf id|sort id",
    Label.PART: "part|control part|requirement part|statement id|control statement id|sub part"
    "|subpart|control item|item|section part",
    Label.STATUS: "status|implementation status|control status|state|implementation state"
    "|control implementation status|current status|compliance status|implementation status s"
    "|implemented",
    Label.STATEMENT: "statement|implementation statement|implementation description"
    "|implementation details|implementation detail|implementation narrative|implementation"
    "|control implementation|control implementation description|control implementation statement"
    "|control implementation details|narrative|control narrative|ssp narrative|solution|response"
    "|control response|how implemented|how is it implemented|how the control is implemented"
    "|implementation summary|implementation response|description of implementation|description"
    "|what is the solution and how is it implemented|customer implementation statement"
    "|implementation statements|implementation text|system implementation|implementation notes",
    Label.COMPONENT: "component|components|system component|component name|component title"
    "|implementing component|service|aws service|technology",
    Label.ORIGIN: "control origination|control originations|origination|control origin|origin"
    "|inheritance|control inheritance|responsibility|control responsibility"
    "|implementation responsibility|shared responsibility|responsibility type",
    Label.INHERITED: "inherited|is inherited",
    Label.DUE: "planned completion date|planned completion|completion date|target date|due date"
    "|planned date|target completion date|estimated completion date|scheduled completion date"
    "|planned implementation date|date planned|remediation date",
    Label.PARAMETERS: "parameter|parameters|parameter value|parameter values|parameter s"
    "|organization defined parameters|organization defined parameter|odp|odps|control parameters"
    "|assignment|assignments",
    Label.TITLE: "title|control title|control name|name|control requirement|control description"
    "|control text|requirement|requirements|control statement|family|control family|class"
    "|priority|baseline|guidance|discussion|supplemental guidance|related controls|references"
    "|control summary information|control objective|control enhancement name|impact level",
    Label.OTHER: "responsible role|responsible roles|responsible entity|responsible party|owner"
    "|control owner|remarks|comments|comment|notes|note|evidence|assessor|poc|last updated"
    "|date|reviewer|assessment result|test result|finding|findings|artifacts",
}
LABELS = {word: label for label, words in _WORDS.items() for word in words.split("|")}
_BETTER_STATEMENT = ("implementation", "narrative", "solution", "response")
"""Where several columns could be the statement, those with such a word are."""

_STATES = {
    ssp_pb2.CLAIM_STATE_IMPLEMENTED: "implemented|fully implemented|complete|completed|in place"
    "|done|satisfied|fully satisfied|compliant|met|yes|operational|implemented in full",
    ssp_pb2.CLAIM_STATE_PARTIAL: "partial|partially|partially implemented|partly implemented"
    "|partially satisfied|partially in place|in part|partial implementation|partially met"
    "|partially compliant|implemented in part|implemented partially",
    ssp_pb2.CLAIM_STATE_PLANNED: "planned|in progress|to be implemented|under development"
    "|scheduled|future|planned implementation|planned to be implemented|not yet implemented",
    ssp_pb2.CLAIM_STATE_ALTERNATIVE: "alternative|alternative implementation|alternate"
    "|alternate implementation|alternatively implemented|compensating|compensating control"
    "|compensating controls|implemented alternatively",
    ssp_pb2.CLAIM_STATE_NOT_APPLICABLE: "not applicable|n a|na|none applicable|inapplicable"
    "|does not apply",
}
STATES: dict[str, State] = {w: s for s, words in _STATES.items() for w in words.split("|")}
_NOT_DONE = (
    "not implemented|no|not satisfied|other than satisfied|not in place|open|none|missing"
    "|non compliant|not met|unimplemented|failed"
)
NOT_DONE = frozenset(_NOT_DONE.split("|"))
LEAST_FIRST: tuple[State, ...] = (
    ssp_pb2.CLAIM_STATE_PARTIAL,
    ssp_pb2.CLAIM_STATE_PLANNED,
    ssp_pb2.CLAIM_STATE_ALTERNATIVE,
    ssp_pb2.CLAIM_STATE_NOT_APPLICABLE,
    ssp_pb2.CLAIM_STATE_IMPLEMENTED,
)
_ORIGINS = re.compile(
    r"^(?:(?P<inherited>inherited\b.*|inherit|fully inherited|leveraged\b.*)|(?P<own>"
    r"(?:service )?provider\b.*|sp (?:corporate|system)\b.*|corporate|system(?: specific)?|hybrid"
    r"\b.*|shared\b.*|(?:configured|provided) by customer\b.*|customer\b.*|common\b.*|organization"
    r"\b.*|csp\b.*|aws\b.*|own|internal|not inherited|no))$"
)
_TICKED, _EMPTY = "☒☑✓✔✅🗹🗷", "☐□⬜❏❑"
BOX = re.compile(rf"[{_TICKED}{_EMPTY}]|\[[ xX]?\](?=\s|$)")
_YES = "x|yes|y|true|1|✓|✔|☒|☑|✅|inherited|fully inherited|fully"
_TRUE = frozenset(_YES.split("|"))
_FALSE = frozenset(["", "no", "n", "false", "0", "☐", "not inherited", "none", "-"])


def plain(text: str) -> str:
    """Give words in lower case, without signs: how words are looked up."""
    return " ".join(re.sub(r"[^a-z0-9#]+", " ", text.lower()).split())


def label_of(text: str) -> Label | None:
    """Give what a column's head or a label announces; None if it is no known word."""
    return LABELS.get(plain(re.sub(r"\([^)]*\)", " ", text)))


def is_better_statement(header: str) -> bool:
    return any(word in plain(header) for word in _BETTER_STATEMENT)


def boxes(text: str) -> list[tuple[bool, str]] | None:
    """Give the check boxes of a text, ticked or not, with their words; None if it has none."""
    marks = list(BOX.finditer(text))
    if not marks:
        return None
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [
        (mark[0] in _TICKED or "x" in mark[0].lower(), text[mark.end() : end].strip(" \t\n,;:|-"))
        for mark, end in zip(marks, ends, strict=True)
    ]


def is_ticked(cell: str) -> bool:
    """Tell whether a cell of a column with a status for its head marks it."""
    return cell.strip().lower() in _TRUE or any(ticked for ticked, _ in boxes(cell) or ())


def truth(cell: str) -> bool | None:
    """Read yes or no; None if it is neither."""
    word = cell.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


@dataclass(frozen=True)
class Status:
    """What a text says of a control's state."""

    states: tuple[State, ...] = ()
    inherited: bool = False
    problems: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """Of several, the one that claims least."""
        found = self.states
        return min(found, key=LEAST_FIRST.index) if found else ssp_pb2.CLAIM_STATE_UNSPECIFIED


def read_status(text: str) -> Status:
    """Read a status: one word, several, or check boxes of which some are ticked."""
    ticks = boxes(text)
    if ticks is None:
        return _statuses(_alternatives(text))
    chosen = [words for ticked, words in ticks if ticked]
    if not chosen:
        return Status(problems=("no status is ticked",))
    return _statuses(chosen)


def _alternatives(text: str) -> Sequence[str]:
    if plain(text) in STATES:
        return [text]
    return [each for each in re.split(r"[,;\n]|\s/\s|\band\b", text) if each.strip()]


def _statuses(words: Sequence[str]) -> Status:
    states: list[State] = []
    problems: list[str] = []
    inherited = False
    for written in words:
        word = plain(written)
        state = STATES.get(word)
        if state is not None:
            states.append(state)
        elif word in NOT_DONE:
            states.append(ssp_pb2.CLAIM_STATE_PLANNED)
            problems.append(f"{written.strip()[:64]!r} is read as planned")
        elif is_inherited(written):
            inherited = True
            states.append(ssp_pb2.CLAIM_STATE_IMPLEMENTED)
        else:
            problems.append(f"{written.strip()[:64]!r} is no implementation status")
    return Status(tuple(states), inherited, tuple(problems))


def is_status(text: str) -> bool:
    """Tell whether a text is a status and nothing else."""
    status = read_status(text) if len(text) < 200 else Status()
    return bool(status.states) and not any("is no impl" in each for each in status.problems)


def is_inherited(text: str) -> bool:
    match = _ORIGINS.match(plain(text))
    return match is not None and match["inherited"] is not None


def read_origin(text: str) -> bool | None:
    """Tell whether a control is inherited and nothing else; None if the words are not known."""
    ticks = boxes(text)
    words = [words for ticked, words in ticks if ticked] if ticks else None
    if words is None:
        whole = _ORIGINS.match(plain(text))
        words = [text] if whole else [each for each in re.split(r"[,;\n]", text) if each.strip()]
    found = [_ORIGINS.match(plain(word)) for word in words]
    if not found or not all(found):
        return None
    return all(each is not None and each["inherited"] for each in found)


_DASHES = dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212), "-") | {
    0xA0: " ",
    0x202F: " ",
}
"""Hyphens, dashes and spaces that word processors write."""
_REFERENCE = re.compile(
    r"^\s*(?P<control>[A-Za-z]{2}\s?-\s?0*[1-9][0-9]?"
    r"(?:\s*(?:[Ee]nhancement\s*|[Ee]nh\.?\s*)?\(\s*0*[1-9][0-9]?\s*\)|\.0*[1-9][0-9]?(?![0-9]))?)"
    r"(?P<part>(?:\s*\(?[a-z]\)|\s*[.,]?\s?(?:[Pp]art\s+)?[a-z](?![A-Za-z]))"
    r"(?:\.?\(?[0-9]{1,2}\)?(?![\w-])(?:\.?\(?[a-z]\)?(?!\w))?)?)?\.?(?![\w(])",
)
_PART = re.compile(
    r"^\s*(?:part|req\.?|requirement|statement)?\s*\(?([a-z])\)?(?:\.?\(?([0-9]{1,2})\)?)?"
    r"(?:\.?\(?([a-z])\)?)?\s*[.:]?\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reference:
    """A control, or a part of one, that a text begins with."""

    control: str
    part: str
    """Such as `a.1`; empty if the whole control is meant."""
    rest: str
    """What follows it."""


def reference(text: str) -> Reference | None:
    """Read the control that a text begins with, in any spelling, such as AC-2(1) or AC-2 a.1."""
    text = text.translate(_DASHES)
    statement = controls.statement_id(text) if "_s" in text else None
    if statement is not None:
        return Reference(statement[0], statement[1].partition("_smt.")[2], "")
    match = _REFERENCE.match(text)
    if match is None:
        return None
    written = re.sub(r"\s*enh\w*\.?\s*", "", match["control"], flags=re.IGNORECASE)
    control = controls.control_id(re.sub(r"\s*-\s*", "-", written))
    if control is None:
        return None
    part = ".".join(re.findall(r"[a-z]|[0-9]+", re.sub(r"[Pp]art", "", match["part"] or "")))
    return Reference(control, part, text[match.end() :].strip())


def part_of(text: str) -> str | None:
    """Read the part of a control, such as `Part a`, `a.1` or `(b)`; None if it is none."""
    match = _PART.match(text.translate(_DASHES))
    if match is None:
        return None
    return ".".join(each.lower() for each in match.groups() if each)
