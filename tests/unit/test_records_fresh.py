"""New records made in one pass, held against the long way: the same rows, none that it refuses."""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.contract.catalogue import Catalogue, Kind, field_option, is_map, load_catalogue
from mesh.errors import Refusal
from mesh.identifiers import new_uuid
from mesh.records.fresh import FreshRows
from mesh.records.writing import RecordWriter
from services.security.findings.guard import FindingGuard
from tests.derived import tables_of
from tests.examples import examples
from tests.service.security_records import Tag, body_of, rules_of
from tests.unit.record_contract import store_catalogue

TENANT, MOMENT = "acme", 1_795_262_400_000_000
ID = new_uuid()
_NUMBERS = ("double", "float", "int32", "int64", "uint32")


class World:
    """A writer over the tables of a contract, without a database."""

    def __init__(self, catalogue: Catalogue, guard: FindingGuard | None = None) -> None:
        self.tables = tables_of(catalogue, isolated=True)
        store: Any = SimpleNamespace(
            tables=self.tables,
            etag_key=b"k" * 32,
            database="postgresql",
            target=self.tables.__getitem__,
        )
        self.writer = RecordWriter(store, catalogue.record_kinds, lambda: MOMENT, guard)

    def both(self, kind: Kind, record: Any) -> tuple[Any, Any]:
        """Give what the one pass makes of a record, and what the long way does."""
        target = self.tables[kind.collection]
        name = kind.pattern.format(TENANT, ID)
        return (
            _outcome(lambda: self._short(target, record, name)),
            _outcome(lambda: self._long(target, record, name)),
        )

    def _short(self, target: Any, record: Any, name: str) -> Any:
        made = self.writer.fresh_row(target, record, name, (TENANT, ID))
        return made and list(made[0].items())

    def _long(self, target: Any, record: Any, name: str) -> Any:
        copy = type(record)()
        copy.CopyFrom(record)
        copy.name = name
        assert self.writer.made(target.kind, copy) == MOMENT
        return list(target.codec.row(copy).items())


def _outcome(make: Any) -> Any:
    try:
        return make()
    except Refusal as refused:
        return refused


@cache
def world(module: str) -> World:
    catalogue = CATALOGUES[module]
    return World(catalogue, FindingGuard(catalogue) if module == "security" else None)


CATALOGUES = {"security": load_catalogue("secmesh.security.v1"), "store": store_catalogue()}
KINDS = [
    (module, kind)
    for module, catalogue in CATALOGUES.items()
    for kind in catalogue.record_kinds.values()
    if not kind.option.output_only
]
SHORT = [
    (module, kind)
    for module, kind in KINDS
    if FreshRows(kind, world(module).tables[kind.collection].codec, b"k", None).applies
]


def record_of(kind: Kind, *, whole: bool) -> Any:
    """Make a valid record, every reference of it set if it is whole."""
    names = {
        field: pattern.format(TENANT, new_uuid()) for field, pattern in kind.references.items()
    }
    record: Any = message_factory.GetMessageClass(kind.message)()
    body = getattr(record, kind.body_field or "")
    body.CopyFrom(body_of(kind, Tag("a"), names, whole=whole))
    return record


def around(rules: Any, kind: str) -> list[Any]:
    """Give values on both sides of each bound of a number, and odd ones."""
    stated = getattr(rules, kind)
    bounds = [getattr(stated, name) for name in ("gt", "gte", "lt", "lte") if stated.HasField(name)]
    odd = [math.nan, math.inf, -math.inf, 0.5] if kind in ("double", "float") else []
    least, most = (0, 2**32 - 1) if kind == "uint32" else (-(2**31), 2**31 - 1)
    near = [value + step for value in (*bounds, 0) for step in (-1, 0, 1)]
    return [value for value in dict.fromkeys(near) if least <= value <= most] + odd


def texts(rules: Any) -> list[str]:
    """Give texts on both sides of the bounds of a string, and letters that count as one."""
    least, most = int(rules.min_len), int(rules.max_len)
    lengths = sorted({0, max(least - 1, 0), least, most, most + 1})
    return ["a\0", "\N{GRINNING FACE}" * most, *("a" * length for length in lengths)]


def candidates(field: FieldDescriptor, rules: Any) -> list[Any]:
    """Give values of a scalar field, or items of a list, good and bad."""
    if field.enum_type is not None:
        return [0, 99, *field.enum_type.values_by_number]
    if field.type == FieldDescriptor.TYPE_STRING:
        return texts(rules.string)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return [b"", b"\0", b"x" * 5000]
    if field.type == FieldDescriptor.TYPE_BOOL:
        return [False, True]
    kinds = {FieldDescriptor.TYPE_DOUBLE: "double", FieldDescriptor.TYPE_FLOAT: "float"}
    kinds |= {FieldDescriptor.TYPE_INT64: "int64", FieldDescriptor.TYPE_UINT32: "uint32"}
    return around(rules, kinds.get(field.type, "int32"))


def variants(field: FieldDescriptor) -> Iterator[Callable[[Any], None]]:
    """Give ways to change a field of a message: to nothing, and across each of its bounds."""
    name, rules = field.name, rules_of(field)
    yield lambda message: message.ClearField(name)
    if is_map(field):
        return
    if field.message_type is not None:
        yield from _message_variants(field)
    elif field.is_repeated:
        most = int(rules.repeated.max_items)
        for value in candidates(field, rules.repeated.items):
            yield partial(_put_list, name, [value])
        good = candidates(field, rules.repeated.items)[-1:]
        for size in (most, most + 1):
            yield partial(_put_list, name, good * min(size, 2000))
    elif target := field_option(field).references:
        for wrong in (f"tenants/other/{target}/a", f"tenants/{TENANT}/{target}/a", "a", ""):
            yield partial(_put, name, wrong)
    else:
        for value in candidates(field, rules):
            yield partial(_put, name, value)


def _put(name: str, value: Any, message: Any) -> None:
    setattr(message, name, value)


def _put_list(name: str, values: list[Any], message: Any) -> None:
    message.ClearField(name)
    getattr(message, name).extend(values)


def _put_within(held: Callable[[Any], Any], change: Callable[[Any], None], message: Any) -> None:
    change(held(message))


def _message_variants(field: FieldDescriptor) -> Iterator[Callable[[Any], None]]:
    inner = field.message_type
    assert inner is not None

    def held(message: Any) -> Any:
        value = getattr(message, field.name)
        return value.add() if field.is_repeated else value

    if inner.full_name == "google.protobuf.Timestamp":
        for seconds in (0, -(2**40), 2**40):
            yield partial(_put_within, held, partial(_put, "seconds", seconds))
    elif inner.full_name.startswith("secmesh."):
        yield lambda message: held(message).SetInParent()
        for each in inner.fields:
            if each.message_type is None:
                for change in variants(each):
                    yield partial(_put_within, held, change)


@pytest.mark.parametrize("whole", [True, False])
def test_valid_records_of_every_kind_take_the_one_pass(whole: bool) -> None:
    assert len(SHORT) > 90
    for module, kind in SHORT:
        short, long = world(module).both(kind, record_of(kind, whole=whole))
        assert short == long, kind.collection
        assert isinstance(short, list), kind.collection


def agree(module: str, kind: Kind, record: Any) -> None:
    """Hold both ways against each other: the short one may leave a record to the long one."""
    short, long = world(module).both(kind, record)
    if isinstance(short, Refusal):
        assert str(short) == str(long)
    elif short is not None:
        assert short == long


def test_across_every_bound_of_every_kind_both_ways_agree() -> None:
    for module, kind in SHORT:
        whole = record_of(kind, whole=True)
        for field in kind.descriptor.fields:
            for change in variants(field):
                record = type(whole)()
                record.CopyFrom(whole)
                change(getattr(record, kind.body_field or ""))
                agree(module, kind, record)


@given(st.data())
@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
def test_of_records_with_several_faults_both_ways_agree(data: st.DataObject) -> None:
    module, kind = data.draw(st.sampled_from(SHORT), label="kind")
    record = record_of(kind, whole=data.draw(st.booleans()))
    for field in data.draw(st.lists(st.sampled_from(list(kind.descriptor.fields)), max_size=4)):
        change = data.draw(st.sampled_from(list(variants(field))))
        change(getattr(record, kind.body_field or ""))
    agree(module, kind, record)


@given(st.data())
@settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
def test_of_changed_records_both_ways_agree(data: st.DataObject) -> None:
    module, kind = data.draw(st.sampled_from(SHORT), label="kind")
    writer, target = world(module).writer, world(module).tables[kind.collection]
    old, body = record_of(kind, whole=True), kind.body_field or ""
    old.name = kind.pattern.format(TENANT, ID)
    writer.stamp(kind, old)
    new = type(old)()
    getattr(new, body).CopyFrom(getattr(old, body))
    fields = data.draw(st.lists(st.sampled_from(list(kind.descriptor.fields)), min_size=1))
    for field in fields:
        data.draw(st.sampled_from(list(variants(field))))(getattr(new, body))
    paths = [f"{body}.{field.name}" for field in fields]

    def long() -> Any:
        changed = writer.changed(kind, old, new, paths)
        return changed and (writer.stamp(kind, changed), target.codec.row(changed))

    short = _outcome(lambda: writer.replaced_row(target, old, new, paths))
    expected = _outcome(long)
    if isinstance(short, Refusal):
        assert str(short) == str(expected)
    else:
        assert short == (expected and expected[::-1])


def test_what_is_said_around_the_body_goes_the_long_way() -> None:
    module, kind = next(each for each in SHORT if each[1].collection == "items")
    record = record_of(kind, whole=True)
    record.labels["team"] = "a"
    short, long = world(module).both(kind, record)
    assert short is None
    assert ("labels", '{"team":"a"}') in long


def test_what_callers_may_not_say_counts_for_nothing() -> None:
    module, kind = next(each for each in SHORT if each[1].collection == "items")
    record = record_of(kind, whole=True)
    record.item.score, record.item.door.opened, record.etag = 7, 3, "x"
    short, long = world(module).both(kind, record)
    assert short == long
    assert dict(short)["score"] is None
    assert "opened" not in dict(short)["door"]
    assert dict(short)["etag"] == dict(long)["etag"]
