"""Values between messages and the store: what an update changes, what is shown of a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import FieldInvalid
from secmesh.crypto.v1.user_pb2 import User
from services.crypto.errors import ValueInvalid
from services.crypto.persons.fields import CONTRACT, PersonFields
from services.crypto.persons.person import Person, Value
from services.crypto.persons.values import (
    BULLET,
    MASK,
    changes_of,
    check,
    message_of,
    values_of,
)

_NAMES = st.sampled_from(sorted(CONTRACT))
_TEXTS = st.text(st.characters(exclude_characters=BULLET, exclude_categories=["Cs"]), min_size=1)
_VALUES = st.one_of(_TEXTS, st.binary(min_size=1))


@given(st.dictionaries(_NAMES | st.just("own_field"), _VALUES))
def test_bytes_are_never_shown(values: dict[str, Value]) -> None:
    shown = message_of("acme", Person("u", values), {})
    sealed = {name for name, value in values.items() if isinstance(value, bytes)}
    assert set(shown.masked) == sealed
    expected = {name: MASK if name in sealed else value for name, value in values.items()}
    assert values_of(shown) == expected


@given(st.dictionaries(_NAMES, st.binary(min_size=1), min_size=1))
def test_what_is_masked_cannot_be_written_back(values: dict[str, Value]) -> None:
    shown = message_of("acme", Person("u", values), {})
    with pytest.raises(ValueInvalid):
        check(PersonFields([]), values_of(shown))


def test_an_update_without_a_mask_changes_what_is_set() -> None:
    user = User(name="n", first_name="Ann", fields={"team": "blue"})
    assert changes_of(user, []) == {"first_name": "Ann", "team": "blue"}


def test_an_update_takes_away_what_its_mask_names_and_is_not_set() -> None:
    user = User(first_name="Ann", last_name="Example")
    paths = ["first_name", "ssn", "fields.team"]
    assert changes_of(user, paths) == {"first_name": "Ann", "ssn": None, "team": None}


@pytest.mark.parametrize(
    "path", ["name", "etag", "masked", "fields", "fields.ssn", "team", "fields.a.b", ""]
)
def test_paths_of_no_field_are_refused(path: str) -> None:
    with pytest.raises(FieldInvalid):
        changes_of(User(), [path])


def test_a_field_of_every_person_is_not_taken_as_one_of_the_tenants() -> None:
    with pytest.raises(FieldInvalid):
        values_of(User(fields={"ssn": "078-05-1120"}))
