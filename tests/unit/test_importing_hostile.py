"""Whatever a report holds, reading it and mapping what it says ends without an exception."""

import copy
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.security.importing import formats
from services.security.importing.fingerprint import normal_path, values
from services.security.importing.mapping import Mapper
from services.security.importing.mapping_threat import Graph
from services.security.importing.model import Finding, Problem, Rejected
from services.security.importing.rows import Context
from services.security.importing.spool import Spool
from tests.reports import only, read
from tests.unit.test_importing_formats import ALERT
from tests.unit.test_importing_mapping import REPORTS

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JUNK = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=5), SCALARS)


def places(value: object) -> list[tuple[object, object]]:
    """Every container of a document with each key or index in it."""
    found: list[tuple[object, object]] = []
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys:
            found += [(value, key), *places(value[key])]
    return found


def run(content: bytes, name: str) -> list[object]:
    with Spool.of([content]) as spool:
        graph = Graph.of(formats.items(spool, name))
        mapper = Mapper(name, Context("Scanner", "2026-01-01T00:00:00Z"), spool.sha256, graph)
        items = list(formats.items(spool, name))
    indexes = sorted(getattr(item, "index", -1) for item in items)
    numbered = [index for index in indexes if index >= 0]
    assert numbered == list(range(len(numbered)))
    assert only(Problem, items[:-1]) == []
    return [row for item in items for row in mapper.rows(item)]


@pytest.mark.parametrize("name", REPORTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_junk_anywhere_is_rejected_or_read(name: str, data: st.DataObject) -> None:
    document = copy.deepcopy(REPORTS[name])
    container, key = data.draw(st.sampled_from(places(document)))
    container[key] = data.draw(JUNK)  # type: ignore[index]  # an object by its key, a list by a number
    content = json.dumps(document).encode()
    run(content, name)


@pytest.mark.parametrize("name", REPORTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_bytes_in_between_are_rejected_or_read(name: str, data: st.DataObject) -> None:
    content = orjson.dumps(REPORTS[name])
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 20)))
    run(content[:start] + data.draw(st.binary(max_size=5)) + content[end:], name)


def test_a_number_in_an_element_beyond_every_integer_costs_that_element() -> None:
    text = '{"runs":[{"results":[{"ruleId":"a","rank":%s},{"ruleId":"b"}]}]}' % ("9" * 400)
    with Spool.of([text.encode()]) as spool:
        items = list(formats.items(spool))
    assert [each.rule_key for each in only(Finding, items)][-1] == "b"
    assert only(Problem, items) == []
    assert len(only(Finding, items)) + len(only(Rejected, items)) == 2


def test_a_report_broken_in_its_rules_still_has_its_results_and_says_so() -> None:
    text = '{"runs":[{"tool":{"driver":{"rules" []}},"results":[{"ruleId":"b"}]},{"results":[]}]}'
    with Spool.of([text.encode()]) as spool:
        items = list(formats.items(spool, "SARIF"))
    assert [each.rule_key for each in only(Finding, items)] == ["b"]
    (problem,) = only(Problem, items)
    assert problem.offset == text.index(" []") + 1


@pytest.mark.parametrize("url", ["http://[::1", "http://[no]/x", "file://[x/a", "//", "\x00"])
def test_what_is_no_url_has_a_fingerprint(url: str) -> None:
    instances = [{"uri": url}, {"uri": f"{url}/other"}]
    report = {"@version": "2"} | {"site": [{"alerts": [ALERT | {"instances": instances}]}]}
    found = only(Finding, read(report))
    assert len(set(values(found))) == 2
    assert normal_path(url) == normal_path(normal_path(url))
