"""The main job, shown: an account collected, a plan checked, wrong claims filed, a person kept."""

import shlex
from importlib.resources import files

import grpc
from rich.table import Table
from rich.text import Text

from cli.compliance import Stub as ComplianceStub
from cli.compliance import list_verdicts, run_evaluation
from cli.embedded.mesh import ACCOUNT, REGION, TENANT, EmbeddedMesh
from cli.embedded.story_people import PURPOSE, keep_person
from cli.embedded.story_security import PROJECT, REPORT, file_claims, import_report, set_gate
from cli.inventory import follow
from cli.output import enum_word, talk, visible
from cli.sample.account import populate
from secmesh.inventory.v1 import (
    assessment_pb2,
    compliance_service_pb2,
    sync_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.security.v1 import record_pb2, record_service_pb2_grpc, record_write_pb2, team_pb2
from secmesh_client import CallRefused, connect

PARENT = f"tenants/{TENANT}"
SSP_ID = "sample"
TEAM_ID = "cloud"
CONTRADICTIONS_SHOWN = 3
EVIDENCE_SHOWN = 3


class StoryFailed(Exception):
    """A step of the main job was refused; the message says which and why."""


def tell(mesh: EmbeddedMesh) -> None:
    """Populate the embedded account, collect it, check the sample plan, show the verdicts.

    Raises StoryFailed.
    """
    try:
        _tell(mesh)
    except CallRefused as refused:
        raise StoryFailed(f"{refused}; logs: {mesh.home / 'log'}") from refused


def _tell(mesh: EmbeddedMesh) -> None:
    talk.rule("secmesh")
    talk.print("A sample AWS account, with good and bad resources of every collected kind ...")
    populate(mesh.aws_endpoint, REGION)
    token = mesh.token_file.read_text()
    with connect(mesh.gateway, token=token) as channel:
        _collect(channel)
        assessment = _check(channel)
        _show_verdicts(assessment)
        _show_contradictions(ComplianceStub(channel), assessment)
        file_claims(channel, assessment)
        set_gate(channel)
        import_report(channel, mesh.home)
        _keep_team(channel)
        person = keep_person(channel, mesh)
    _show_commands(mesh, assessment, person)


def _collect(channel: grpc.Channel) -> None:
    stub = sync_service_pb2_grpc.SyncServiceStub(channel)
    wanted = sync_pb2.Sync(cloud_account_id=ACCOUNT, regions=[REGION])
    request = sync_service_pb2.StartSyncRequest(parent=PARENT, sync=wanted)
    run = follow(stub, stub.StartSync(request))
    if run.state == sync_pb2.Sync.STATE_FAILED:
        raise StoryFailed(f"the sample account could not be collected: {run.error.message}")
    counters = run.progress
    talk.print(
        f"Collected account {ACCOUNT}: {counters.resources} resources in {counters.calls} calls, "
        f"{counters.rows_written} rows written, {counters.rows_unchanged} unchanged."
    )


def _check(channel: grpc.Channel) -> assessment_pb2.Assessment:
    stub = ComplianceStub(channel)
    document = (files("cli.sample") / "ssp.json").read_bytes()
    ssp = stub.ImportSsp(
        compliance_service_pb2.ImportSspRequest(parent=PARENT, ssp_id=SSP_ID, document=document)
    )
    talk.print(f"Imported the plan {ssp.title!r}: {ssp.claims} claims on {ssp.controls} controls.")
    return run_evaluation(stub, compliance_service_pb2.EvaluateRequest(ssp=ssp.name))


def _show_verdicts(assessment: assessment_pb2.Assessment) -> None:
    table = Table("verdict", "claims", "controls", title="What the evidence says of the plan")
    controls = {count.verdict: count.count for count in assessment.control_counts}
    claims = {count.verdict: count.count for count in assessment.claim_counts}
    for number in sorted(controls.keys() | claims.keys()):
        word = enum_word(assessment_pb2.Verdict.DESCRIPTOR, number)
        table.add_row(word, str(claims.get(number, 0)), str(controls.get(number, 0)))
    table.add_section()
    table.add_row("all", str(assessment.claims), str(assessment.controls))
    talk.print(table)


def _show_contradictions(stub: ComplianceStub, assessment: assessment_pb2.Assessment) -> None:
    talk.print("The first contradictions, with their evidence:", style="bold")
    contradicted = list_verdicts(
        stub, assessment.name, "verdict == VERDICT_CONTRADICTED", CONTRADICTIONS_SHOWN
    )
    for verdict in contradicted:
        title = f"{verdict.control_id}  {verdict.component_title}"
        talk.print(Text(visible(f"\n{title}"), style="bold red"))
        talk.print(Text(visible(f"  {verdict.reason}")), soft_wrap=True)
        for result in verdict.check_results:
            for evidence in list(result.evidence)[:EVIDENCE_SHOWN] if result.failed else ():
                values = ", ".join(f"{key}={value}" for key, value in evidence.values.items())
                line = f"  {result.check_id}: {evidence.subject}  {values}"
                talk.print(Text(visible(line)), soft_wrap=True)


def _keep_team(channel: grpc.Channel) -> None:
    """Have the security service keep a record, the same one at every start."""
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    body = team_pb2.Team(name="Cloud security", team_type=team_pb2.TEAM_TYPE_SECURITY)
    wanted = record_pb2.Record(name=f"{PARENT}/teams/{TEAM_ID}", team=body)
    request = record_write_pb2.UpdateRecordRequest(record=wanted, allow_missing=True)
    kept = stub.UpdateRecord(request)
    talk.print(f"\nThe security service keeps {kept.name} {kept.team.name!r}.")


def _show_commands(mesh: EmbeddedMesh, assessment: assessment_pb2.Assessment, person: str) -> None:
    """Print commands that work as they stand, in the folder where the mesh was started."""
    url = f"http://{mesh.gateway}"
    token = f'"Authorization: Bearer $(cat {shlex.quote(str(mesh.token_file))})"'
    filter_ = "verdict == VERDICT_CONTRADICTED"
    lines = [
        f"curl -s -H {token} '{url}/inventory/v1/{PARENT}/s3_buckets?pageSize=3'",
        f"curl -s -G -H {token} --data-urlencode {shlex.quote(f'filter={filter_}')} "
        f"{url}/inventory/v1/{assessment.name}/verdicts",
        f"buf curl --http2-prior-knowledge --protocol grpc --schema {mesh.home}/image.binpb "
        f'-H {token} -d \'{{"parent":"{PARENT}/iam_users"}}\' '
        f"{url}/secmesh.inventory.v1.RecordService/ListRecords",
        f"grpcurl -plaintext -protoset {mesh.home}/image.binpb -H {token} "
        f'-d \'{{"parent":"{PARENT}/iam_users"}}\' '
        f"{mesh.gateway} secmesh.inventory.v1.RecordService/ListRecords",
        "secmesh inventory ls security_groups --filter 'open_to_world_all'",
        f"secmesh inventory sync --account {ACCOUNT} --region {REGION}",
        f"secmesh compliance evaluate --ssp {SSP_ID} --fail-on contradicted",
        "secmesh compliance report --format md",
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
        f"secmesh crypto get {person} --unmask ssn --purpose {PURPOSE}",
        "secmesh crypto put --field email=bob@example.com --field ssn=-    # asks for the number",
        "secmesh crypto find email=bob@example.com",
        "secmesh crypto stats",
        f"curl -s {url}/openapi.json",
    ]
    talk.print("\nTry (programs of this project are in .venv/bin):", style="bold")
    for line in lines:
        talk.print(Text(f"  {line}"), soft_wrap=True)
