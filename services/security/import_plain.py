"""New findings turned from plain values into what is stored, in one pass and without messages.

The rules are those of ``import_fill`` and of records (``mesh.records``). This only spares their
steps where a finding surely keeps all of them; of any other it makes nothing, and they decide.
A test holds both against each other.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from google.api.field_behavior_pb2 import OUTPUT_ONLY
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from mesh.contract.storage import Storage, storage_of
from mesh.errors import Refusal
from mesh.records.fields import bearing, required_fields
from mesh.records.verdicts import Verdict, affirms_absence, has_own_rules, verdict
from mesh.server.interceptors.validation import violations_of
from mesh.sql.at_rest import needs_keys
from mesh.sql.references import ID, TENANT, referred_id
from mesh.sql.staging import Form, form
from mesh.sql.tables import KindTable
from services.security.import_fill import Convert, bounds, converter, identifying, write_field

Give = Callable[[Any], Any]
"""Gives what is stored for a plain value; raises Unsure."""
_MOST = 2**63 - 1
_REMEMBERED = 4096
"""Values of one field, such as names of records, of which it is remembered what is stored."""


class Unsure(Exception):
    """The long way must decide."""


class PlainRows:
    """Makes rows of one kind's new findings, of one tenant."""

    def __init__(self, target: KindTable, tenant: str, common: Sequence[str] = ()) -> None:
        """Read the rules once; what ``common`` names is the same in all rows, and left out."""
        kind = target.kind
        self._target, self._tenant, self._common = target, tenant, frozenset(common)
        self._new = type(target.codec.message({TENANT: tenant, ID: "any"}))
        own, nested = bearing(kind.descriptor, OUTPUT_ONLY)
        self.applies = not (
            kind.option.history
            or kind.option.HasField("partition")
            or needs_keys(kind)
            or has_own_rules(kind.descriptor)
            or kind.pattern.columns != (TENANT, ID)
            or nested
        )
        """Whether rows of the kind can be made so at all."""
        fields = [each for each in kind.descriptor.fields if each.name not in common]
        self.columns = (ID, *(field.name for field in fields))
        """Of a row, in its order."""
        self.places = {name: place for place, name in enumerate(self.columns)}
        self.key_places = [
            self.places[name] for name in kind.option.natural_key if name in self.places
        ]
        """Of what rows are known by, as far as they differ in it."""
        self._steps = {field.name: self._step(field) for field in fields if field not in own}
        required, _ = required_fields(kind.descriptor)
        self._needed = [
            self.places[field.name]
            for field in fields
            if field in required or not affirms_absence(field)
        ]
        self._empty: list[Any] = [None] * len(self.columns)
        self._shapes: dict[tuple[str, ...], Sequence[tuple[int, Give]]] = {}

    def row(self, new_id: str, values: Mapping[str, object]) -> list[Any] | None:
        """Give the staged form of a row of this id; None if the long way must decide.

        Lists and maps without anything in them are None.
        """
        if not self._common.isdisjoint(values):
            values = {name: values[name] for name in values if name not in self._common}
        row = self._empty.copy()
        row[0] = new_id
        try:
            for (place, give), value in zip(self._shaped(values), values.values(), strict=True):
                row[place] = give(value)
        except (Unsure, KeyError, TypeError, ValueError, Refusal):
            return None
        for place in self._needed:
            if row[place] is None:
                return None
        return row

    def _shaped(self, values: Mapping[str, object]) -> Sequence[tuple[int, Give]]:
        """Give the steps of values with these names: most findings of a report have the same."""
        names = tuple(values)
        steps = self._shapes.get(names)
        if steps is None:
            if len(self._shapes) >= _REMEMBERED:
                self._shapes.clear()
            steps = self._shapes[names] = [self._steps[name] for name in names]
        return steps

    def value(self, name: str, value: Any) -> Any:
        """Give what is stored of a value that all rows have, as SQLAlchemy takes it.

        Raises Unsure and Refusal.
        """
        field = self._target.kind.descriptor.fields_by_name[name]
        return self._stored(field)(value)

    def _step(self, field: FieldDescriptor) -> tuple[int, Give]:
        give, sent = self._stored(field), form(self._target.table.c[field.name])
        return self.places[field.name], give if sent is None else _both(give, sent)

    def _stored(self, field: FieldDescriptor) -> Give:
        pattern, tenant = self._target.kind.references.get(field.name), self._tenant
        if pattern is not None:
            known: dict[str, str] = {}

            def refer(name: Any) -> str:
                found = known.get(name)
                if found is None:
                    if len(known) >= _REMEMBERED:
                        known.clear()
                    found = known[name] = referred_id(field.name, pattern, name, tenant)
                return found

            return refer
        storage = storage_of(field)
        if storage is Storage.TIMESTAMP:
            return self._through_message(field, {})
        if storage is Storage.MAP:
            return _map(field)
        if storage is Storage.LIST:
            if field.message_type is None:
                return self._list(field)
            return self._through_message(field)
        return _scalar(field, whole=field.name in identifying(self._target.kind))

    def _list(self, field: FieldDescriptor) -> Give:
        rules = bounds(field).repeated
        most = rules.max_items if rules.HasField("max_items") else None
        convert, affirms = converter(field, rules.items), _affirms(field)

        def give(values: Any) -> str:
            kept = values[:most]
            if convert is not None:
                kept = [convert(value, "") for value in kept]
            if not affirms(kept):
                raise Unsure
            return orjson.dumps(kept).decode()

        return give

    def _through_message(self, field: FieldDescriptor, known: dict[Any, Any] | None = None) -> Give:
        """Give the way over a message with this field alone; ``known`` remembers values."""
        body_field, name = self._target.kind.body_field or "", field.name
        write, new = write_field(field), self._new
        _, convert = self._target.codec.writer(field)

        def give(value: Any) -> Any:
            if known is not None and value in known:
                return known[value]
            body: Message = getattr(new(), body_field)
            write(body, value, name)
            if violations_of(body):
                raise Unsure
            held = getattr(body, name)
            stored = held if convert is None else convert(held)
            if known is not None:
                if len(known) >= _REMEMBERED:
                    known.clear()
                known[value] = stored
            return stored

        return give


def _both(give: Give, sent: Form) -> Give:
    return lambda value: sent(give(value))


def _unsure(_value: Any) -> Any:
    raise Unsure


def _affirms(field: FieldDescriptor) -> Callable[[Any], bool]:
    found = verdict(field)
    if found is Verdict.FREE:
        return lambda _value: True
    return found if callable(found) else lambda _value: False


def _scalar(field: FieldDescriptor, *, whole: bool) -> Give:
    affirms, convert = _affirms(field), converter(field, bounds(field), whole=whole)
    if field.type == FieldDescriptor.TYPE_STRING and convert is not None:
        return _text(convert, affirms)
    if field.enum_type is not None and convert is not None:
        return _enum(convert, affirms)
    if field.type == FieldDescriptor.TYPE_INT64:
        return _whole(affirms)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return _double(affirms)
    return _unsure


def _text(convert: Convert, affirms: Callable[[Any], bool]) -> Give:
    def give(value: Any) -> str:
        if type(value) is not str:
            raise Unsure
        if value.isascii() and "\0" not in value and affirms(value):
            # As it is in all of its length.
            return value
        stored: str = convert(value, "")
        if not affirms(stored):
            raise Unsure
        return stored

    return give


def _enum(convert: Convert, affirms: Callable[[Any], bool]) -> Give:
    known: dict[str, int] = {}

    def give(value: Any) -> int:
        number = known.get(value)
        if number is None:
            number = convert(value, "")
            if not affirms(number):
                raise Unsure
            known[value] = number
        return number

    return give


def _whole(affirms: Callable[[Any], bool]) -> Give:
    def give(value: Any) -> int:
        if type(value) is not int or not (-_MOST <= value <= _MOST and affirms(value)):
            raise Unsure
        return value

    return give


def _double(affirms: Callable[[Any], bool]) -> Give:
    def give(value: Any) -> float:
        number = float(value)
        if type(value) not in (int, float) or not (math.isfinite(number) and affirms(number)):
            raise Unsure
        # As the codec does: no negative zero.
        return number + 0.0

    return give


def _map(field: FieldDescriptor) -> Give:
    """Give the way of maps of texts, where only the sizes are bounded and cutting keeps these."""
    rules, entry = bounds(field).map, field.message_type
    plain = {"max_pairs", "keys", "values"}
    texts = {"max_len"}
    if (
        entry is None
        or entry.fields_by_name["value"].type != FieldDescriptor.TYPE_STRING
        or {each.name for each, _ in rules.ListFields()} - plain
        or _stated(rules.keys) - texts
        or _stated(rules.values) - texts
        or _names(bounds(field)) - {"map"}
    ):
        return _unsure
    most = rules.max_pairs if rules.HasField("max_pairs") else None
    key_of = converter(entry.fields_by_name["key"], rules.keys)
    value_of = converter(entry.fields_by_name["value"], rules.values)
    if key_of is None or value_of is None:
        return _unsure

    known: dict[str, str] = {}

    def keyed(key: str) -> str:
        """Give a key as it is kept: maps of one kind have few different ones."""
        if len(known) >= _REMEMBERED:
            known.clear()
        known[key] = key_of(key, "")
        return known[key]

    def give(values: Any) -> str:
        pairs = list(values.items())[:most]
        kept = {known.get(key) or keyed(key): value_of(value, "") for key, value in pairs}
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()

    return give


def _stated(rules: validate_pb2.FieldRules) -> set[str]:
    """Name the rules of a text; all that is no rule of texts is named as well."""
    names = _names(rules)
    return _names(rules.string) | (names - {"string"})


def _names(rules: Message) -> set[str]:
    return {each.name for each, _ in rules.ListFields()}
