"""Values between messages and the store: checked when they come, masked when they go."""

from collections.abc import Iterable, Mapping

from mesh.errors import FieldInvalid
from secmesh.crypto.v1.user_pb2 import User
from services.crypto.errors import ValueInvalid, ValueUnopenable
from services.crypto.persons.fields import CONTRACT, PersonField, PersonFields
from services.crypto.persons.person import PATTERN, Person, Value
from services.crypto.suite.header import Tier, read_header
from services.crypto.suite.normal_form import normalise

BULLET = "\N{BULLET}"
MASK = BULLET * 3
"""Stands in the place of every sealed value; its length tells nothing, and no key is used."""
OWN = "fields."
"""Before the names of a tenant's own fields, in masks."""


def values_of(user: User) -> dict[str, str]:
    """Give the values that a message holds, by the names of fields. Raises FieldInvalid."""
    values: dict[str, str] = {
        name: getattr(user, name)
        for name in CONTRACT
        if user.HasField(name)  # type: ignore[arg-type]  # a field of the message
    }
    for name, value in user.fields.items():
        if name in CONTRACT:
            raise FieldInvalid.of(f"user.fields[{name}]", "is a field of every person", "MISPLACED")
        values[name] = value
    return values


def changes_of(user: User, paths: Iterable[str]) -> dict[str, str | None]:
    """Give the values that an update changes; None for those that it takes away.

    Raises FieldInvalid for a path that no caller can write.
    """
    values = values_of(user)
    chosen = list(paths)
    if not chosen:
        return dict(values)
    changed: dict[str, str | None] = {}
    for place, path in enumerate(chosen):
        name = path.removeprefix(OWN)
        if (path.startswith(OWN)) == (name in CONTRACT) or "." in name:
            problem = f"{path!r} is no field that can be written"
            raise FieldInvalid.of(f"update_mask.paths[{place}]", problem, "PATH_UNKNOWN")
        changed[name] = values.get(name)
    return changed


def check(fields: PersonFields, values: Mapping[str, str | None]) -> None:
    """Hold values against the fields of a tenant. Raises FieldInvalid or ValueInvalid."""
    for name, value in values.items():
        field = fields.named(name, f"user.{OWN}{name}")
        if value is None:
            continue
        if not value.strip() or "\0" in value or BULLET in value:
            raise ValueInvalid(name, "is empty, a mask, or no text")
        normal_form(field, value)


def normal_form(field: PersonField, value: str) -> str:
    """Give what values that mean the same have in common. Raises ValueInvalid."""
    return normalise(field.form, field.name, value)


def field_tier(value: Value) -> Tier:
    """Give the tier that a stored value is kept at; of a spoiled one it was sealed at the least."""
    if isinstance(value, str):
        return Tier.CLEAR
    try:
        return read_header(value).tier
    except ValueUnopenable:
        return Tier.SEALED


def message_of(tenant: str, person: Person, opened: Mapping[str, str]) -> User:
    """Write a person as the caller may see it: clear values, those that were opened, masks."""
    user = User(name=PATTERN.format(tenant, person.user_id), etag=person.etag)
    if person.created_at is not None and person.updated_at is not None:
        user.create_time.FromDatetime(person.created_at)
        user.update_time.FromDatetime(person.updated_at)
    for name, value in sorted(person.values.items()):
        shown = value if isinstance(value, str) else opened.get(name)
        if shown is None:
            user.masked.append(name)
        _show(user, name, MASK if shown is None else shown)
    return user


def _show(user: User, name: str, value: str) -> None:
    if name in CONTRACT:
        setattr(user, name, value)
    else:
        user.fields[name] = value
