"""Random messages of a kind, within the bounds that its table checks."""

from typing import Any, Literal

from google.protobuf import any_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from buf.validate import validate_pb2
from mesh.contract.catalogue import Kind, is_map
from mesh.contract.storage import message_type

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
IDS = st.text("abcdefghij0123456789-_.~", min_size=1, max_size=8)
_INT32 = st.integers(-(2**31), 2**31 - 1)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_UINT32 = st.integers(0, 2**32 - 1)
_UINT64 = st.integers(0, 2**64 - 1)


def _finite(width: Literal[32, 64]) -> st.SearchStrategy[float]:
    """Draw what is stored as it is: no NaN, no infinity, no negative zero."""
    plain = st.floats(width=width, allow_nan=False, allow_infinity=False)
    return plain.map(lambda value: value + 0.0)


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
    FieldDescriptor.TYPE_FLOAT: _finite(32),
    FieldDescriptor.TYPE_DOUBLE: _finite(64),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
}


def messages(kind: Kind, tenant: str = "acme") -> st.SearchStrategy[Message]:
    """Draw messages of a kind whose name, times and bounds are right."""
    return st.composite(_draw_kind)(kind, tenant)


def _draw_kind(draw: st.DrawFn, kind: Kind, tenant: str) -> Message:
    ids = [tenant, *(draw(IDS) for _ in kind.pattern.variables[1:])]
    message: Any = message_factory.GetMessageClass(kind.message)()
    if kind.body_field is not None:
        fields = list(kind.envelope_fields)
        body = getattr(message, kind.body_field)
        body.SetInParent()
        _fill(draw, body, list(kind.descriptor.fields), depth=0)
    else:
        fields = list(kind.descriptor.fields)
    _fill(draw, message, [field for field in fields if field.name != "name"], depth=0)
    message.name = kind.pattern.format(*ids)
    if kind.option.history:
        message.valid_from.seconds = draw(st.integers(0, 2**31))
        message.ClearField("valid_to")
    return message  # type: ignore[no-any-return]  # made by its descriptor


def _fill(draw: st.DrawFn, message: Any, fields: list[FieldDescriptor], depth: int) -> None:
    for field in fields:
        if field.has_presence and draw(st.booleans()):
            continue
        if is_map(field):
            _fill_map(draw, getattr(message, field.name), field, depth)
        elif field.is_repeated:
            size = draw(st.integers(0, 2))
            getattr(message, field.name).extend(_value(draw, field, depth) for _ in range(size))
        elif field.message_type is not None:
            value = _value(draw, field, depth)
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, _value(draw, field, depth))


def _fill_map(draw: st.DrawFn, entries: Any, field: FieldDescriptor, depth: int) -> None:
    entry = message_type(field)
    for _ in range(draw(st.integers(0, 2))):
        key = draw(_SCALARS[entry.fields_by_name["key"].type])
        value = _value(draw, entry.fields_by_name["value"], depth)
        if entry.fields_by_name["value"].message_type is not None:
            entries[key].CopyFrom(value)
        else:
            entries[key] = value


def _value(draw: st.DrawFn, field: FieldDescriptor, depth: int) -> Any:
    if field.message_type is not None:
        return _message(draw, field.message_type, depth)
    if field.enum_type is not None:
        return draw(st.sampled_from([value.number for value in field.enum_type.values]))
    return draw(_bounded(field))


def _message(draw: st.DrawFn, descriptor: Descriptor, depth: int) -> Any:
    message: Any = message_factory.GetMessageClass(descriptor)()
    if descriptor.full_name == "google.protobuf.Timestamp":
        message.FromMicroseconds(draw(st.integers(-(10**15), 10**16)))
    elif descriptor.full_name == "google.protobuf.Duration":
        message.FromMicroseconds(draw(st.integers(-(10**15), 10**15)))
    elif descriptor.full_name == "google.protobuf.Any":
        message.CopyFrom(any_pb2.Any(type_url=draw(TEXT), value=draw(st.binary(max_size=8))))
    elif depth < 2:
        _fill(draw, message, list(descriptor.fields), depth + 1)
    return message


def _bounded(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Draw within the bounds that tables check."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    plain = _SCALARS[field.type]
    match rules.WhichOneof("type"):
        case "string":
            if allowed := list(getattr(rules.string, "in")):
                return st.sampled_from(allowed)
            most = rules.string.max_len or 8
            return plain.filter(lambda text: rules.string.min_len <= len(text) <= most)
        case "int32" | "sfixed32" as number:
            return plain.filter(lambda value: _in_range(getattr(rules, number), value)) | (
                st.integers(-200, 200).filter(
                    lambda value: _in_range(getattr(rules, number), value)
                )
            )
    return plain


def _in_range(rules: Any, value: int) -> bool:
    lower = upper = None
    if rules.WhichOneof("greater_than"):
        lower = value >= rules.gte if rules.HasField("gte") else value > rules.gt
    if rules.WhichOneof("less_than"):
        upper = value <= rules.lte if rules.HasField("lte") else value < rules.lt
    known = [bound for bound in (lower, upper) if bound is not None]
    if len(known) == 2 and rules.HasField("gt") and rules.gt > rules.lt:
        return any(known)
    return all(known)
