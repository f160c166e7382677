"""What holds once `secmesh up` has told its story."""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import boto3
import httpx

from cli.embedded.platform import REGION, session_of
from tests.mesh.up_process import SECMESH, Up

SSN = "078-05-1120"


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
