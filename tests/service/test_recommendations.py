"""Recommendations over gRPC: what to mend first in an assessment, page by page."""

import csv
import io

import pytest

from secmesh.inventory.v1 import recommendation_pb2
from secmesh.inventory.v1 import report_pb2 as api
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from secmesh_client import CallRefused
from tests.service.compliance_served import Served, served
from tests.service.compliance_world import ACCOUNT, TENANT, document, requirement

__all__ = ["served"]


async def judged(served: Served) -> str:
    await served.world.sync(["s3_buckets"])
    await served.world.add(
        "s3_buckets",
        S3Bucket(bucket_name="it's $(mine)", encryption="NONE", https_only=False),
        S3Bucket(bucket_name="good", encryption="AES256", https_only=True),
    )
    await served.import_ssp(document(requirement("sc-28.1"), requirement("sc-8")))
    return (await served.assessment()).name


async def listed(
    served: Served, name: str, page_size: int
) -> list[recommendation_pb2.Recommendation]:
    request = recommendation_pb2.ListRecommendationsRequest(parent=name, page_size=page_size)
    found: list[recommendation_pb2.Recommendation] = []
    while True:
        page = await served.stub.ListRecommendations(request)
        assert len(page.recommendations) <= page_size
        found += page.recommendations
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


async def test_failures_come_with_the_commands_that_mend_them(served: Served) -> None:
    name = await judged(served)
    found = {each.cause: each for each in await listed(served, name, 100)}
    encryption = found["s3.encryption"]
    assert encryption.recommendation_id == f"s3.encryption-{ACCOUNT}"
    assert list(encryption.contradicted_control_ids) == ["sc-28.1"]
    [mending] = encryption.mendings
    assert mending.values["encryption"] == '"NONE"'
    [command] = mending.commands
    assert command.startswith("aws s3api put-bucket-encryption --bucket 'it'\"'\"'s $(mine)' ")
    assert 'bucket = "it\'s $(mine)"' in mending.terraform


async def test_pages_follow_one_another_whole_and_once(served: Served) -> None:
    name = await judged(served)
    whole = await listed(served, name, 100)
    assert len(whole) > 1
    assert await listed(served, name, 1) == whole
    assert [len(each.contradicted_control_ids) for each in whole] == sorted(
        (len(each.contradicted_control_ids) for each in whole), reverse=True
    )


async def test_markdown_begins_with_what_to_mend(served: Served) -> None:
    name = await judged(served)
    document = await served.stub.ExportAssessment(
        api.ExportAssessmentRequest(name=name, format=api.REPORT_FORMAT_MARKDOWN)
    )
    text = document.data.decode()
    assert "## What to mend first" in text
    assert "         aws s3api put-bucket-encryption " in text


async def test_the_table_names_what_mends_each_claim(served: Served) -> None:
    name = await judged(served)
    document = await served.stub.ExportAssessment(
        api.ExportAssessmentRequest(name=name, format=api.REPORT_FORMAT_CSV)
    )
    rows = csv.DictReader(io.StringIO(document.data.decode(), newline=""))
    stored = next(row for row in rows if row["control"] == "SC-28(1)")
    assert stored["verdict"] == "contradicted"
    assert stored["recommendations"].startswith(f"s3.encryption-{ACCOUNT}: ")
    assert "aws s3api put-bucket-encryption --bucket 'it'\"'\"'s $(mine)' " in stored["to_mend"]


@pytest.mark.parametrize("token", ["junk", "AAAA"])
async def test_a_token_of_another_request_is_refused(served: Served, token: str) -> None:
    name = await judged(served)
    with pytest.raises(CallRefused) as refused:
        await served.stub.ListRecommendations(
            recommendation_pb2.ListRecommendationsRequest(parent=name, page_token=token)
        )
    assert refused.value.reason == "PAGE_TOKEN_INVALID"


async def test_an_assessment_that_is_not_there_is_not_found(served: Served) -> None:
    with pytest.raises(CallRefused) as refused:
        await served.stub.ListRecommendations(
            recommendation_pb2.ListRecommendationsRequest(parent=f"{TENANT}/assessments/none")
        )
    assert refused.value.reason == "RESOURCE_NOT_FOUND"
