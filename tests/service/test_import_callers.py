"""Who may import, into which project, and several at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from typer.testing import CliRunner

from cli.app import app
from mesh.identity.keys import sign_token
from secmesh.security.v1 import (
    vocabulary_pb2,
)
from secmesh.security.v1.import_service_pb2 import ImportReportRequest, ImportReportResponse
from secmesh_client import CallRefused
from tests.service.callers import LIFETIME
from tests.service.import_world import IMPORTED, UNCHANGED, Imports, counts, issue, sarif
from tests.service.security_world import TENANT
from tests.unit.test_importing_formats import ALERT, zap


def test_the_same_report_at_once_is_imported_once(imports: Imports, project: str) -> None:
    content = sarif(*(issue(f"crowd/{number}") for number in range(40)))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: imports.send(content, project), range(4)))
    outcomes = sorted(each.outcome for each in answers)
    assert outcomes == [IMPORTED, UNCHANGED, UNCHANGED, UNCHANGED]
    assert len({each.scans[0] for each in answers}) == 1
    assert len(imports.issues(answers[0])) == 40


def test_projects_at_once_share_their_rules(imports: Imports, project: str) -> None:
    def send(number: int) -> ImportReportResponse:
        rules = [f"shared/{each}" for each in range(30)]
        ordered = rules if number % 2 else rules[::-1]
        return imports.send(sarif(*map(issue, ordered)), f"{project} {number}")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(4)))
    assert [counts(each, "sast_issues") for each in answers] == [{"created": 30}] * 4
    keys = [each.sast_rule.key for each in imports.records("sast_rules")]
    assert len(keys) == len(set(keys))


def test_tenants_see_their_own(imports: Imports, project: str) -> None:
    content = sarif(issue("js/own"))
    imports.send(content, project)
    assert imports.records("sast_issues", tenant="gamma") == []
    answer = imports.send(content, project, tenant="gamma")
    assert (answer.outcome, counts(answer, "sast_issues")) == (IMPORTED, {"created": 1})
    assert all(
        each.name.startswith("tenants/gamma/")
        for each in imports.records("sast_issues", tenant="gamma")
    )


def test_a_project_can_be_named_by_its_record(imports: Imports, project: str) -> None:
    imports.send(sarif(issue()), project)
    (record,) = imports.records("sast_projects", f'key == "{project}"')
    answer = imports.send(sarif(issue(path="d.js")), record.name)
    assert counts(answer, "sast_issues") == {"created": 1, "closed": 1}
    named = imports.send(zap(ALERT), record.name)
    (made,) = imports.records("dast_projects", f'name == "{project}"')
    assert counts(named, "dast_projects") == {"created": 1}
    assert made.dast_project.target_url == "https://x.test"


@pytest.mark.parametrize(
    ("content", "project", "said", "reason"),
    [
        (b"hello", "p", {}, "REPORT_FORMAT_UNKNOWN"),
        (b"", "p", {}, "REPORT_FORMAT_UNKNOWN"),
        (b"{}", "p", {"format": vocabulary_pb2.IMPORT_FORMAT_MANUAL}, "REPORT_FORMAT_UNSUPPORTED"),
        (
            b"{}",
            "p",
            {"format": vocabulary_pb2.IMPORT_FORMAT_SPDX_JSON},
            "REPORT_FORMAT_UNSUPPORTED",
        ),
        (sarif(issue()), "", {}, "FIELD_INVALID"),
        (sarif(issue()), f"{TENANT}/users/x", {}, "FIELD_INVALID"),
        (sarif(issue()), "tenants/beta/projects/x", {}, "FIELD_INVALID"),
        (sarif(issue()), f"{TENANT}/projects/none", {}, "RESOURCE_NOT_FOUND"),
    ],
)
def test_what_cannot_be_imported_is_refused(
    imports: Imports, content: object, project: str, said: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CallRefused) as refused:
        imports.send(content, project, **said)
    assert refused.value.reason == reason


def test_importing_is_a_permission_of_its_own(imports: Imports) -> None:
    request = ImportReportRequest(parent=TENANT, project="p", file=HttpBody(data=b"{}"))
    with pytest.raises(CallRefused) as refused:
        imports.stub(role="viewer").ImportReport(iter([request]))
    assert refused.value.code == grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(CallRefused) as foreign:
        imports.stub("beta").ImportReport(iter([request]))
    # As if there were no such tenant.
    assert foreign.value.code == grpc.StatusCode.NOT_FOUND


def test_the_command_imports_a_file(imports: Imports, project: str, tmp_path: Path) -> None:
    file = tmp_path / "report.sarif"
    file.write_text(json.dumps(sarif(issue(), issue(level="awful"))))
    token = sign_token(
        imports.world.keys, subject="ann", tenant="acme", roles=["operator"], lifetime=LIFETIME
    )
    base = ["--endpoint", imports.world.address, "--token", token, "-o", "json"]
    command = [*base, "security", "import", str(file), "--project", project]
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    real = CliRunner().invoke(app, command)
    assert "/runs/0/results/1/level" in real.stderr
    told = [json.loads(each.stdout) for each in (dry, real)]
    assert told[0]["counts"] == told[1]["counts"]
    assert told[1]["outcome"] == "OUTCOME_IMPORTED"
    again = CliRunner().invoke(app, [*command, "--format", "sarif"])
    assert "imported before" in again.stderr
    wrong = CliRunner().invoke(app, [*command, "--format", "word"])
    assert wrong.exit_code == 2
