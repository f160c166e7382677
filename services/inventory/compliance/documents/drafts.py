"""Claims in the making: what tables and text said of a control, and where they said it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance import controls
from services.inventory.compliance.documents.vocabulary import (
    LEAST_FIRST,
    State,
    Status,
    plain,
    read_origin,
    read_status,
    truth,
)
from services.inventory.compliance.statements import (
    MAX_PARAMETER_VALUE,
    MAX_PARAMETERS,
    parse_due,
)

Outcome: TypeAlias = ssp_pb2.Passage.Outcome.ValueType
_PARAMETER = re.compile(
    r"^\s*(?P<id>[a-z]{2}-[0-9.]+_(?:odp(?:\.[0-9]+)?|prm_[0-9]+))\s*[:=]\s*(?P<value>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_SLASHED = re.compile(r"^([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})$")
_WRITTEN_DATES = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%Y/%m/%d", "%B %Y")


@dataclass
class Entry:
    """One block of the document, or a part of one, and what became of it."""

    place: str
    text: str
    outcome: Outcome
    reason: str = ""
    control: str = ""
    draft: "Draft | None" = None

    def blame(self, problem: str) -> None:
        """Add what could not be taken as written."""
        self.reason = f"{self.reason}; {problem}" if self.reason else problem


@dataclass
class Draft:
    """What the document says of one control, or of a part of it, or by one component."""

    control: str
    """OSCAL id, or as written if it is none."""
    source: str
    part: str = ""
    component: str = ""
    states: list[State] = field(default_factory=list)
    inherited: bool | None = None
    due: datetime | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    @property
    def says_something(self) -> bool:
        return bool(self.states or self.words or self.inherited or self.due)

    @property
    def state(self) -> State:
        """Of several, the one that claims least."""
        if not self.states:
            return ssp_pb2.CLAIM_STATE_UNSPECIFIED
        return min(self.states, key=LEAST_FIRST.index)

    @property
    def statement_id(self) -> str:
        return f"{self.control}_smt.{self.part}" if self.part else ""

    @property
    def description(self) -> str:
        return " ".join(" ".join(self.words).split())

    def take_status(self, text: str, entry: Entry) -> None:
        self.apply(read_status(text), entry)

    def apply(self, status: Status, entry: Entry) -> None:
        self.states += status.states
        if status.inherited:
            self.inherited = True
        for problem in status.problems:
            entry.blame(problem)

    def take_origin(self, text: str, entry: Entry) -> None:
        found = read_origin(text)
        if found is None:
            entry.blame(f"{text.strip()[:64]!r} is no control origination")
        else:
            self.inherited = found

    def take_inherited(self, text: str, entry: Entry) -> None:
        found = truth(text)
        if found is None:
            found = read_origin(text)
        if found is None:
            entry.blame(f"{text.strip()[:64]!r} does not say whether it is inherited")
        else:
            self.inherited = found

    def take_due(self, text: str, entry: Entry) -> None:
        if plain(text) in ("", "n a", "na", "tbd", "none", "not applicable"):
            return
        self.due = read_date(text.strip())
        if self.due is None:
            entry.blame(f"{text.strip()[:64]!r} is no date")

    def take_parameters(self, text: str, entry: Entry) -> None:
        """Take settings such as `ac-02.03_odp.02: 90 days`, one a line or parted by semicolons."""
        own = controls.load_controls().get(self.control)
        for written in re.split(r"[;\n]", text):
            setting = _PARAMETER.match(written)
            if setting is not None:
                self._set(controls.parameter_id(setting["id"]), setting["value"], entry)
            elif plain(written) not in ("", "n a", "na", "none", "not applicable"):
                # A value that names no parameter is that of the control's only one.
                ids = [each for each in own.parameters if "_odp" in each] if own else []
                if len(ids) == 1:
                    self._set(ids[0], written, entry)
                else:
                    entry.blame(f"which parameter {written.strip()[:64]!r} sets is not known")

    def _set(self, parameter: str, value: str, entry: Entry) -> None:
        if len(self.parameters) >= MAX_PARAMETERS:
            entry.blame(f"more than {MAX_PARAMETERS} parameters are set")
        elif self.parameters.get(parameter, value.strip()) != value.strip():
            entry.blame(f"{parameter} is set twice; last wins")
        self.parameters[parameter] = " ".join(value.split())[:MAX_PARAMETER_VALUE]

    def fall_back_on(self, whole: "Draft") -> None:
        """Take from the whole control what is not said of this part of it."""
        self.states = self.states or whole.states
        self.inherited = whole.inherited if self.inherited is None else self.inherited
        self.due = self.due or whole.due
        self.component = self.component or whole.component
        self.parameters = {**whole.parameters, **self.parameters}


def read_date(text: str) -> datetime | None:
    """Read a date as plans write it; of two numbers that could be the month, the first is."""
    found = parse_due(text)
    if found is not None:
        return found
    slashed = _SLASHED.match(text)
    if slashed is not None:
        first, second, year = map(int, slashed.groups())
        # FedRAMP's plans are American: the month stands first, if it can.
        month, day = (first, second) if first <= 12 else (second, first)
        return _day(year, month, day)
    for form in _WRITTEN_DATES:
        try:
            # Only the day is taken; its end in UTC is when it is due.
            day_read = datetime.strptime(text, form).date()  # noqa: DTZ007
        except ValueError:
            continue
        return parse_due(day_read.isoformat())
    return None


def _day(year: int, month: int, day: int) -> datetime | None:
    try:
        return parse_due(date(year, month, day).isoformat())
    except ValueError:
        return None


def entries_to_issues(entries: Iterable[Entry]) -> Iterable[tuple[str, str]]:
    """Give place and problem of all that could not be taken as written."""
    for entry in entries:
        blamed = entry.outcome == ssp_pb2.Passage.OUTCOME_NOT_UNDERSTOOD
        claimed = entry.outcome == ssp_pb2.Passage.OUTCOME_CLAIM
        if entry.reason and (blamed or claimed):
            yield entry.place, entry.reason
