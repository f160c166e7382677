"""A verdict names the place of its claim in the plan's document, and so do the reports."""

import csv
import io

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2, report_pb2, ssp_requests_pb2
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from tests.service.compliance_served import Served, served
from tests.service.compliance_world import SSP

__all__ = ["served"]

HEAD = "Control,Implementation Status,Statement"
OURS = 'SC-28(1),Implemented,"All buckets are encrypted."'


async def assess(served: Served, *lines: str) -> tuple[pb.Assessment, pb.ClaimVerdict]:
    """Judge a plan of these lines; give the verdict on SC-28(1)."""
    written = "\n".join((HEAD, *lines)).encode()
    await served.import_ssp(written, file_name="plan.csv")
    made = await served.assessment()
    return made, await judged(served, made)


async def judged(served: Served, made: pb.Assessment) -> pb.ClaimVerdict:
    request = assessment_requests_pb2.ListVerdictsRequest(
        parent=made.name, filter='control_id == "sc-28.1"'
    )
    (found,) = (await served.stub.ListVerdicts(request)).verdicts
    return found


async def exported(
    served: Served, made: pb.Assessment, form: report_pb2.ReportFormat.ValueType
) -> str:
    request = report_pb2.ExportAssessmentRequest(name=made.name, format=form)
    return str((await served.stub.ExportAssessment(request)).data, "utf-8")


async def test_a_verdict_and_the_reports_name_the_place_of_the_claim(served: Served) -> None:
    await served.world.sync(["s3_buckets"])
    await served.world.add("s3_buckets", S3Bucket(encryption="NONE", https_only=True))
    made, verdict = await assess(served, OURS)
    assert verdict.verdict == pb.VERDICT_CONTRADICTED
    listing = ssp_requests_pb2.ListPassagesRequest(parent=SSP, filter="outcome == OUTCOME_CLAIM")
    (passage,) = (await served.stub.ListPassages(listing)).passages
    assert passage.claim == verdict.claim
    assert passage.source == verdict.source != ""

    markdown = await exported(served, made, report_pb2.REPORT_FORMAT_MARKDOWN)
    assert f"- In the plan: {verdict.source}" in markdown
    page = await exported(served, made, report_pb2.REPORT_FORMAT_HTML)
    assert f"in the plan: {verdict.source}" in page
    table = await exported(served, made, report_pb2.REPORT_FORMAT_CSV)
    rows = {each["control"]: each for each in csv.DictReader(io.StringIO(table))}
    assert rows["SC-28(1)"]["source"] == verdict.source
    # What the plan is silent about stands nowhere in it.
    assert not any(each["source"] for name, each in rows.items() if name != "SC-28(1)")


async def test_a_verdict_keeps_the_place_that_its_claim_had(served: Served) -> None:
    await served.world.sync(["s3_buckets"])
    await served.world.add("s3_buckets", S3Bucket(encryption="NONE", https_only=True))
    made, before = await assess(served, OURS)
    _, after = await assess(served, 'AC-2,Planned,"Later."', OURS)
    assert before.source != after.source
    assert await judged(served, made) == before
