"""The main job, shown: an account entered, scanned, held against its plan; a person kept."""

from importlib.resources import files

import grpc
from rich.table import Table
from rich.text import Text

from cli.compliance import Stub as ComplianceStub
from cli.compliance import list_verdicts
from cli.embedded.errors import StoryFailed
from cli.embedded.folder import TENANT
from cli.embedded.mesh import EmbeddedMesh
from cli.embedded.platform import REGION
from cli.embedded.story_commands import SSP_ID, TEAM_ID, show_commands
from cli.embedded.story_people import keep_person
from cli.embedded.story_security import file_claims, import_report, set_gate
from cli.embedded.story_tenancy import enter_accounts, scan
from cli.output import enum_word, talk, visible
from cli.sample.account import populate
from secmesh.inventory.v1 import assessment_pb2, assessment_requests_pb2, ssp_requests_pb2
from secmesh.security.v1 import record_pb2, record_service_pb2_grpc, record_write_pb2, team_pb2
from secmesh_client import CallRefused, connect

PARENT = f"tenants/{TENANT}"
CONTRADICTIONS_SHOWN = 3
EVIDENCE_SHOWN = 3


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
        account = enter_accounts(channel, mesh.aws_endpoint)
        _import_plan(channel)
        scanned = scan(channel, account, SSP_ID)
        assessment = _assessment(channel, scanned.assessment)
        _show_verdicts(assessment)
        _show_contradictions(ComplianceStub(channel), assessment)
        file_claims(channel, assessment)
        set_gate(channel)
        import_report(channel, mesh.home)
        _keep_team(channel)
        person = keep_person(channel, mesh)
    show_commands(mesh, assessment, person, account)


def _import_plan(channel: grpc.Channel) -> None:
    document = (files("cli.sample") / "ssp.json").read_bytes()
    ssp = ComplianceStub(channel).ImportSsp(
        ssp_requests_pb2.ImportSspRequest(parent=PARENT, ssp_id=SSP_ID, document=document)
    )
    talk.print(
        f"\nImported the plan {ssp.title!r}: {ssp.claims} claims on {ssp.controls} controls."
    )


def _assessment(channel: grpc.Channel, name: str) -> assessment_pb2.Assessment:
    request = assessment_requests_pb2.GetAssessmentRequest(name=name)
    return ComplianceStub(channel).GetAssessment(request)


def _show_verdicts(assessment: assessment_pb2.Assessment) -> None:
    table = Table("verdict", "claims", "controls", title="What the evidence says of the plan")
    controls = {count.verdict: count.count for count in assessment.control_counts}
    claims = {count.verdict: count.count for count in assessment.claim_counts}
    for number in sorted(controls.keys() | claims.keys()):
        word = enum_word(assessment_pb2.Verdict.DESCRIPTOR, number)
        table.add_row(word, str(claims.get(number, 0)), str(controls.get(number, 0)))
    table.add_section()
    table.add_row("all", str(assessment.claims), str(assessment.controls))
    talk.print()
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
