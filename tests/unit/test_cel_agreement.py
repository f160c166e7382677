"""A condition means the same in SQL, in memory and, where nothing is absent, in Google's CEL."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cel_expr_python import cel  # type: ignore[import-untyped]  # ships stubs without py.typed
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, Phase, event, given, note, reject, settings
from hypothesis import strategies as st

from mesh.cel import Condition, Environment
from mesh.cel.engine import declared
from mesh.cel.types import type_of
from mesh.contract.catalogue import Kind, is_map, load_catalogue
from mesh.errors import FilterInvalid
from tests.databases import NEWEST, SQLITE, empty_database
from tests.examples import examples
from tests.unit.cel_expressions import (
    PARAMETERS,
    VALUES,
    Database,
    Expressions,
    Pool,
    body_and_record,
    declared_names,
)
from tests.unit.sql_contract import sample_catalogue
from tests.unit.sql_messages import messages

CATALOGUES = [load_catalogue("secmesh.inventory.v1"), sample_catalogue()]
KINDS = [kind for catalogue in CATALOGUES for kind in catalogue.kinds.values()]
# Shrinking a failure takes longer than finding it.
pytestmark = pytest.mark.timeout(300)
RELAXED = settings(
    max_examples=examples(4),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Explaining traces every line, which takes longer than the test may.
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


@pytest.fixture(scope="module", params=[SQLITE, NEWEST])
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Database]]:
    with (
        empty_database(request.param, tmp_path_factory) as first,
        empty_database(request.param, tmp_path_factory) as second,
    ):
        made = {
            catalogue.package: Database(catalogue, url)
            for catalogue, url in zip(CATALOGUES, (first, second), strict=True)
        }
        yield made
        for each in made.values():
            each.close()


def draw_case(data: st.DataObject, kind: Kind, *, nested: bool) -> tuple[Any, str]:
    message = data.draw(messages(kind))
    body, _ = body_and_record(kind, message)
    pool = Pool()
    pool.learn(body)
    return message, Expressions(kind, pool, data.draw, nested=nested).condition()


def compiled(kind: Kind, text: str) -> Condition:
    try:
        return Environment.of_kind(kind, PARAMETERS).compile(text)
    except FilterInvalid as refusal:
        # The grammar knows the types; only the limit of nesting is beyond it.
        if "nested too deeply" not in refusal.message:
            raise
        reject()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.collection)
@RELAXED
@given(data=st.data())
def test_sql_and_memory_agree(
    kind: Kind, data: st.DataObject, databases: dict[str, Database]
) -> None:
    message, text = draw_case(data, kind, nested=True)
    condition = compiled(kind, text)
    names = sorted(condition.fields)
    unread = data.draw(st.sets(st.sampled_from(names), max_size=2)) if names else set()
    body, record = body_and_record(kind, message)
    note(text)
    in_memory = condition.matches(body, record, VALUES, unread)
    event(f"outcome {in_memory}")
    database = databases[kind.descriptor.file.package]
    database.put(kind.collection, message)
    assert database.ask(kind.collection, condition, VALUES, unread) is in_memory


@cache
def google(kind_name: str) -> Any:
    """Make Google's own environment for a kind."""
    kind = next(each for each in KINDS if each.descriptor.full_name == kind_name)
    fields = declared_names(kind)
    variables = {name: declared(type_of(each)) for name, each in fields.items()}
    variables |= {name: getattr(cel.Type, kind.name) for name, kind in PARAMETERS.items()}
    return cel.NewEnv(descriptor_pool=kind.descriptor.file.pool, variables=variables)


def plain(field: FieldDescriptor, value: Any) -> Any:
    """Give what the library takes for a field's value."""
    if is_map(field):
        return dict(value)
    return list(value) if field.is_repeated else value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.collection)
@RELAXED
@given(data=st.data())
def test_memory_agrees_with_google(kind: Kind, data: st.DataObject) -> None:
    message, text = draw_case(data, kind, nested=False)
    condition = compiled(kind, text)
    fields = declared_names(kind)
    body, record = body_and_record(kind, message)
    bound = dict(VALUES)
    for name, each in fields.items():
        if not each.has_presence or body.HasField(name):
            bound[name] = plain(each, getattr(body, name))
    expected = google(kind.descriptor.full_name).compile(text).eval(data=bound).value()
    note(f"{text}: {expected}")
    outcome = condition.matches(body, record, VALUES)
    assert outcome is (expected if isinstance(expected, bool) else None)
