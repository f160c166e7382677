"""What a document says of one control, line by line, from its heading to the next."""

from dataclasses import dataclass, field

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.documents.drafts import Draft, Entry
from services.inventory.compliance.documents.vocabulary import (
    Label,
    boxes,
    is_status,
    read_origin,
)

_PASSAGE = ssp_pb2.Passage


@dataclass
class Section:
    """A control under a heading; its parts and components each are a draft."""

    control: str
    source: str
    level: int
    slots: list[Draft] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    leading: list[Entry] = field(default_factory=list)
    """Words before any label: the statement, or the control's own words before it."""
    labelled: bool = False
    pending: Label | None = None
    """Label whose value stands in the lines after it."""
    unticked: Entry | None = None
    """Where check boxes of a status began, as long as none is ticked."""

    def __post_init__(self) -> None:
        self.slots.append(Draft(self.control, self.source))
        self.current = self.slots[0]

    def go_to_part(self, part: str, place: str) -> None:
        """Take what follows for a part of the control; the whole if it is empty."""
        known = [slot for slot in self.slots if slot.part == part]
        if not known:
            known = [Draft(self.control, place, part)]
            self.slots += known
        self.current = known[-1]
        self.pending = None

    def own(self, entry: Entry) -> Entry:
        entry.draft, entry.control = self.current, self.control
        self.entries.append(entry)
        return entry

    def take(self, label: Label, value: str, entry: Entry) -> None:
        """Take a labelled value; an empty one stands in the lines that follow."""
        self.labelled = True
        self.pending = None if value else label
        if label is Label.STATEMENT or not value:
            if value:
                self.current.words.append(value)
            return
        if label is Label.COMPONENT:
            self._component(" ".join(value.split()), entry)
            return
        takers = {
            Label.STATUS: self.take_status,
            Label.ORIGIN: self.current.take_origin,
            Label.INHERITED: self.current.take_inherited,
            Label.DUE: self.current.take_due,
            Label.PARAMETERS: self.current.take_parameters,
        }
        if label in takers:
            takers[label](value, entry)
        else:
            entry.outcome = _PASSAGE.OUTCOME_CONTEXT
            entry.reason = "is no part of a claim"

    def take_status(self, value: str, entry: Entry) -> None:
        self.current.take_status(value, entry)

    def take_boxes(self, text: str, entry: Entry) -> bool:
        """Take check boxes of a status or an origin; False if the line has none."""
        found = boxes(text)
        if not found:
            return False
        self.labelled = True
        ticked = [words for tick, words in found if tick]
        about_origin = self.pending is Label.ORIGIN or (
            self.pending is not Label.STATUS
            and not any(is_status(words) for _, words in found)
            and read_origin(found[0][1]) is not None
        )
        if about_origin:
            self._origins(ticked, entry)
            return True
        if self.unticked is None and not self.current.states:
            self.unticked = entry
        for words in ticked:
            self.unticked = None
            self.current.take_status(words, entry)
        return True

    def _origins(self, ticked: list[str], entry: Entry) -> None:
        for words in ticked:
            before = self.current.inherited
            self.current.take_origin(words, entry)
            # Inherited is what names inheritance and nothing else.
            if before is False:
                self.current.inherited = False

    def take_words(self, text: str, entry: Entry) -> None:
        """Take a line that is neither label nor check box."""
        if self.pending not in (None, Label.STATEMENT):
            label, self.pending = self.pending, None
            self.take(label, text, entry)
            return
        if self.labelled:
            self.current.words.append(text)
        else:
            self.leading.append(entry)

    def _component(self, title: str, entry: Entry) -> None:
        if self.current.component or (self.current.says_something and not self.current.part):
            self.current = Draft(self.control, entry.place, self.current.part)
            self.slots.append(self.current)
            entry.draft = self.current
        self.current.component = title

    def finish(self) -> list[Draft]:
        """Give the claims, and settle what became of each line."""
        if self.unticked is not None and not any(slot.states for slot in self.slots):
            self.unticked.blame("no status is ticked")
        whole, *others = self.slots
        if not any(slot.words for slot in self.slots):
            whole.words = [entry.text for entry in self.leading]
        else:
            for entry in self.leading:
                entry.outcome = _PASSAGE.OUTCOME_NO_CLAIM
                entry.reason = "stands before the statement: the control's own words"
                entry.draft = None
        parts = [slot for slot in others if slot.part and slot.says_something]
        for part in parts:
            part.fall_back_on(whole)
        if parts and whole.words:
            self._set_aside(whole, "stands before the control's parts and belongs to none")
        drafts = parts or [slot for slot in self.slots if slot.says_something]
        self._settle(drafts)
        return drafts

    def _set_aside(self, whole: Draft, reason: str) -> None:
        for entry in self.entries:
            if entry.draft is whole and entry.text in whole.words:
                entry.outcome, entry.reason = _PASSAGE.OUTCOME_NO_CLAIM, reason
                entry.draft = None

    def _settle(self, drafts: list[Draft]) -> None:
        for entry in self.entries:
            if entry.outcome != _PASSAGE.OUTCOME_CLAIM:
                entry.draft = None
            elif not drafts:
                entry.outcome, entry.draft = _PASSAGE.OUTCOME_NO_CLAIM, None
                entry.reason = entry.reason or "names a control, with neither status nor statement"
            elif entry.draft not in drafts:
                entry.draft = drafts[0]
