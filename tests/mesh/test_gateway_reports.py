"""Reports of scanners sent as they are, by curl and through Envoy, to the real security service."""

import json
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.contracts import deployables
from tests.mesh.gateway_fixtures import Gateway, assert_refused, violations
from tests.mesh.test_gateway_security import mesh
from tests.unit.test_importing_sarif import report, result

__all__ = ["mesh"]  # the fixture of the real service
ROOT = "/security/v1/tenants/acme"
IMPORT = f"{ROOT}/reports:import"
UPLOAD = (
    deployables()["security"]
    .catalogue.methods["/secmesh.security.v1.ImportService/ImportReport"]
    .upload
)
assert UPLOAD is not None
MAX_BYTES = UPLOAD.max_bytes
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """A project that no other test knows, as it stands in a URL."""
    return str(request.node.name).partition("[")[0]


def place(path: str) -> dict[str, object]:
    return {"physicalLocation": {"artifactLocation": {"uri": path}, "region": {"startLine": 3}}}


def sarif(*paths: str, padding: int = 0) -> bytes:
    content = report(*(result(locations=[place(path)]) for path in paths))
    return json.dumps({**content, "properties": {"padding": " " * padding}}).encode()


def counted(answer: Any, collection: str) -> dict[str, str]:
    for each in answer["counts"]:
        if each["collection"] == collection:
            return {name: value for name, value in each.items() if name != "collection"}
    return {}


def curl(mesh: Gateway, file: Path, query: str, *options: str) -> tuple[int, Any]:
    """Send a file as operators do; give the status and the JSON."""
    done = subprocess.run(
        [
            *("curl", "-sS", "--max-time", "60", "-w", "\n%{http_code}", *options),
            *("-H", f"authorization: Bearer {mesh.token()}", "--data-binary", f"@{file}"),
            f"http://{mesh.address}{IMPORT}?{query}",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


@pytest.mark.parametrize(
    "options",
    [
        ("--http1.1",),
        ("--http1.1", "-H", "transfer-encoding: chunked"),
        ("--http2-prior-knowledge",),
    ],
    ids=str,
)
def test_a_report_by_curl(
    mesh: Gateway, project: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    file = tmp_path / "report.sarif"
    # Larger than a message may be, and than a JSON body may be.
    file.write_bytes(sarif("a.js", "b.js", padding=13 * 1024 * 1024))
    query = f"project={project}-{len(options)}{options[0]}&branch=dev"
    status, answer = curl(mesh, file, query, *options)
    assert (status, answer.get("outcome")) == (200, "OUTCOME_IMPORTED"), answer
    assert counted(answer, "sast_issues") == {"created": "2"}
    scan = mesh.get(f"/security/v1/{answer['scans'][0]}").json()["sastScan"]
    assert (scan["branch"], scan["importFormat"]) == ("dev", "IMPORT_FORMAT_SARIF")
    assert scan["reportSha256"] == answer["reportSha256"]
    status, again = curl(mesh, file, query, *options)
    assert (status, again["outcome"]) == (200, "OUTCOME_UNCHANGED")


def test_a_dry_run_of_a_named_format(mesh: Gateway, project: str) -> None:
    query = f"project={project}&validateOnly=true&format=IMPORT_FORMAT_SARIF"
    answer = mesh.call("POST", f"{IMPORT}?{query}", content=sarif("a.js"))
    assert answer.status_code == 200, answer.text
    assert counted(answer.json(), "sast_issues") == {"created": "1"}
    kept = mesh.get(f'{ROOT}/sast_projects?filter=key == "{project}"')
    assert (kept.status_code, kept.json()) == (200, {})


def test_bad_results_are_in_the_answer(mesh: Gateway, project: str) -> None:
    content = report(result(locations=[place("a.js")]), result(level="awful"))
    answer = mesh.post(f"{IMPORT}?project={project}", content).json()
    (rejection,) = answer["rejections"]
    assert (answer["rejected"], rejection["pointer"]) == ("1", "/runs/0/results/1/level")
    assert counted(answer, "sast_issues") == {"created": "1"}


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7", b"{}", b"<html/>", b"\xff\xfe"], ids=repr)
def test_what_is_no_report(mesh: Gateway, project: str, content: bytes) -> None:
    response = mesh.call("POST", f"{IMPORT}?project={project}", content=content)
    assert_refused(response, INVALID, "REPORT_FORMAT_UNKNOWN")


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "application/json"])
def test_the_body_is_the_report_whatever_its_content_type(
    mesh: Gateway, project: str, content_type: str
) -> None:
    """A form is none: its parts are not looked into."""
    form = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n{}\r\n--x--\r\n'
    is_form = content_type.startswith("multipart")
    response = mesh.call(
        "POST",
        f"{IMPORT}?project={project}",
        content=form if is_form else sarif("a.js"),
        headers={"content-type": content_type},
    )
    if is_form:
        assert_refused(response, INVALID, "REPORT_FORMAT_UNKNOWN")
    else:
        assert response.status_code == 200, response.text


def test_a_format_without_a_reader(mesh: Gateway, project: str) -> None:
    query = f"project={project}&format=IMPORT_FORMAT_SPDX_JSON"
    response = mesh.call("POST", f"{IMPORT}?{query}", content=b"{}")
    metadata = assert_refused(response, INVALID, "REPORT_FORMAT_UNSUPPORTED")
    assert metadata["format"] == "SPDX_JSON"


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("more=1", "more", "PARAMETER_UNKNOWN"),
        ("format=word", "format", "TYPE_WRONG"),
        ("file.data=x", "file.data", "PARAMETER_MISPLACED"),
    ],
)
def test_what_the_query_gets_wrong_is_named(
    mesh: Gateway, query: str, field: str, reason: str
) -> None:
    response = mesh.call("POST", f"{IMPORT}?{query}", content=sarif("a.js"))
    assert_refused(response, INVALID, "BODY_INVALID")
    assert violations(response) == {field: reason}


def test_findings_need_a_project(mesh: Gateway) -> None:
    response = mesh.call("POST", IMPORT, content=sarif("a.js"))
    assert_refused(response, INVALID, "FIELD_INVALID")
    assert list(violations(response)) == ["project"]


def test_a_report_that_announces_too_much_is_refused_before_it_is_sent(mesh: Gateway) -> None:
    head = (
        f"POST {IMPORT}?project=p HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {mesh.token()}\r\n"
        f"Content-Length: {MAX_BYTES + 1}\r\n\r\n"
    )
    status, body = mesh.raw(head.encode())
    assert status == 413
    assert json.loads(body)["details"][0]["reason"] == "BODY_TOO_LARGE"


def test_who_may_not(mesh: Gateway, project: str) -> None:
    target = f"{IMPORT}?project={project}"
    unknown = mesh.client.post(target, content=sarif("a.js"))
    assert_refused(unknown, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    elsewhere = target.replace("acme", "beta")
    other = mesh.call("POST", elsewhere, content=sarif("a.js"))
    assert_refused(other, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
