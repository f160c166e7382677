"""A JSON object read member by member is what a parser makes of it whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.aws.members import Members

TEXTS = st.text(st.sampled_from('"\\\\{}[]:, \n\u00e4\U0001f600a'), max_size=6)
PARTS = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXTS, part, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXTS, PARTS, max_size=5)


@given(OBJECTS, OBJECTS, st.sampled_from([None, 2]), st.booleans())
def test_members_are_what_a_parser_finds(
    outer: dict[str, Any], inner: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    whole = outer | {"opened": inner, "last": 1}
    written = json.dumps(whole, indent=indent, ensure_ascii=ascii_only)
    members = Members(written, opened=("opened", "missing"))
    assert list(members) == list(whole)
    assert {name: members[name] for name in members} == whole
    assert isinstance(members["opened"], Members)
    assert len(members) == len(whole)
    assert "missing" not in members


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{"a" 1}', "{a:1}"],
)
def test_what_is_no_whole_object_is_refused(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        Members(text)


def test_an_opened_member_must_be_an_object() -> None:
    with pytest.raises(json.JSONDecodeError):
        Members('{"a": [1]}', opened=("a",))
