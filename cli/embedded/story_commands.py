"""Commands to try once the story is told; each works as it stands."""

import shlex

from rich.text import Text

from cli.embedded.folder import TENANT
from cli.embedded.mesh import EmbeddedMesh
from cli.embedded.platform import ACCOUNT, REGION
from cli.embedded.story_people import PURPOSE
from cli.embedded.story_security import PROJECT, REPORT
from cli.embedded.story_tenancy import NIGHTLY, ZONE
from cli.output import talk
from secmesh.inventory.v1 import assessment_pb2
from secmesh.tenancy.v1.account_pb2 import Account

PARENT = f"tenants/{TENANT}"
SSP_ID = "sample"
TEAM_ID = "cloud"


def show_commands(
    mesh: EmbeddedMesh, assessment: assessment_pb2.Assessment, person: str, account: Account
) -> None:
    """Print commands that work as they stand, in the folder where the mesh was started."""
    url = f"http://{mesh.gateway}"
    token = f'"Authorization: Bearer $(cat {shlex.quote(str(mesh.token_file))})"'
    lines = [
        *_of_tenancy(mesh, url, token, account),
        *_of_inventory(mesh, url, token, assessment),
        *_of_security(mesh, url, token),
        f"secmesh crypto get {person} --unmask ssn --purpose {PURPOSE}",
        "secmesh crypto put --field email=bob@example.com --field ssn=-    # asks for the number",
        "secmesh crypto find email=bob@example.com",
        "secmesh crypto stats",
        f"curl -s {url}/openapi.json",
    ]
    talk.print("\nTry (programs of this project are in .venv/bin):", style="bold")
    for line in lines:
        talk.print(Text(f"  {line}"), soft_wrap=True)


def _of_tenancy(mesh: EmbeddedMesh, url: str, token: str, account: Account) -> list[str]:
    nightly = f"schedules/{NIGHTLY}"
    return [
        f"secmesh accounts onboard {account.name} --format terraform",
        f"secmesh accounts verify {account.name}",
        f"secmesh schedules preview '30 2 * * *' --time-zone {ZONE} --after 2027-03-26 --count 4",
        f"secmesh schedules trigger {nightly}",
        f"secmesh executions list {nightly}",
        "secmesh executions results",
        f"curl -s -H {token} {url}/tenancy/v1/{PARENT}/{nightly}",
        f"curl -s -H {token} -d '{{}}' {url}/tenancy/v1/{PARENT}/{nightly}:trigger",
        f"buf curl --http2-prior-knowledge --protocol grpc --schema {mesh.home}/image.binpb "
        f'-H {token} -d \'{{"parent":"{PARENT}"}}\' '
        f"{url}/secmesh.tenancy.v1.ScanResultService/ListScanResults",
    ]


def _of_inventory(
    mesh: EmbeddedMesh, url: str, token: str, assessment: assessment_pb2.Assessment
) -> list[str]:
    filter_ = "verdict == VERDICT_CONTRADICTED"
    return [
        f"curl -s -H {token} '{url}/inventory/v1/{PARENT}/s3_buckets?pageSize=3'",
        f"curl -s -G -H {token} --data-urlencode {shlex.quote(f'filter={filter_}')} "
        f"{url}/inventory/v1/{assessment.name}/verdicts",
        f"grpcurl -plaintext -protoset {mesh.home}/image.binpb -H {token} "
        f'-d \'{{"parent":"{PARENT}/iam_users"}}\' '
        f"{mesh.gateway} secmesh.inventory.v1.RecordService/ListRecords",
        "secmesh inventory ls security_groups --filter 'open_to_world_all'",
        f"secmesh inventory sync --account {ACCOUNT} --region {REGION}",
        f"secmesh compliance evaluate --ssp {SSP_ID} --fail-on contradicted",
        "secmesh compliance report --format md",
    ]


def _of_security(mesh: EmbeddedMesh, url: str, token: str) -> list[str]:
    return [
        f"curl -s -H {token} '{url}/security/v1/{PARENT}/teams/{TEAM_ID}'",
        f"curl -s -H {token} {url}/security/v1/{PARENT}/teams "
        '-d \'{"team":{"name":"Network","teamType":"TEAM_TYPE_SECURITY"}}\'',
        "secmesh security ls compliance_assessments",
        "secmesh security ls misconfigurations "
        "--filter 'severity >= SEVERITY_HIGH && check_status == CHECK_STATUS_FAIL'",
        f"curl -s -H {token} --data-binary @{shlex.quote(str(mesh.home / REPORT))} "
        f"'{url}/security/v1/{PARENT}/reports:import?project={PROJECT}&branch=feature'",
        "secmesh security ls sast_issues --order-by 'severity desc'",
        f"secmesh security gate {PROJECT}; echo $?",
        "secmesh security watch misconfigurations --existing",
        "secmesh security kinds",
        "secmesh security ls teams --filter 'team_type == TEAM_TYPE_SECURITY'",
    ]
