"""JSON bodies, read without mercy: Envoy's transcoder drops what it does not know."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.rpc.error_details_pb2 import BadRequest

from gateway.contracts import field_named, map_value
from gateway.edge.expectation import expects
from gateway.edge.written import is_written_well
from gateway.refusals import JsonInvalid

MAX_DEPTH = 32
MAX_VIOLATIONS = 20
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}|[A-Za-z0-9_-]*={0,2}")


class _KeyTwice(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def read_json(body: bytes) -> Any:
    """Parse JSON (RFC 8259) in UTF-8.

    Raises JsonInvalid for anything malformed, a name twice in one object, NaN or
    infinity, or more than 32 levels.
    """
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise JsonInvalid("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise JsonInvalid(f"the body is not JSON: {where}") from None
    except _KeyTwice as error:
        raise JsonInvalid.of(error.key, "stands twice in one object", "FIELD_TWICE") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # a number with more digits than Python converts, or NaN
        raise JsonInvalid("the body holds a number that JSON does not have") from None
    if _depth_exceeds(value, MAX_DEPTH):
        raise _too_deep()
    return value


def check_message(value: Any, message: Descriptor, path: str = "") -> None:
    """Check that a JSON value is the JSON form of a message.

    Raises JsonInvalid naming each field that does not fit, by its path in the contract.
    """
    if not isinstance(value, dict) or not _fits(value, message):
        found = list(islice(_violations(value, message, path), MAX_VIOLATIONS))
        if not found:
            raise JsonInvalid(f"the body does not fit {message.full_name}")
    else:
        found = list(islice(_overlooked(value, message, path), MAX_VIOLATIONS))
    if found:
        listed = "; ".join(f"{each.field or 'body'}: {each.description}" for each in found)
        raise JsonInvalid(listed, found)


def fits_field(value: Any, field: FieldDescriptor) -> bool:
    """Tell whether a JSON value is one that a field takes, a list if it is repeated."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return all(is_base64(each) for _, each in _items(value, field))
    if not all(is_written_well(each, field) for _, each in _items(value, field)):
        return False
    holder = field.containing_type
    return holder is not None and _fits({field.json_name: value}, holder)


def is_base64(text: object) -> bool:
    """Tell whether a value is base64 or base64url text (RFC 4648), padded or not."""
    if not isinstance(text, str) or not _BASE64.fullmatch(text):
        return False
    return len(text.rstrip("=")) % 4 != 1 and ("=" not in text or len(text) % 4 == 0)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _KeyTwice(key)
            seen.add(key)
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _too_deep() -> JsonInvalid:
    return JsonInvalid(f"the body is more than {MAX_DEPTH} levels deep")


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def _fits(value: dict[str, Any], message: Descriptor) -> bool:
    try:
        json_format.ParseDict(value, message_factory.GetMessageClass(message)())
    except (json_format.ParseError, ValueError, TypeError, OverflowError):
        return False
    return True


def _violations(value: Any, message: Descriptor, path: str) -> Iterator[BadRequest.FieldViolation]:
    if not isinstance(value, dict):
        yield _wrong_type(path, "an object")
        return
    chosen: dict[str, str] = {}
    for key, item in value.items():
        field = field_named(message, key)
        where = f"{path}.{field.name if field else key}".removeprefix(".")
        if field is not None and item is not None:
            yield from _chosen_beside(field, where, chosen)
        if field is None:
            yield BadRequest.FieldViolation(
                field=where, description="there is no such field", reason="FIELD_UNKNOWN"
            )
        elif item is not None:
            yield from _field_violations(item, field, where)


def _chosen_beside(
    field: FieldDescriptor, where: str, chosen: dict[str, str]
) -> Iterator[BadRequest.FieldViolation]:
    """Tell of a member of a oneof beside another one, and note which was chosen first."""
    group = field.containing_oneof
    if group is None:
        return
    first = chosen.setdefault(group.name, field.name)
    if first != field.name:
        problem = f"stands beside {first}; of {group.name} there is one"
        yield BadRequest.FieldViolation(field=where, description=problem, reason="ONEOF_TWICE")


def _overlooked(
    value: dict[str, Any], message: Descriptor, path: str
) -> Iterator[BadRequest.FieldViolation]:
    """Find what Protobuf's own parser lets pass: a field by both its names, odd texts, base64."""
    seen: set[str] = set()
    for key, item in value.items():
        field = field_named(message, key)
        if field is None:
            continue
        where = f"{path}.{field.name}".removeprefix(".")
        if field.name in seen:
            yield BadRequest.FieldViolation(
                field=where, description="stands twice in one object", reason="FIELD_TWICE"
            )
        seen.add(field.name)
        held = map_value(field) or field
        for place, each in _items(item, field):
            bytes_broken = held.type == FieldDescriptor.TYPE_BYTES and not is_base64(each)
            if bytes_broken or not is_written_well(each, held):
                yield _wrong_type(f"{where}{place}", expects(held))
            elif _has_fields(held) and isinstance(each, dict) and held.message_type is not None:
                yield from _overlooked(each, held.message_type, f"{where}{place}")


def _items(value: Any, field: FieldDescriptor) -> Iterable[tuple[str, Any]]:
    """Give the single values of a field, each with its place in the field."""
    if value is None:
        return ()
    if map_value(field) is not None and isinstance(value, dict):
        return [(f"[{key!r}]", each) for key, each in value.items()]
    if field.is_repeated and isinstance(value, list):
        return [(f"[{place}]", each) for place, each in enumerate(value)]
    return [("", value)]


def _has_fields(field: FieldDescriptor) -> bool:
    """Tell whether JSON writes the field's message as an object of its fields."""
    message = field.message_type
    return message is not None and not message.full_name.startswith("google.protobuf.")


def _field_violations(
    value: Any, field: FieldDescriptor, path: str
) -> Iterator[BadRequest.FieldViolation]:
    item = map_value(field)
    if item is not None:
        yield from _map_violations(value, item, path)
    elif field.is_repeated:
        if not isinstance(value, list):
            yield _wrong_type(path, "a list")
            return
        for place, each in enumerate(value):
            yield from _single_violations(each, field, f"{path}[{place}]", [each])
    else:
        yield from _single_violations(value, field, path, value)


def _single_violations(
    value: Any, field: FieldDescriptor, path: str, whole: Any
) -> Iterator[BadRequest.FieldViolation]:
    if _has_fields(field) and field.message_type is not None:
        yield from _violations(value, field.message_type, path)
    elif not fits_field(whole, field):
        yield _wrong_type(path, expects(field))


def _map_violations(
    value: Any, item: FieldDescriptor, path: str
) -> Iterator[BadRequest.FieldViolation]:
    if not isinstance(value, dict):
        yield _wrong_type(path, "an object")
        return
    for key, each in value.items():
        yield from _single_violations(each, item, f"{path}[{key!r}]", each)


def _wrong_type(path: str, expected: str) -> BadRequest.FieldViolation:
    return BadRequest.FieldViolation(
        field=path, description=f"must be {expected}", reason="TYPE_WRONG"
    )
