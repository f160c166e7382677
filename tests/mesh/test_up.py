"""`secmesh up` as a user meets it: the story, READY, a clean end, and clear words otherwise."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest

from cli.embedded.platform import REGION, session_of
from mesh.embedded.postgres import PostgresServer

SECMESH = Path(sys.executable).parent / "secmesh"
START_SECONDS = 90
STOP_SECONDS = 40
RETRY_SECONDS = 20
SECURITY = "TEAM_TYPE_SECURITY"
SSN = "078-05-1120"
pytestmark = pytest.mark.timeout(600)


@dataclass
class Up:
    """A running `secmesh up`."""

    process: subprocess.Popen[str]
    home: Path
    ready: dict[str, Any]
    said: str
    """What it wrote on standard error up to READY."""

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SECMESH, *arguments],
            env={**os.environ, "SECMESH_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )

    def get(self, path: str) -> httpx.Response:
        """Ask, again for some seconds while a machine with other work answers too late."""
        return self.call_rest("GET", path)

    def call_rest(self, verb: str, path: str, body: Any = None) -> httpx.Response:
        token = Path(self.ready["token_file"]).read_text()
        headers = {"authorization": f"Bearer {token}"}
        url = self.ready["gateway"] + path
        until = time.monotonic() + RETRY_SECONDS
        while True:
            answer = httpx.request(
                verb, url, headers=headers, json=body, trust_env=False, timeout=30
            )
            if answer.status_code not in (503, 504) or time.monotonic() > until:
                return answer
            time.sleep(0.2)

    def children(self) -> dict[str, int]:
        """Process ids of the children by what they run."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
                command = (stat.parent / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if parent == self.process.pid:
                found[command] = int(stat.parent.name)
        return found


def environment(home: Path, **settings: str) -> dict[str, str]:
    ports = {f"SECMESH_{name}_PORT": "0" for name in ("GATEWAY", "INVENTORY", "TENANCY")}
    return {**os.environ, "SECMESH_HOME": str(home), **ports, **settings}


@contextmanager
def running(home: Path, **settings: str) -> Iterator[Up]:
    log = home.parent / "said.txt"
    with log.open("w") as said:
        process = subprocess.Popen(
            [SECMESH, "up"],
            env=environment(home, **settings),
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("READY "), f"{line!r}, {log.read_text()}"
        yield Up(process, home, json.loads(line.removeprefix("READY ")), log.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of its own: at its start, any pytest closes its folders to PostgreSQL's user."""
    with tempfile.TemporaryDirectory(prefix="secmesh-up-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def crashed() -> Iterator[Path]:
    """A home whose meshes end badly; the next one starts over what the last one left."""
    with tempfile.TemporaryDirectory(prefix="secmesh-up-") as folder:
        yield Path(folder) / "home"


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def claims_are_filed(up: Up) -> None:
    """What the plan claims wrongly is in the security service, as the story says."""
    kinds = {
        "compliance_assessments": "complianceAssessment",
        "misconfigurations": "misconfiguration",
    }
    found = {}
    for collection, field in kinds.items():
        # The executor filed them; when the story files again, nothing changes.
        (told,) = re.findall(rf"{collection}: (\d+) unchanged\n", up.said)
        listed = up.get(f"/security/v1/tenants/acme/{collection}?pageSize=1000").json()
        found[collection] = [each[field] for each in listed["records"]]
        assert len(found[collection]) == int(told)
    assert {each["status"] for each in found["misconfigurations"]} == {"FINDING_STATUS_OPEN"}
    newest = up.get("/inventory/v1/tenants/acme/assessments").json()["assessments"][0]
    (count,) = (
        each["count"] for each in newest["claimCounts"] if each["verdict"] == "VERDICT_CONTRADICTED"
    )
    assert len(found["compliance_assessments"]) == count


def the_printed_upload_works(up: Up) -> None:
    """The line is run by a shell as it stands, twice; the second time changes nothing."""
    (line,) = (each for each in up.said.splitlines() if "reports:import" in each)
    outcomes = []
    for _ in range(2):
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, check=True, timeout=60
        )
        outcomes.append(json.loads(done.stdout)["outcome"])
    assert outcomes == ["OUTCOME_IMPORTED", "OUTCOME_UNCHANGED"]


def told_after(up: Up, heading: str) -> dict[str, str]:
    """What the story says under a heading, by the word before it; the last of each."""
    lines = up.said.partition(heading)[2].strip().partition("\n\n")[0].splitlines()
    return dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines)


def the_account_was_scanned(up: Up) -> None:
    """Entered, scheduled, claimed, run and published, as the story says and the API has it."""
    told = told_after(up, "A tenant and its accounts:")
    assert told["tenant"] == "tenants/acme 'Acme Corporation'"
    assert "external_id_wrong_refused passed, external_id_missing_refused passed" in up.said
    assert told["verified"].startswith("210987654321 is active: ")
    told = told_after(up, "Its scans:")
    assert told["schedule"].startswith("tenants/acme/schedules/nightly '30 2 * * *' in Europe")
    (execution,) = up.get("/tenancy/v1/tenants/acme/schedules/once/executions").json()["executions"]
    assert (execution["status"], execution["trigger"]) == (
        "EXECUTION_STATUS_SUCCEEDED",
        "EXECUTION_TRIGGER_SCHEDULE",
    )
    result = up.get(f"/tenancy/v1/{execution['scanResult']}").json()
    assert told["collected"] == f"{result['recordCount']} resources in {result['unitCount']} units"
    claims, contradicted = result["claimCount"], result["contradictedCount"]
    assert told["evaluated"] == f"{claims} claims, {contradicted} contradicted"
    assert int(contradicted) > 0
    assert int(result["filedCount"]) > 0
    sync = up.get(f"/inventory/v1/{result['sync']}").json()
    assert (sync["cloudAccountId"], sync["state"]) == ("123456789012", "STATE_SUCCEEDED")


def the_printed_commands_of_tenancy_work(up: Up) -> None:
    """The lines are run as they stand, but for where the program is."""
    wanted = ("secmesh schedules ", "secmesh executions ", "secmesh accounts ", "/tenancy/v1/")
    lines = [
        line.strip()
        for line in up.said.partition("Try (programs")[2].splitlines()
        if any(word in line for word in wanted)
    ]
    assert len(lines) >= 8
    path = {**os.environ, "PATH": f"{SECMESH.parent}:{os.environ['PATH']}"}
    path["SECMESH_HOME"] = str(up.home)
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line], env=path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        assert done.stdout, line
        assert '"code"' not in done.stdout, line


def people_are_kept(up: Up) -> None:
    """What the story says of a person holds in the database, and the printed command reads it."""
    told = told_after(up, "in three tiers:")
    assert SSN not in told["in the database"]
    assert r"ssn_encrypted=\x534d" in told["in the database"]
    assert told["answered"].endswith("ssn=•••")
    assert told["identity_check"].endswith(f"ssn={SSN}")
    assert re.fullmatch(r"3 rows planned, 3 rotated, 3 rolled back", told["users' keys"])
    assert "2 values deleted, 1 key destroyed, no row left" in told["another person"]
    assert told["audit"].startswith("WHOLE; ")
    (line,) = (each for each in up.said.splitlines() if "crypto get" in each)
    shown = up.call("-o", "json", *line.split()[1:])
    assert json.loads(shown.stdout)["ssn"] == SSN, shown.stderr


def tenancy_of(up: Up, token: str, verb: str, path: str, body: Any = None) -> Any:
    """Call the tenancy service over REST as whoever a token names; give what it answers."""
    url = f"{up.ready['gateway']}/tenancy/v1/{path}"
    headers = {"authorization": f"Bearer {token}"}
    answer = httpx.request(verb, url, headers=headers, json=body, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def aws_endpoint(up: Up) -> str:
    """Give where the embedded AWS is, as its child said."""
    (tenancy,) = (pid for name, pid in up.children().items() if "services.tenancy serve" in name)
    variables = Path(f"/proc/{tenancy}/environ").read_text().split("\0")
    (endpoint,) = (each for each in variables if each.startswith("AWS_ENDPOINT_URL="))
    return endpoint.partition("=")[2]


def a_new_tenant_is_served_like_the_first(up: Up) -> None:
    """Made by the command, entered, scanned, and gone: by tokens that act for it alone."""
    tenant, number = "newcomer", "555566667777"
    made = up.call("tenants", "create", tenant, "New Comer")
    assert made.returncode == 0, made.stderr
    signed = up.call("token", "--tenant", tenant, "--role", "admin", "--lifetime", "30m")
    token = signed.stdout.strip()
    parent = f"tenants/{tenant}"
    cloud = {"providerType": "PROVIDER_TYPE_AWS", "providerName": "AWS"}
    tenancy_of(up, token, "POST", f"{parent}/providers?providerId=aws", cloud)
    account = {
        "provider": f"{parent}/providers/aws",
        "cloudAccountId": number,
        "accountName": "Only",
        "credentialType": "CREDENTIAL_TYPE_AWS_IAM_ROLE",
        "roleArn": f"arn:aws:iam::{number}:role/secmesh-scan",
    }
    name = tenancy_of(up, token, "POST", f"{parent}/accounts", account)["name"]
    asked = f"{name}/onboarding?format=ONBOARDING_FORMAT_CLOUDFORMATION"
    text = tenancy_of(up, token, "GET", asked)["text"]
    owner = session_of(aws_endpoint(up), f"arn:aws:iam::{number}:role/owner")
    stacks = boto3.client(
        "cloudformation",
        region_name=REGION,
        endpoint_url=aws_endpoint(up),
        aws_access_key_id=owner["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=owner["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=owner["AWS_SESSION_TOKEN"],
    )
    stacks.create_stack(
        StackName="secmesh", TemplateBody=text, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    stacks.close()
    assert tenancy_of(up, token, "POST", f"{name}:verify", {})["entered"]
    schedule = {
        "accountId": name.rpartition("/")[2],
        "scheduleName": "By hand",
        "expression": "0 3 * * *",
        "regions": [REGION],
    }
    tenancy_of(up, token, "POST", f"{parent}/schedules?scheduleId=nightly", schedule)
    run = tenancy_of(up, token, "POST", f"{parent}/schedules/nightly:trigger", {})
    deadline = time.monotonic() + 300
    while run["status"] in ("EXECUTION_STATUS_QUEUED", "EXECUTION_STATUS_RUNNING"):
        assert time.monotonic() < deadline, run
        time.sleep(0.5)
        run = tenancy_of(up, token, "GET", run["name"])
    assert run["status"] == "EXECUTION_STATUS_SUCCEEDED", run
    result = tenancy_of(up, token, "GET", run["scanResult"])
    assert int(result["recordCount"]) > 0
    # Who read the account has shown a credential of its own, and no token of the operator.
    read = tenancy_of(up, token, "GET", f"{parent}/credentialAccesses")["accesses"]
    vended = {each["subject"] for each in read if each["action"] == "CREDENTIAL_ACTION_VEND"}
    assert vended == {"service:platform.inventory"}


def an_earlier_release_made(data: Path) -> None:
    """Have the records as a release left them that had a kind less."""
    server = PostgresServer(data)
    with server, psycopg.connect(server.url("security"), autocommit=True) as connection:
        connection.execute("DROP TABLE ddos_protection")


@pytest.mark.timeout(900)
def test_the_story_the_three_surfaces_a_second_run_and_one_too_many(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as up:
        assert "contradicted" in up.said
        # As root, PostgreSQL's own user passes through the home, and reads nothing there.
        passed = 0o011 if os.geteuid() == 0 else 0
        assert home.stat().st_mode & 0o077 == passed
        for path in home.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, f"{path} is open to others"

        the_account_was_scanned(up)
        claims_are_filed(up)
        the_printed_commands_of_tenancy_work(up)
        the_printed_upload_works(up)
        people_are_kept(up)
        a_new_tenant_is_served_like_the_first(up)

        team = up.get("/security/v1/tenants/acme/teams/cloud")
        assert team.json()["team"]["name"] == "Cloud security"
        assert "tenants/acme/teams/cloud 'Cloud security'" in up.said

        # One record is new; the other's name is taken by the story's team.
        teams = home.parent / "teams.ndjson"
        lines = [
            {"name": f"tenants/acme/teams/{each}", "team": {"name": name, "teamType": SECURITY}}
            for each, name in (("network", "Network"), ("twin", "Cloud security"))
        ]
        teams.write_text("\n".join(map(json.dumps, lines)))
        sent = up.call("security", "ingest", str(teams))
        assert sent.returncode == 1, sent.stderr
        assert sent.stdout.startswith("line 2: "), sent.stdout
        listing = up.call("-o", "json", "security", "ls", "teams", "--order-by", "name")
        teams_kept = [record["team"]["name"] for record in json.loads(listing.stdout)]
        assert teams_kept == ["Cloud security", "Network"]

        # Over REST a stream is an array of its messages.
        items = [
            {"sequence": "1", "record": {"team": {"name": "Phones", "teamType": SECURITY}}},
            {"sequence": "2", "record": {"team": {"name": "Of no type"}}},
        ]
        ingest = "/security/v1/tenants/acme:ingest"
        streamed = up.call_rest("POST", ingest, [{"items": items}])
        told, end = map(json.loads, streamed.text.splitlines())
        assert [each["outcome"] for each in told["results"]] == ["OUTCOME_NEW", "OUTCOME_REJECTED"]
        assert end == {"streamId": told["streamId"], "ended": {}}

        rest = up.get("/inventory/v1/tenants/acme/s3_buckets")
        assert rest.status_code == 200
        assert rest.json()["records"]

        listed = up.call("-o", "json", "inventory", "ls", "s3_buckets")
        assert listed.returncode == 0, listed.stderr
        names = {record["name"] for record in json.loads(listed.stdout)}
        assert names == {record["name"] for record in rest.json()["records"]}

        checked = up.call("compliance", "evaluate", "--ssp", "sample", "--fail-on", "contradicted")
        assert checked.returncode == 4, checked.stderr
        judged = up.call("security", "gate", "storefront")
        assert judged.returncode == 4, judged.stderr
        assert "2 of 2 conditions are not met" in judged.stderr

        children = up.children()
    assert up.process.returncode == 0
    assert len(children) >= 10
    assert all(gone(pid) for pid in children.values()), "Ctrl-C stops every child"
    assert not (home / "ready.json").exists()

    an_earlier_release_made(home / "postgres")
    with running(home, SECMESH_STORY="0") as again:
        assert again.get("/security/v1/tenants/acme/ddos_protection").json() == {}
        admin = again.ready["admin"]["inventory"]
        assert httpx.get(f"http://{admin['admin']}/readyz", trust_env=False).status_code == 200
        assert "contradicted" not in again.said
        kept = again.get("/inventory/v1/tenants/acme/s3_buckets")
        assert kept.status_code == 200, kept.text
        assert {record["name"] for record in kept.json()["records"]} == names
        assert again.get("/security/v1/tenants/acme/teams/cloud").json() == team.json()
        filed = again.call("-o", "json", "compliance", "file", "--dry-run")
        assert filed.returncode == 0, filed.stderr
        counts = {each.pop("collection"): each for each in json.loads(filed.stdout)["counts"]}
        assert {*counts["misconfigurations"], *counts["compliance_assessments"]} == {"unchanged"}
        assert "another `secmesh up` uses" in refused(home)


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("inventory", "services.inventory"),
        ("postgres", "bin/postgres"),
        ("scheduler", "services.tenancy scheduler"),
    ],
)
def test_a_child_that_dies_ends_the_mesh_and_is_named(
    crashed: Path, name: str, program: str
) -> None:
    with running(crashed, SECMESH_STORY="0") as up:
        children = up.children()
        (dying,) = (pid for command, pid in children.items() if program in command)
        os.kill(dying, signal.SIGKILL)
        assert up.process.wait(STOP_SECONDS) == 1
        said = (crashed.parent / "said.txt").read_text()
        assert f"{name} ended with code -9" in said.replace("\n", " ")
    assert all(gone(pid) for pid in children.values())


def test_a_killed_mesh_leaves_no_child(crashed: Path) -> None:
    with running(crashed, SECMESH_STORY="0") as up:
        children = up.children()
        assert any("bin/postgres" in command for command in children)
        up.process.kill()
        up.process.wait()
        deadline = time.monotonic() + STOP_SECONDS
        while not all(gone(pid) for pid in children.values()):
            assert time.monotonic() < deadline, "the reaper left a child"
            time.sleep(0.1)


def refused(home: Path, **settings: str) -> str:
    """Run `up` where it cannot start; give what it says in one line."""
    done = subprocess.run(
        [SECMESH, "up"],
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(tmp_path / "home", SECMESH_GATEWAY_PORT=port)
        assert f"port {port} is taken" in said
        assert "SECMESH_GATEWAY_PORT" in said
        said = refused(tmp_path / "home", SECMESH_GATEWAY_PORT="0", SECMESH_TENANCY_PORT=port)
    assert f"port {port} is taken" in said
    assert "SECMESH_TENANCY_PORT" in said


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "signing_key.pem").write_text("no key")
    failed = subprocess.run(
        [SECMESH, "up"], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "holds no usable signing key" in failed.stderr.replace("\n", " ")
    assert "Traceback" not in failed.stderr
