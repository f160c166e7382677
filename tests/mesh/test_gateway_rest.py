"""REST through the real Envoy: what fits arrives as it was meant, what does not is named."""

import base64
import json
from typing import Any

import grpc
import pytest

from gateway.routes import PathTemplate
from mesh.contract.catalogue import Method, load_catalogue
from tests.mesh.gateway_fixtures import Gateway, assert_refused, violations
from tests.mesh.upstream import ARN_BYTES, LATE, PACKAGE, Journal

ROOT = "/inventory/v1/tenants/acme"
INVALID = grpc.StatusCode.INVALID_ARGUMENT
MEBIBYTE = 1024 * 1024


def test_get(gateway: Gateway, journal: Journal) -> None:
    response = gateway.get(f"{ROOT}/iam_users/one")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    user = {"username": "ann", "mfaEnabled": False}
    assert response.json() == {"name": "tenants/acme/iam_users/one", "iamUser": user}
    assert journal.last.method == "GetRecord"


def test_query_parameters_in_both_forms_of_names(gateway: Gateway, journal: Journal) -> None:
    target = f"{ROOT}/iam_users?pageSize=7&order_by=username&filter=a+%2B%20%22%C3%A9%22"
    assert gateway.get(f"{target}&readMask=name,iamUser.username").status_code == 200
    request = journal.last.request
    assert (request.page_size, request.order_by, request.filter) == (7, "username", 'a + "é"')
    assert list(request.read_mask.paths) == ["name", "iam_user.username"]
    assert gateway.get(f"{ROOT}/iam_users?read_mask=name,iam_user.username").status_code == 200
    assert list(journal.last.request.read_mask.paths) == ["name", "iam_user.username"]


def test_body_fills_its_field(gateway: Gateway, journal: Journal) -> None:
    body = {"cloudAccountId": "123456789012", "regions": ["eu-west-1"], "collections": []}
    response = gateway.post(f"{ROOT}/syncs?syncId=first", body)
    assert response.json() == {"name": "tenants/acme/syncs/one", "state": "STATE_RUNNING"}
    request = journal.last.request
    assert (request.parent, request.sync_id) == ("tenants/acme", "first")
    assert request.sync.cloud_account_id == "123456789012"
    assert list(request.sync.regions) == ["eu-west-1"]


def test_body_fills_the_request(gateway: Gateway, journal: Journal) -> None:
    body = {"cloudAccountIds": ["123456789012"], "maxAge": "3.5s"}
    assert gateway.post(f"{ROOT}/ssps/plan:evaluate", body).status_code == 200
    request = journal.last.request
    assert request.ssp == "tenants/acme/ssps/plan"
    assert list(request.cloud_account_ids) == ["123456789012"]
    assert request.max_age.ToMilliseconds() == 3500
    assert gateway.call("POST", f"{ROOT}/ssps/plan:evaluate").status_code == 200
    assert journal.last.request.ssp == "tenants/acme/ssps/plan"


def test_document_comes_as_it_is(gateway: Gateway, journal: Journal) -> None:
    response = gateway.get(f"{ROOT}/assessments/a:export?format=REPORT_FORMAT_MARKDOWN")
    assert response.headers["content-type"] == "text/markdown"
    assert response.text == "# Plan\n"
    assert journal.last.request.format == 2


def test_stream_is_a_line_for_each_event_and_says_how_it_ended(gateway: Gateway) -> None:
    response = gateway.get(f"{ROOT}/syncs/one:watch")
    assert response.status_code == 200
    events = [json.loads(line) for line in response.text.splitlines()]
    assert [sorted(event) for event in events] == [["sync"]] * 3 + [["ended"]]
    assert events[2]["sync"]["progress"] == {"unitsDone": 2}
    assert events[3]["ended"] == {"message": "complete"}


def test_stream_refused_before_its_first_event(gateway: Gateway) -> None:
    response = gateway.get(f"{ROOT}/syncs/missing:watch")
    assert_refused(response, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


def test_large_answer_arrives_whole(gateway: Gateway) -> None:
    records = gateway.get(f"{ROOT}/iam_users?pageSize=1000").json()["records"]
    assert len(records) == 1000
    assert all(record["iamUser"]["attachedPolicies"] == ["x" * ARN_BYTES] * 4 for record in records)


def test_error_of_the_service_keeps_its_details(gateway: Gateway) -> None:
    response = gateway.get(f"{ROOT}/iam_users/missing")
    metadata = assert_refused(response, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert metadata["resource"] == "tenants/acme/iam_users/missing"
    kinds = [detail["@type"].rpartition(".")[2] for detail in response.json()["details"]]
    assert kinds == ["ErrorInfo", "ResourceInfo"]


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("colour=red", "colour", "PARAMETER_UNKNOWN"),
        ("readMask.colour=red", "readMask.colour", "PARAMETER_UNKNOWN"),
        ("readMask.paths=name", "readMask.paths", "PARAMETER_UNKNOWN"),
        ("parent=tenants/evil", "parent", "PARAMETER_MISPLACED"),
        ("pageSize=many", "pageSize", "TYPE_WRONG"),
        ("pageSize=1_0", "pageSize", "TYPE_WRONG"),
        ("pageSize=2147483648", "pageSize", "TYPE_WRONG"),
        ("pageSize=", "pageSize", "TYPE_WRONG"),
        ("pageSize=1&page_size=2", "page_size", "PARAMETER_TWICE"),
        ("readMask=a%20b", "readMask", "TYPE_WRONG"),
    ],
)
def test_query_parameter_that_does_not_fit(
    gateway: Gateway, journal: Journal, query: str, field: str, reason: str
) -> None:
    response = gateway.get(f"{ROOT}/iam_users?{query}")
    assert_refused(response, INVALID, "BODY_INVALID")
    assert violations(response) == {field: reason}
    assert journal.calls == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"colour": "red"}, {"sync.colour": "FIELD_UNKNOWN"}),
        ({"progress": {"colour": 1}}, {"sync.progress.colour": "FIELD_UNKNOWN"}),
        ({"cloudAccountId": 123456789012}, {"sync.cloud_account_id": "TYPE_WRONG"}),
        ({"regions": "eu-west-1"}, {"sync.regions": "TYPE_WRONG"}),
        ({"regions": ["eu-west-1", 2]}, {"sync.regions[1]": "TYPE_WRONG"}),
        ({"state": "STATE_DANCING"}, {"sync.state": "TYPE_WRONG"}),
        ({"startTime": "yesterday"}, {"sync.start_time": "TYPE_WRONG"}),
        ({"progress": {"units": 1.5}}, {"sync.progress.units": "TYPE_WRONG"}),
        ({"a": 1, "regions": {}}, {"sync.a": "FIELD_UNKNOWN", "sync.regions": "TYPE_WRONG"}),
        ([], {"sync": "TYPE_WRONG"}),
    ],
)
def test_body_that_does_not_fit(
    gateway: Gateway, journal: Journal, body: Any, expected: dict[str, str]
) -> None:
    response = gateway.post(f"{ROOT}/syncs", body)
    assert_refused(response, INVALID, "BODY_INVALID")
    assert violations(response) == expected
    assert journal.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"cloudAccountId": "1"} x',
        b"\xff",
        b'{"cloudAccountId": "1", "cloudAccountId": "2"}',
        b'{"cloudAccountId": "1", "cloud_account_id": "2"}',
        b'{"progress": {"units": NaN}}',
        b'{"progress": {"units": ' + b"9" * 5000 + b"}}",
        b'{"error":' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 100_000,
    ],
)
def test_body_that_is_not_strict_json(gateway: Gateway, journal: Journal, body: bytes) -> None:
    assert_refused(gateway.call("POST", f"{ROOT}/syncs", content=body), INVALID, "BODY_INVALID")
    assert journal.calls == []


def test_body_may_not_say_again_what_the_path_says(gateway: Gateway, journal: Journal) -> None:
    response = gateway.post(f"{ROOT}/ssps/plan:evaluate", {"ssp": "tenants/evil/ssps/plan"})
    assert_refused(response, INVALID, "BODY_INVALID")
    assert violations(response) == {"ssp": "FIELD_MISPLACED"}
    response = gateway.post(f"{ROOT}/ssps/plan:evaluate?maxAge=3s", {})
    assert violations(response) == {"maxAge": "PARAMETER_MISPLACED"}
    assert journal.calls == []


def test_get_takes_no_body(gateway: Gateway, journal: Journal) -> None:
    response = gateway.call("GET", f"{ROOT}/iam_users", content=b"{}")
    assert_refused(response, INVALID, "BODY_INVALID")
    assert journal.calls == []


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/inventory/v2/kinds"),
        ("GET", "/inventory/v1/kinds/more"),
        ("PATCH", "/inventory/v1/kinds"),
        ("DELETE", "/inventory/v1/kinds"),
        ("OPTIONS", "/inventory/v1/kinds"),
        ("PROPFIND", "/inventory/v1/kinds"),
        ("GET", "/secmesh.inventory.v1.SyncService/GetSync"),
        ("POST", "/secmesh.inventory.v1.SyncService/GetSync"),
    ],
)
def test_path_or_verb_without_method(
    gateway: Gateway, journal: Journal, verb: str, path: str
) -> None:
    metadata = assert_refused(gateway.call(verb, path), grpc.StatusCode.NOT_FOUND, "PATH_UNKNOWN")
    assert metadata["path"] == path
    assert journal.calls == []


def test_verb_no_template_knows_is_part_of_the_id(gateway: Gateway, journal: Journal) -> None:
    assert gateway.get(f"{ROOT}/syncs/one:dance").status_code == 200
    assert journal.last.request.name == "tenants/acme/syncs/one:dance"
    response = gateway.get(f"{ROOT}/iam_users/one:watch")  # a verb of another collection
    assert_refused(response, grpc.StatusCode.NOT_FOUND, "PATH_UNKNOWN")


def test_body_larger_than_the_gateway_takes(gateway: Gateway, journal: Journal) -> None:
    body = {"cloudAccountId": "x" * (4 * MEBIBYTE)}
    response = gateway.post(f"{ROOT}/syncs", body)
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert_refused(response, code, "BODY_TOO_LARGE", status=413)
    assert journal.calls == []


def test_body_may_be_as_large_as_its_contract_says(gateway: Gateway, journal: Journal) -> None:
    document = b"x" * (12 * MEBIBYTE)
    body = {"sspId": "plan", "document": base64.b64encode(document).decode()}
    assert gateway.post(f"{ROOT}/ssps:import", body).status_code == 200
    assert journal.last.request.document == document
    body["document"] = base64.b64encode(document + b"x" * MEBIBYTE).decode()
    response = gateway.post(f"{ROOT}/ssps:import", body)
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert_refused(response, code, "BODY_TOO_LARGE", status=413)


@pytest.mark.parametrize("part", ["%zz", "%ff", "a%2", "%"])
def test_path_that_is_not_percent_encoded_text(
    gateway: Gateway, journal: Journal, part: str
) -> None:
    request = (
        f"GET /inventory/v1/tenants/acme/iam_users/{part} HTTP/1.1\r\nHost: secmesh\r\n"
        f"Authorization: Bearer {gateway.token()}\r\nConnection: close\r\n\r\n"
    )
    status, body = gateway.raw(request.encode())
    assert status == 400
    assert json.loads(body)["details"][0]["reason"] == "BODY_INVALID"
    assert journal.calls == []


def test_path_is_decoded_once(gateway: Gateway, journal: Journal) -> None:
    assert gateway.get(f"{ROOT}/iam_users/a%2520b%20c").status_code == 200
    assert journal.last.request.name == "tenants/acme/iam_users/a%20b c"


def test_call_that_takes_too_long(gateway: Gateway) -> None:
    response = gateway.get(f"{ROOT}/syncs?filter={LATE}", headers={"grpc-timeout": "2S"})
    assert_refused(response, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


def test_deadline_of_the_contract_travels(gateway: Gateway, journal: Journal) -> None:
    gateway.get(f"{ROOT}/syncs")
    assert journal.last.seconds == pytest.approx(32, abs=2)
    gateway.get(f"{ROOT}/syncs/one:watch")
    assert journal.last.seconds == pytest.approx(3602, abs=2)


# A stream of requests that is no upload has no form in REST that the edge lets through.
_METHODS = [
    method
    for method in load_catalogue(PACKAGE).methods.values()
    if not method.descriptor.client_streaming or method.upload
]


@pytest.mark.parametrize("method", _METHODS, ids=lambda method: method.descriptor.name)
def test_every_route_leads_to_its_method(
    gateway: Gateway, journal: Journal, method: Method
) -> None:
    for route in method.routes:
        template = PathTemplate.parse(route.template)
        path = "/".join("xyz" if segment == "*" else segment for segment in template.segments)
        verb = f":{template.verb}" if template.verb else ""
        options = {"content": b"{}"} if route.body else {}
        response = gateway.call(route.verb, f"/{path}{verb}", **options)
        assert response.status_code == 200, response.text
        assert journal.last.method == method.descriptor.name
