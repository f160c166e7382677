"""Which fields of a record an update changes (AIP-134, AIP-161)."""

from collections.abc import Sequence

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import NAME, Kind
from mesh.errors import MaskInvalid
from mesh.records.fields import copy_field, is_nested, is_set, keep_secrets
from mesh.sql.document import is_secret
from mesh.sql.secrets import descriptor_of, holds_secrets

EVERYTHING = "*"
MASK = "update_mask"


def updated(kind: Kind, old: Message, given: Message, paths: Sequence[str]) -> Message:
    """Give the record as an update leaves it; MaskInvalid names a path that is no field.

    Without paths the fields change that ``given`` has set; within messages singly, lists
    and maps as a whole. ``*`` replaces all. A path that ``given`` has nothing at empties the
    field. Secrets within what is replaced stay unless ``given`` has others; a path to the
    secret itself can empty it.
    """
    new: Message = type(old)()
    new.CopyFrom(old)
    if not paths:
        _merge(given, new)
    elif EVERYTHING in paths:
        if len(paths) > 1:
            raise MaskInvalid(EVERYTHING, MASK)
        _replace_all(kind, given, new)
    else:
        for path in paths:
            _apply(kind, path, given, new)
    new.name = old.name  # type: ignore[attr-defined]  # every kind has a name
    return new


def _merge(given: Message, new: Message) -> None:
    for field, value in given.ListFields():
        if is_nested(field):
            inner = getattr(new, field.name)
            inner.SetInParent()
            _merge(value, inner)
        else:
            _replace(given, new, field.name)


def _replace_all(kind: Kind, given: Message, new: Message) -> None:
    for field in kind.envelope_fields:
        _replace(given, new, field.name)
    if kind.body_field is not None:
        _replace(given, new, kind.body_field)
        # A record keeps its kind, even with nothing in it.
        getattr(new, kind.body_field).SetInParent()


def _replace(given: Message, new: Message, name: str) -> None:
    """Replace a field whole, and keep the secrets within it that are not given anew."""
    field = descriptor_of(new).fields_by_name[name]
    if field.message_type is None or not holds_secrets(field.message_type):
        copy_field(given, new, field)
        return
    # Alone in messages of their own, so that no other field is touched.
    before, after = type(new)(), type(new)()
    copy_field(new, before, field)
    copy_field(given, after, field)
    if not is_secret(field):
        keep_secrets(before, after)
    copy_field(after, new, field)


def _apply(kind: Kind, path: str, given: Message, new: Message) -> None:
    """Change what one path leads to."""
    parts = path.split(".")
    _check(kind, parts, path)
    if path == NAME:
        return
    if path == kind.body_field:
        _replace(given, new, path)
        getattr(new, path).SetInParent()
        return
    for name in parts[:-1]:
        field = descriptor_of(new).fields_by_name[name]
        if not is_set(given, field) and not is_set(new, field):
            return
        # Where nothing is given, what stands there is emptied.
        given, new = getattr(given, name), getattr(new, name)
        new.SetInParent()
    _replace(given, new, parts[-1])


def _check(kind: Kind, parts: Sequence[str], path: str) -> None:
    """Refuse a path that is no field, one of another kind's body, and one into a list or map."""
    allowed = {field.name for field in kind.envelope_fields} | {kind.body_field}
    message: Descriptor | None = kind.message
    for place, name in enumerate(parts):
        field = message.fields_by_name.get(name) if message is not None else None
        if field is None or (place == 0 and name not in allowed):
            raise MaskInvalid(path, MASK)
        message = field.message_type if is_nested(field) else None
