"""The edge's check of one request: what does not fit is refused by its field."""

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc.error_details_pb2 import BadRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edge.strict import check_request
from gateway.edge.strict_json import MAX_VIOLATIONS, check_message, is_base64, read_json
from gateway.refusals import JsonInvalid, body_of, http_status
from gateway.routes import RouteTable
from mesh.errors import PathUnknown, Refusal
from secmesh.inventory.v1 import iam_pb2, ssp_requests_pb2, sync_pb2
from secmesh.tenancy.v1.schedule_service_pb2 import PreviewScheduleRequest
from tests.unit.gateway_contract import trial

TABLE = RouteTable(trial().methods)
PUT = "/trial/v1/tenants/acme/boxes"
UPDATE = "/trial/v1/tenants/acme/boxes/one"
FIND = "/trial/v1/boxes:find"


def put(body: Any) -> None:
    check_request(TABLE, "POST", PUT, json.dumps(body).encode())


def refused(verb: str, target: str, body: bytes = b"") -> dict[str, str]:
    """Give the reasons of a refused request by field."""
    with pytest.raises(JsonInvalid) as caught:
        check_request(TABLE, verb, target, body)
    found: dict[str, str] = {}
    for detail in caught.value.details:
        assert isinstance(detail, BadRequest)
        found.update({each.field: each.reason for each in detail.field_violations})
    return found


def test_everything_that_fits_passes() -> None:
    put(
        {
            "box": {
                "title": "a",
                "colour": "COLOUR_RED",
                "size": 3,
                "weight": "9007199254740993",
                "seal": "AAEC",
                "tags": ["a", "b"],
                "counts": {"x": 1},
                "inner": {"listed": [{"named": {"deep": {"title": "z"}}}]},
                "facts": {"any": [1, "two", None, {"three": True}]},
                "thing": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"},
                "age": "1.5s",
                "ratio": 0.5,
                "nick": None,
            },
            "image": "",
        }
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"crate": {}}, {"crate": "FIELD_UNKNOWN"}),
        ({"box": {"colour": "RED"}}, {"box.colour": "TYPE_WRONG"}),
        ({"box": {"size": "three"}}, {"box.size": "TYPE_WRONG"}),
        ({"box": {"size": True}}, {"box.size": "TYPE_WRONG"}),
        ({"box": {"weight": 1.5}}, {"box.weight": "TYPE_WRONG"}),
        ({"box": {"seal": "*"}}, {"box.seal": "TYPE_WRONG"}),
        ({"box": {"seal": "AAAA\n"}}, {"box.seal": "TYPE_WRONG"}),
        ({"box": {"seal": "A"}}, {"box.seal": "TYPE_WRONG"}),
        ({"box": {"seal": "AA="}}, {"box.seal": "TYPE_WRONG"}),
        (
            {"box": {"seal": 7, "inner": {"seal": "+_"}}},
            {"box.seal": "TYPE_WRONG", "box.inner.seal": "TYPE_WRONG"},
        ),
        ({"box": {"named": {"a": {"data": "AA*A"}}}}, {"box.named['a'].data": "TYPE_WRONG"}),
        ({"box": {"age": "soon"}}, {"box.age": "TYPE_WRONG"}),
        ({"box": {"facts": []}}, {"box.facts": "TYPE_WRONG"}),
        ({"box": {"counts": []}}, {"box.counts": "TYPE_WRONG"}),
        ({"box": {"counts": {"a": "b"}}}, {"box.counts['a']": "TYPE_WRONG"}),
        ({"box": {"named": {"a": {"b": 1}}}}, {"box.named['a'].b": "FIELD_UNKNOWN"}),
        ({"box": {"listed": [{}, {"b": 1}]}}, {"box.listed[1].b": "FIELD_UNKNOWN"}),
        ({"box": {"listed": [{}, 1]}}, {"box.listed[1]": "TYPE_WRONG"}),
        ({"box": {"tags": [None]}}, {"box.tags[0]": "TYPE_WRONG"}),
        ({"box": {"thing": {"@type": "type.example/none"}}}, {"box.thing": "TYPE_WRONG"}),
        ({"box": {"text": "a", "data": "AA=="}}, {"box.data": "ONEOF_TWICE"}),
        ({"box": {"size": "1.0"}}, {"box.size": "TYPE_WRONG"}),
        ({"box": {"size": "1_0"}}, {"box.size": "TYPE_WRONG"}),
        ({"box": {"size": "\uff11"}}, {"box.size": "TYPE_WRONG"}),
        ({"box": {"ratio": "1_0"}}, {"box.ratio": "TYPE_WRONG"}),
        ({"box": {"age": "\uff11s"}}, {"box.age": "TYPE_WRONG"}),
        ({"box": {"title": "a\ud800"}}, {"box.title": "TYPE_WRONG"}),
        ({"parent": "tenants/evil"}, {"parent": "FIELD_MISPLACED"}),
    ],
)
def test_body_that_does_not_fit(body: Any, expected: dict[str, str]) -> None:
    assert refused("POST", PUT, json.dumps(body).encode()) == expected


@pytest.mark.parametrize("offset", ["+24:00", "-99:00", "+12:60", "+1:00", "+0100", "z", ""])
def test_a_time_is_one_of_rfc_3339(offset: str) -> None:
    message = PreviewScheduleRequest.DESCRIPTOR
    check_message({"afterTime": "2030-01-01T00:00:00.5+23:59"}, message)
    with pytest.raises(JsonInvalid, match="after_time: must be a time as RFC 3339"):
        check_message({"afterTime": f"2030-01-01T00:00:00{offset}"}, message)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"box": {"inner": {"named": {}, "named": {}}}}', "named"),
        ('{"updateMask": 1, "box": {}, "box": {}}', "box"),
    ],
)
def test_name_twice_in_one_object(body: str, field: str) -> None:
    assert refused("POST", PUT, body.encode()) == {field: "FIELD_TWICE"}


def test_both_names_of_one_field() -> None:
    body = b'{"ssp_id": "a", "sspId": "a"}'
    message = ssp_requests_pb2.ImportSspRequest.DESCRIPTOR
    with pytest.raises(JsonInvalid, match="ssp_id: stands twice"):
        check_message(read_json(body), message)
    body = b'{"units": 1, "unitsDone": 1, "units_done": 1}'
    with pytest.raises(JsonInvalid, match=r"sync\.progress\.units_done: stands twice"):
        check_message({"progress": read_json(body)}, sync_pb2.Sync.DESCRIPTOR, "sync")


def test_violations_are_many_but_not_endless() -> None:
    body = json.dumps({"box": {f"unknown{each}": 1 for each in range(1000)}}).encode()
    assert len(refused("POST", PUT, body)) == MAX_VIOLATIONS


def test_body_of_one_field() -> None:
    check_request(TABLE, "PATCH", f"{UPDATE}?updateMask=title", b'{"title": "a"}')
    assert refused("PATCH", UPDATE, b'{"box": {}}') == {"box.box": "FIELD_UNKNOWN"}
    assert refused("PATCH", UPDATE, b'{"name": "x"}') == {"name": "FIELD_MISPLACED"}
    assert refused("PATCH", f"{UPDATE}?box.title=a", b"{}") == {"box.title": "PARAMETER_MISPLACED"}
    assert refused("PATCH", UPDATE, b"[]") == {"box": "TYPE_WRONG"}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"image": null}'])
def test_little_is_needed(body: bytes) -> None:
    check_request(TABLE, "POST", PUT, body)


@pytest.mark.parametrize("body", [b" ", b"null", b"1", b'"a"', b"[]"])
def test_body_is_an_object(body: bytes) -> None:
    with pytest.raises(JsonInvalid):
        check_request(TABLE, "POST", PUT, body)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "open=true&open",
        "open=true&ratio=-1.5e-3&weight=-9223372036854775808&count=4294967295",
        "colour=COLOUR_RED&colours=COLOUR_RED&colours=COLOUR_BLUE&tags=a&tags=b",
        "since=2030-01-31T12:00:00Z&within=3.5s&mask=a,b.c&seal=AAEC",
        "range.low=1&range.highEnd=2",
        "range.high_end=2&text=%26%3D%2B+%25",
    ],
)
def test_query_that_fits(query: str) -> None:
    if query.endswith("&open"):
        assert refused("GET", f"{FIND}?{query}") == {"open": "PARAMETER_TWICE"}
    else:
        check_request(TABLE, "GET", f"{FIND}?{query}", b"")


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("open=yes", "open", "TYPE_WRONG"),
        ("open=1", "open", "TYPE_WRONG"),
        ("ratio=half", "ratio", "TYPE_WRONG"),
        ("ratio=0x1", "ratio", "TYPE_WRONG"),
        ("weight=9223372036854775808", "weight", "TYPE_WRONG"),
        ("weight=1.5", "weight", "TYPE_WRONG"),
        ("weight=%D9%A1", "weight", "TYPE_WRONG"),
        ("count=-1", "count", "TYPE_WRONG"),
        ("colour=RED", "colour", "TYPE_WRONG"),
        ("colours=COLOUR_RED&colours=RED", "colours", "TYPE_WRONG"),
        ("since=today", "since", "TYPE_WRONG"),
        ("within=3", "within", "TYPE_WRONG"),
        ("seal=*", "seal", "TYPE_WRONG"),
        ("range=1", "range", "PARAMETER_UNKNOWN"),
        ("range.low=a", "range.low", "TYPE_WRONG"),
        ("range.middle=1", "range.middle", "PARAMETER_UNKNOWN"),
        ("ranges.low=1", "ranges.low", "PARAMETER_UNKNOWN"),
        ("labels=a", "labels", "PARAMETER_UNKNOWN"),
        ("labels.a=b", "labels.a", "PARAMETER_UNKNOWN"),
        ("since.seconds=1", "since.seconds", "PARAMETER_UNKNOWN"),
        ("text.more=1", "text.more", "PARAMETER_UNKNOWN"),
        ("range.low=1&range.low=2", "range.low", "PARAMETER_TWICE"),
        ("range.highEnd=1&range.high_end=2", "range.high_end", "PARAMETER_TWICE"),
        (".=1", ".", "PARAMETER_UNKNOWN"),
        ("=1", "", "PARAMETER_UNKNOWN"),
    ],
)
def test_query_that_does_not_fit(query: str, field: str, reason: str) -> None:
    assert refused("GET", f"{FIND}?{query}") == {field: reason}


def test_query_without_end() -> None:
    assert refused("GET", f"{FIND}?" + "&".join(["tags=a"] * 201)) == {}
    assert refused("GET", f"{FIND}?text=%zz") == {}


def test_path_without_method_is_named() -> None:
    with pytest.raises(PathUnknown) as caught:
        check_request(TABLE, "DELETE", f"{UPDATE}?a=b", b"")
    assert caught.value.metadata == {"path": UPDATE}


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"\xef\xbb\xbf{}", b"{'a': 1}", b'{"a": 1,}', b'{"a": NaN}', b'{"a": -Infinity}'],
)
def test_json_that_is_none(body: bytes) -> None:
    with pytest.raises(JsonInvalid):
        read_json(body)


@given(st.binary(max_size=40))
def test_base64_in_all_its_forms(data: bytes) -> None:
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        assert is_base64(text)
        assert is_base64(text.rstrip("="))
        assert not is_base64(f"{text} ")


def test_depth_is_bounded() -> None:
    assert read_json(b"[" * 32 + b"]" * 32)
    for depth in (33, 1_000, 200_000):
        with pytest.raises(JsonInvalid, match="levels"):
            read_json(b"[" * depth + b"]" * depth)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [field.json_name for field in trial().catalogue.kinds["boxes"].message.fields]
)


@given(st.dictionaries(NAMES, JSON_VALUES, max_size=4))
def test_any_box_passes_or_is_refused_by_name(box: dict[str, Any]) -> None:
    try:
        put({"box": box})
    except Refusal as refusal:
        error = json.loads(body_of(refusal, "id"))
        assert error["code"] == 3
        assert http_status(error["code"]) == 400


@given(st.binary(max_size=64))
def test_any_bytes_pass_or_are_refused(body: bytes) -> None:
    try:
        check_request(TABLE, "POST", PUT, body)
    except JsonInvalid:
        return
    assert not body or isinstance(json.loads(body), dict)


@given(
    regions=st.lists(st.text(max_size=9), max_size=3),
    state=st.sampled_from(sync_pb2.Sync.State.values()),
    seconds=st.integers(0, 2_000_000_000),
    units=st.integers(-(2**31), 2**31 - 1),
)
@settings(max_examples=50)
def test_what_protobuf_writes_is_accepted(
    regions: list[str], state: Any, seconds: int, units: int
) -> None:
    sync = sync_pb2.Sync(regions=regions, state=state)
    sync.start_time.FromSeconds(seconds)
    sync.progress.units = units
    for keep in (True, False):
        value = json_format.MessageToDict(sync, preserving_proto_field_name=keep)
        check_message(value, sync_pb2.Sync.DESCRIPTOR)
    user = iam_pb2.IamUser(tags=dict.fromkeys(regions, "x"), is_root=False)
    check_message(json_format.MessageToDict(user), iam_pb2.IamUser.DESCRIPTOR)
