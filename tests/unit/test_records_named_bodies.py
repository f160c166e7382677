"""A body may have a name of its own: it stands bare, the resource name is ``record.name``."""

import pytest

from mesh.cel.language import Environment
from mesh.contract.catalogue import load_catalogue
from mesh.sql.order import parse_order
from secmesh.security.v1.record_pb2 import Record
from tests.derived import tables_of

CATALOGUE = load_catalogue("secmesh.security.v1")
TABLES = tables_of(CATALOGUE, isolated=True)
TEAMS = TABLES["teams"]
TEAM = Record(name="tenants/acme/teams/t1")
TEAM.team.name = "red"


@pytest.mark.parametrize(
    ("order", "column"), [("name", "name"), ("record.name", "record_id"), ("", "record_id")]
)
def test_an_order_by_name(order: str, column: str) -> None:
    last = TEAMS.kind.pattern.columns[-1]
    expected = last if column == "record_id" else column
    assert parse_order(order, TEAMS)[0].column == expected


def test_without_a_name_of_its_own_it_is_the_resource_name() -> None:
    users = TABLES["users"]
    assert parse_order("name desc", users)[0].column == users.kind.pattern.columns[-1]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('name == "red"', True),
        ('name == "tenants/acme/teams/t1"', False),
        ('record.name == "tenants/acme/teams/t1"', True),
        ('record.name == "red"', False),
    ],
)
def test_a_condition_on_a_name(condition: str, holds: bool) -> None:
    compiled = Environment.of_kind(TEAMS.kind).compile(condition)
    assert compiled.matches(TEAM.team, TEAM) is holds


def test_rows_hold_both() -> None:
    row = TEAMS.codec.row(TEAM)
    assert row["name"] == "red"
    assert TEAMS.codec.message(row) == TEAM
