"""Path templates, and which of them a path leads to."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routes import (
    EscapeInvalid,
    Match,
    PathTemplate,
    RouteTable,
    TemplateInvalid,
    unescape,
)
from tests.unit.gateway_contract import trial

TABLE = RouteTable(trial().methods)


def found(verb: str, path: str) -> str | None:
    match = TABLE.match(verb, path)
    return match.method.descriptor.name if match else None


@pytest.mark.parametrize(
    ("verb", "path", "name"),
    [
        ("GET", "/trial/v1/tenants/acme/boxes/one", "GetBox"),
        ("GET", "/trial/v1/tenants/acme/boxes/one/", "GetBox"),
        ("GET", "/trial/v1/tenants/all/boxes/default", "GetDefault"),
        ("GET", "/trial/v1/tenants/all/boxes/other", "GetBox"),
        ("GET", "/trial/v1/tenants/acme/boxes/default", "GetBox"),
        ("PATCH", "/trial/v1/tenants/all/boxes/default", "UpdateBox"),
        ("POST", "/trial/v1/tenants/acme/boxes", "PutBox"),
        ("GET", "/trial/v1/tenants/acme/boxes/one:download", "DownloadBox"),
        ("GET", "/trial/v1/tenants/acme/boxes/one:two", "GetBox"),
        ("GET", "/trial/v1/boxes:find", "Find"),
        ("GET", "/trial/v1/files/a/b/c", "GetBox"),
        ("GET", "/trial/v1/files/a", "GetBox"),
        ("GET", "/trial/v1/boxes", None),
        ("POST", "/trial/v1/boxes:find", None),
        ("GET", "/trial/v1/boxes:download", None),
        ("GET", "/trial/v1/tenants/acme/boxes", None),
        ("GET", "/trial/v1/tenants/acme/boxes/one/more", None),
        ("GET", "/trial/v1/tenants//boxes/one", None),
        ("GET", "/trial/v1", None),
        ("GET", "/", None),
        ("GET", "", None),
        ("get", "/trial/v1/boxes:find", None),
    ],
)
def test_match(verb: str, path: str, name: str | None) -> None:
    assert found(verb, path) == name


def variables(path: str) -> dict[str, str]:
    match = TABLE.match("GET", path)
    assert isinstance(match, Match)
    return match.variables


def test_variables_are_decoded_whole() -> None:
    decoded = {"name": "tenants/a b/boxes/é%20"}
    assert variables("/trial/v1/tenants/a%20b/boxes/%C3%A9%2520") == decoded
    assert variables("/trial/v1/files/a/b%3Ac/d") == {"name": "a/b:c/d"}


@pytest.mark.parametrize("part", ["%", "%z1", "%1", "%ff", "%c3%28", "%ed%a0%80"])
def test_broken_escapes_are_refused(part: str) -> None:
    with pytest.raises(EscapeInvalid):
        TABLE.match("GET", f"/trial/v1/tenants/acme/boxes/{part}")


@pytest.mark.parametrize(
    "template",
    [
        "",
        "a",
        "/",
        "/a/{b",
        "/a/{b=c}d",
        "/**/a",
        "/a/{b=**}/c",
        "/a//b",
        "/a/{=b}",
        "/a b",
        "/{a=}",
    ],
)
def test_broken_templates_are_refused(template: str) -> None:
    with pytest.raises(TemplateInvalid):
        PathTemplate.parse(template)


def test_template_is_read_in_parts() -> None:
    template = PathTemplate.parse("/v1/{a.b=c/*/d}/{e}:run")
    assert template.segments == ("v1", "c", "*", "d", "*")
    assert template.verb == "run"
    assert [(each.path, each.first, each.segments) for each in template.variables] == [
        ("a.b", 1, ("c", "*", "d")),
        ("e", 4, ("*",)),
    ]


IDS = st.text(st.characters(categories=["L", "N"], include_characters="-._~"), min_size=1)


@given(tenant=IDS, box=IDS)
def test_regex_fits_what_the_table_finds(tenant: str, box: str) -> None:
    path = f"/trial/v1/tenants/{tenant}/boxes/{box}"
    regex = PathTemplate.parse("/trial/v1/{name=tenants/*/boxes/*}").regex()
    assert re.fullmatch(regex, path)
    assert not re.fullmatch(regex, f"{path}/more")
    assert found("GET", path) in ("GetBox", "GetDefault")


@given(st.text(max_size=200))
def test_any_path_is_found_or_not_but_never_breaks(path: str) -> None:
    try:
        TABLE.match("GET", path)
    except EscapeInvalid:
        assert "%" in path


@given(st.text())
def test_unescape_reads_plain_text_as_it_is(text: str) -> None:
    plain = text.encode("utf-8", "ignore").decode().replace("%", "")
    assert unescape(plain) == plain
    assert unescape(plain, plus_is_space=True) == plain.replace("+", " ")
