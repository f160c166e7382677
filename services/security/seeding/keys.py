"""What tells made-up records of a kind apart: every unique field and natural key gets its own.

A key with a part that can say anything is made distinct by that part. One whose parts have few
values each (references, enums, a list of words) is counted through: the record's number is
written in digits whose bases are the numbers of values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import Kind, field_option
from mesh.records.fields import behaves
from services.security.seeding.draw import Draw, words_of
from services.security.seeding.relations import Entry
from services.security.seeding.values import RULES
from services.security.seeding.vocabulary import Vocabulary, is_distinct

Pools = Mapping[str, Sequence[Entry]]
_ENDLESS = 1 << 40
_TIMESTAMP = "google.protobuf.Timestamp"
_TEXT, _WHOLE = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_INT64
_BOOL = FieldDescriptor.TYPE_BOOL


@dataclass(frozen=True)
class Part:
    """One field of a key that is counted through."""

    field: str
    size: Callable[[Pools], int]
    value: Callable[[int, Pools], Any]
    optional_reference: bool = False


class Keys:
    """The keys of one kind."""

    def __init__(self, kind: Kind, words: Vocabulary) -> None:
        self._kind = kind
        self._words = words
        self._counted: list[list[Part]] = []
        numbered = set()
        for fields in _constraints(kind):
            open_texts = [each.name for each in fields if self._is_open(each)]
            if open_texts:
                numbered.add(open_texts[-1])
            else:
                self._counted.append(self._parts(fields))
        self.numbered: frozenset[str] = frozenset(numbered)
        """Texts that no two records share."""
        self.fields: frozenset[str] = frozenset(
            [*numbered, *(part.field for parts in self._counted for part in parts)]
        )
        """Fields that every record has."""
        self.moments: frozenset[str] = frozenset(
            each.name for fields in _constraints(kind) for each in fields if _is_moment(each)
        )
        """Times that are part of a key."""

    def capacity(self, pools: Pools) -> int:
        """Tell how many records there can be."""
        return min((_capacity(parts, pools) for parts in self._counted), default=_ENDLESS)

    def fix(self, draw: Draw, pools: Pools) -> None:
        """Decide the fields of counted keys; the record's number lies within the capacity."""
        for parts in self._counted:
            rest = draw.number - 1
            free = [part for part in parts if part.optional_reference]
            if len(free) > 1:
                # Of those that exclude each other one after the other has its turn.
                rest, turn = divmod(rest, len(free))
                for part in free:
                    draw.fixed[part.field] = None
                parts = [part for part in parts if part not in free or part is free[turn]]
            for part in parts:
                rest, digit = divmod(rest, part.size(pools))
                draw.fixed[part.field] = part.value(digit, pools)

    def suffix(self, field: str) -> str:
        """Give what is added to a text so that no two records share it."""
        if field not in self.numbered:
            return ""
        return "" if is_distinct(self._words.template(self._kind.collection, field)) else "-{n}"

    def _is_open(self, field: FieldDescriptor) -> bool:
        if field.type != _TEXT or field_option(field).references:
            return False
        template = self._words.template(self._kind.collection, field.name)
        return not self._words.choices(template)

    def _parts(self, fields: Sequence[FieldDescriptor]) -> list[Part]:
        # Children are spread over their parents; times come last, since there is no end of them.
        order = sorted(fields, key=lambda each: (_is_moment(each), not _target(each)))
        return [self._part(each) for each in order]

    def _part(self, field: FieldDescriptor) -> Part:
        name, target = field.name, _target(field)
        if target:
            optional = not behaves(field, field_behavior_pb2.REQUIRED)
            return Part(
                name,
                lambda pools: len(pools[target]),
                lambda digit, pools: pools[target][digit],
                optional,
            )
        if _is_moment(field):
            return Part(name, lambda _: _ENDLESS, lambda digit, _: digit)
        choices = self._choices(field)
        return Part(name, lambda _: len(choices), lambda digit, _: choices[digit])

    def _choices(self, field: FieldDescriptor) -> Sequence[Any]:
        rules = field.GetOptions().Extensions[RULES]
        if field.enum_type is not None:
            excluded = rules.enum.not_in
            return [number for number in words_of(field.enum_type) if number not in excluded]
        if field.type == _BOOL:
            return (False, True)
        if field.type == _WHOLE:
            least = int(rules.int64.gte)
            most = int(rules.int64.lte) or _ENDLESS
            return range(least, most + 1)
        return self._words.choices(self._words.template(self._kind.collection, field.name))


def _constraints(kind: Kind) -> list[list[FieldDescriptor]]:
    """Give the keys of a kind as far as callers fill them."""
    fields = kind.descriptor.fields_by_name
    found = [[each] for each in kind.descriptor.fields if field_option(each).unique]
    named = [kind.option.natural_key, *(each.fields for each in kind.option.indexes if each.unique)]
    found += [[fields[name] for name in names] for names in named if names]
    return [each for each in found if all(map(is_given, each))]


def has_key(kind: Kind) -> bool:
    """Tell whether records of a kind are known again by what they say (``mesh.records.ingest``)."""
    unique = any(field_option(each).unique for each in kind.descriptor.fields if is_given(each))
    return unique or bool(kind.option.natural_key)


def is_given(field: FieldDescriptor) -> bool:
    """Tell whether callers say what is in a field."""
    return not behaves(field, field_behavior_pb2.OUTPUT_ONLY)


def _capacity(parts: Sequence[Part], pools: Pools) -> int:
    free = [part.size(pools) for part in parts if part.optional_reference]
    rest = prod(part.size(pools) for part in parts if not part.optional_reference)
    # In turn, so the smallest decides.
    return rest * (min(free) * len(free) if free else 1)


def _target(field: FieldDescriptor) -> str:
    return field_option(field).references


def _is_moment(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == _TIMESTAMP
