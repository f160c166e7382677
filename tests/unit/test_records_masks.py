"""Which fields an update changes, and what becomes of secrets."""

from typing import Any

import pytest

from mesh.errors import FieldInvalid, MaskInvalid
from mesh.records.fields import changed_immutables
from mesh.records.update import updated
from mesh.sql.secrets import drop_secrets
from tests.unit.record_contract import store_catalogue
from tests.unit.record_world import ITEMS, record_of, records_on

KIND = store_catalogue().kinds["items"]
NAME = f"{ITEMS}/a"


def old() -> Any:
    record = record_of(
        NAME,
        title="old",
        rank=1,
        password="p",
        sealed=True,
        tags=["x"],
        door={"colour": "red", "code": "1", "width": 3},
        doors=[{"colour": "blue", "code": "2"}, {"colour": "grey", "code": "3"}],
        named_doors={"front": record_of(NAME, door={"colour": "pink", "code": "4"}).item.door},
    )
    record.labels["team"] = "red"
    return record


def update(given: Any, *paths: str) -> Any:
    before = old()
    after = updated(KIND, before, given, paths)
    assert before == old(), "the old record is left alone"
    return after


def test_without_a_mask_the_fields_sent_change() -> None:
    after = update(record_of(NAME, rank=9, door={"width": 7}))
    expected = old()
    expected.item.rank, expected.item.door.width = 9, 7
    assert after == expected
    assert update(record_of(NAME)) == old()
    assert update(record_of(NAME, door={})) == old()


def test_lists_and_maps_are_sent_whole() -> None:
    given = record_of(NAME, tags=["y", "z"])
    given.labels["stage"] = "test"
    after = update(given)
    assert after.item.tags == ["y", "z"]
    assert dict(after.labels) == {"stage": "test"}


@pytest.mark.parametrize(
    ("path", "given", "changed"),
    [
        ("item.rank", {"rank": 5, "title": "unasked"}, {"rank": 5}),
        ("item.rank", {}, {"rank": None}),
        ("item.sealed", {}, {"sealed": False}),
        ("item.tags", {}, {"tags": []}),
        ("item.door.colour", {"door": {"colour": "x", "width": 9}}, {"door.colour": "x"}),
        ("item.door.colour", {}, {"door.colour": None}),
        ("item.door.code", {}, {"door.code": None}),
        ("item.door.code", {"door": {"code": "9"}}, {"door.code": "9"}),
        ("item.password", {}, {"password": None}),
    ],
)
def test_a_path_changes_its_field_alone(
    path: str, given: dict[str, Any], changed: dict[str, Any]
) -> None:
    after = update(record_of(NAME, **given), path)
    expected = old()
    for name, value in changed.items():
        *holders, leaf = name.split(".")
        holder = expected.item
        for each in holders:
            holder = getattr(holder, each)
        holder.ClearField(leaf)
        if value not in (None, [], False):
            setattr(holder, leaf, value)
    assert after == expected


def test_a_path_to_the_body_or_a_star_replaces_it_and_keeps_secrets() -> None:
    given = record_of(NAME, title="new", door={"width": 1})
    after = update(given, "item")
    expected = record_of(NAME, title="new", password="p", door={"width": 1, "code": "1"})
    expected.labels["team"] = "red"
    assert after == expected
    expected.labels.clear()
    assert update(given, "*") == expected


def test_what_was_read_can_be_written_back_whole() -> None:
    """A caller reads no secrets: writing back what was read must lose none."""
    given = old()
    drop_secrets(given)
    assert b"1" not in given.item.door.SerializeToString()
    assert update(given, "*") == old()
    assert update(given) == old()
    given.item.doors.reverse()
    after = update(given, "item.doors")
    assert [each.code for each in after.item.doors] == ["3", "2"]
    given.item.doors[0].colour = "changed"
    after = update(given, "item.doors")
    assert [each.code for each in after.item.doors] == ["", "2"]


def test_secrets_that_are_given_replace_the_old() -> None:
    given = record_of(NAME, title="new", password="q", door={"code": "9"})
    after = update(given, "*")
    assert (after.item.password, after.item.door.code) == ("q", "9")


def test_a_path_into_what_is_on_neither_side_changes_nothing() -> None:
    bare = record_of(NAME, title="t")
    assert updated(KIND, bare, record_of(NAME), ["item.door.colour"]) == bare


@pytest.mark.parametrize(
    "path",
    ["colour", "", "item.", "item.nope", "item.door.nope", "item.title.x", "item.doors.colour",
     "labels.team", "shelf", "shelf.room", "item.named_doors.front", "body", "name.x"],
)  # fmt: skip
def test_a_path_that_is_no_field_is_refused(path: str) -> None:
    with pytest.raises(MaskInvalid, match="update_mask") as refused:
        update(record_of(NAME, title="t"), path)
    assert refused.value.metadata == {"path": path}


def test_a_star_stands_alone() -> None:
    with pytest.raises(MaskInvalid):
        update(record_of(NAME, title="t"), "*", "item.title")


def test_the_name_and_what_is_output_only_may_be_named() -> None:
    assert update(record_of(NAME, title="t"), "name", "create_time", "item.score") == old()


def test_an_immutable_field_is_set_once() -> None:
    before, after = record_of(NAME, title="t"), record_of(NAME, title="t", origin="x")
    assert list(changed_immutables(before, after, "record")) == ["record.item.origin"]
    assert list(changed_immutables(after, before, "record")) == []
    assert before.item.origin == "x", "what is left out stays"


async def test_an_immutable_field_is_refused_by_name() -> None:
    async with records_on("sqlite://") as records:
        made = await records.create(ITEMS, "a", title="t", origin="here")
        for paths in ((), ("*",), ("item.origin",)):
            with pytest.raises(FieldInvalid, match=r"record\.item\.origin"):
                await records.update(record_of(made.name, title="u", origin="there"), *paths)
        assert await records.get(made.name) == made
        changed = await records.update(record_of(made.name, title="u", origin="here"), "*")
        assert (changed.item.title, changed.item.origin) == ("u", "here")
        kept = await records.update(record_of(made.name, title="v"), "*")
        assert kept.item.origin == "here"
