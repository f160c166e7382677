"""Makes the records of one kind, each whole and valid."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from mesh.contract.catalogue import Kind, field_option
from mesh.identifiers import uuid7_of
from mesh.records.fields import behaves
from mesh.server.interceptors.validation import violations_of
from mesh.sql.at_rest import is_hashed, keys_fields
from services.security.findings.due import DUE_TIME
from services.security.findings.machine import Machine
from services.security.seeding.draw import Draw
from services.security.seeding.keys import Keys, has_key, is_given
from services.security.seeding.relations import Entry, Relations
from services.security.seeding.timeline import Timeline, span_of
from services.security.seeding.values import SEVERITY, STATUS, Fill, Values, put_in_order
from services.security.seeding.vocabulary import vocabulary

_TIMESTAMP = "google.protobuf.Timestamp"
_LIKELY = 0.9
_WHOLE = 3
"""The first records of a kind have all their fields; slow hashes are made for them alone."""
_SPANS = {"duration_ms": 1, "duration_seconds": 1000, "duration_minutes": 60_000}
_LABELS = {"origin": "seed"}
"""Labels of all made-up records, by which they are found again."""


class SeedProblem(Exception):
    """No record of a kind can be made that keeps the contract."""


@dataclass(frozen=True)
class Chance:
    """What everything made up comes from."""

    seed: int
    until: int
    """Seconds since 1970, after which nothing has happened."""
    records: int

    def random(self, collection: str, number: int, purpose: str = "") -> Random:
        """Give the chance of one record."""
        return Random(f"{self}/{collection}/{number}/{purpose}")  # noqa: S311  # made up, not secret

    def new_id(self, collection: str, number: int, moment: int) -> str:
        """Name a record that nothing it says names, after the second it is of."""
        bits = self.random(collection, number, "id").getrandbits(80)
        return uuid7_of(moment * 1000 + number % 1000, bits)

    def stream_id(self, collection: str) -> str:
        """Name the records of a kind that what they say names, should they be new."""
        return uuid7_of(self.until * 1000, self.random(collection, 0, "stream").getrandbits(80))


class RecordMaker:
    """Makes records of one kind, by number."""

    def __init__(
        self,
        kind: Kind,
        envelope: type[Message],
        tenant: str,
        chance: Chance,
        relations: Relations,
        machine: Machine | None,
    ) -> None:
        """``machine``: the life of the kind's records, if they are findings."""
        self.kind = kind
        self._envelope = envelope
        self._tenant = tenant
        self._chance = chance
        self._relations = relations
        self._words = vocabulary()
        self.keys = Keys(kind, self._words)
        self._keyed = has_key(kind)
        self._references = relations.ordered(kind)
        self._timeline = Timeline(kind.descriptor, chance.until)
        self._values = Values(
            kind.collection, self._words, chance.until, self._names, relations.pools.keys()
        )
        self._machine = machine
        rules = kind.descriptor.GetOptions().Extensions[validate_pb2.message]
        self._ruled = bool(rules.cel)
        slow = {each.name for each in kind.descriptor.fields if is_hashed(each)}
        self._slow = slow - keys_fields(kind)
        self._fields = sorted(filter(self._is_made, kind.descriptor.fields), key=_first_enums)
        self._fillers = {each.name: self._filler(each) for each in self._fields}
        self._moments = {
            each.name for each in kind.descriptor.fields if _is_moment(each) and is_given(each)
        }
        required = filter(_is_required, kind.descriptor.fields)
        self._required = {each.name for each in required} | self.keys.fields

    def make(self, number: int) -> tuple[Any, Mapping[str, str]]:
        """Give a record and what it belongs to; SeedProblem."""
        collection = self.kind.collection
        draw = Draw(number, self._chance.random(collection, number), self._words)
        self.keys.fix(draw, self._relations.pools)
        body: Any = message_factory.GetMessageClass(self.kind.descriptor)()
        birth = self._timeline.birth(draw)
        self._fill(body, draw, birth)
        parents = self._refer(body, draw)
        self._settle(body)
        record: Any = self._envelope()
        getattr(record, self.kind.body_field or "").CopyFrom(body)
        record.labels.update(_LABELS)
        if not self._keyed:
            new_id = self._chance.new_id(collection, number, birth)
            record.name = self.kind.pattern.format(self._tenant, new_id)
        return record, parents

    def _fill(self, body: Any, draw: Draw, birth: int) -> None:
        """Set the fields that do not refer to others."""
        wanted = set()
        for field in self._fields:
            name = field.name
            if not self._is_wanted(name, draw):
                continue
            if name in self._moments:
                wanted.add(name)
            elif draw.fixed.get(name) is not None:
                setattr(body, name, draw.fixed[name])
                if field.enum_type is not None:
                    draw.word_of(field.enum_type, draw.fixed[name])
            else:
                self._fillers[name](body, draw)
        self._timeline.set(body, wanted, birth, draw)
        for name in self.keys.moments & draw.fixed.keys():
            # A time that tells records apart: one day before the other.
            day = self._chance.until - self._chance.until % 86_400
            getattr(body, name).seconds = day - 86_400 * draw.fixed[name]

    def _is_wanted(self, name: str, draw: Draw) -> bool:
        chance = draw.random.random()
        if name in self._slow:
            return draw.number <= _WHOLE
        if name in self._required:
            return True
        if name in self._words.needs:
            return not draw.said.isdisjoint(self._words.needs[name])
        if name in self._words.at_the_end and self._has_end:
            return self._is_over(draw)
        return self._ruled or draw.number <= _WHOLE or chance < _LIKELY

    def _is_over(self, draw: Draw) -> bool:
        return draw.status in self._words.closed

    @property
    def _has_end(self) -> bool:
        return STATUS in self._fillers

    def _refer(self, body: Any, draw: Draw) -> Mapping[str, str]:
        """Set the references; give what the record belongs to."""
        if not self._references:
            return {}
        random = self._chance.random(self.kind.collection, draw.number, "references")
        names = {each.field for each in self._references}
        fixed: dict[str, Entry | None] = {
            field: entry for field, entry in draw.fixed.items() if field in names
        }
        goes_on = self._has_end and not self._is_over(draw)
        wanted = [
            each
            for each in self._references
            if not (goes_on and each.field in self._words.at_the_end)
        ]
        if self._ruled:
            # Of those that exclude each other any may be the first.
            random.shuffle(wanted)
        chosen, parents = self._relations.choose(
            self.kind.collection,
            wanted,
            random,
            fixed,
            draw.said,
            whole=self._ruled or draw.number <= _WHOLE,
        )
        if self._ruled:
            self._refer_by_rules(body, chosen, random)
        else:
            for field, name in chosen.items():
                setattr(body, field, name)
        return parents

    def _refer_by_rules(self, body: Any, chosen: Mapping[str, str], random: Random) -> None:
        """Set references one by one, as long as rules over several fields are not broken by it."""
        order = sorted(chosen, key=lambda field: (field not in self._required, random.random()))
        for field in order:
            before = len(violations_of(body))
            setattr(body, field, chosen[field])
            if field not in self._required and len(violations_of(body)) > before:
                body.ClearField(field)

    def _settle(self, body: Any) -> None:
        """Let fields agree that speak of the same, and hold the whole against the contract."""
        fields = body.DESCRIPTOR.fields_by_name
        for whole, parts in self._words.wholes.items():
            if whole in fields and body.HasField(whole):
                setattr(body, whole, sum(getattr(body, each) for each in parts))
        put_in_order(body)
        for name, unit in _SPANS.items():
            span = span_of(body, "start_time", "end_time") if name in fields else None
            if span is not None:
                setattr(body, name, span // unit)
        for violation in violations_of(body):
            raise SeedProblem(f"{self.kind.collection}: {violation.field} {violation.description}")

    def _filler(self, field: FieldDescriptor) -> Fill:
        name = field.name
        if name == STATUS and self._machine is not None and field.enum_type is not None:
            states = self._machine.states.values()
            later = {0, *(state.number for state in states if not state.first)}
            make = self._values.enum(field.enum_type, later, name)
            return lambda body, draw: setattr(body, name, make(draw))
        if suffix := self.keys.suffix(name):
            template = self._words.template(self.kind.collection, name) + suffix
            return lambda body, draw: setattr(body, name, draw.text(template))
        return self._values.filler(field)

    def _is_made(self, field: FieldDescriptor) -> bool:
        if not is_given(field) or field_option(field).references:
            return False
        if field.name == DUE_TIME and self._machine is not None:
            # Counted by severity where findings are written.
            return False
        return field.name not in self._words.left_out or field.enum_type is not None

    def _names(self, collection: str, draw: Draw) -> Iterable[str]:
        """Give the name of some record of a collection, if there is one."""
        pool = self._relations.pools[collection]
        return [draw.pick(pool).name] if pool else []


def _first_enums(field: FieldDescriptor) -> int:
    """Order fields: what others follow from comes first."""
    if field.name == SEVERITY:
        return 0
    if field.name == STATUS:
        return 1
    return 2 if field.enum_type is not None else 3


def _is_required(field: FieldDescriptor) -> bool:
    return behaves(field, field_behavior_pb2.REQUIRED)


def _is_moment(field: FieldDescriptor) -> bool:
    message = field.message_type
    return not field.is_repeated and message is not None and message.full_name == _TIMESTAMP
