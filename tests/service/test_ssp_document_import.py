"""Plans in documents of every format through the server: claims, passages, refusals."""

import pytest
import yaml
from google.api.httpbody_pb2 import HttpBody

from mesh.client import CallRefused
from secmesh.inventory.v1 import ssp_pb2
from secmesh.inventory.v1 import ssp_requests_pb2 as api
from tests.service.compliance_served import Served, served
from tests.service.compliance_world import SSP, TENANT, document, requirement
from tests.unit.ssp_tables import WRITERS, Told

__all__ = ["served"]

PLANNED = ssp_pb2.CLAIM_STATE_PLANNED
TOLD = [
    Told("ac-2", PLANNED, "The accounts are reviewed.", component="IAM"),
    Told("sc-28.1", ssp_pb2.CLAIM_STATE_IMPLEMENTED, "The keys are ours."),
]


async def upload(served: Served, content: bytes, **more: object) -> ssp_pb2.Ssp:
    half = len(content) // 2
    first = api.UploadSspRequest(
        parent=TENANT,
        ssp_id="main",
        file=HttpBody(data=content[:half]),
        **more,  # type: ignore[arg-type]  # fields of the request
    )
    return await served.stub.UploadSsp(
        iter([first, api.UploadSspRequest(file=HttpBody(data=content[half:]))])
    )


async def passages(served: Served, **more: object) -> list[ssp_pb2.Passage]:
    found: list[ssp_pb2.Passage] = []
    request = api.ListPassagesRequest(parent=SSP, page_size=2, **more)  # type: ignore[arg-type]  # fields of the request
    while True:
        page = await served.stub.ListPassages(request)
        found += page.passages
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


@pytest.mark.parametrize("form", WRITERS)
async def test_a_document_becomes_claims_that_name_their_place(served: Served, form: str) -> None:
    kind, write = WRITERS[form]
    ssp = await upload(served, write(TOLD), baseline=ssp_pb2.BASELINE_FEDRAMP_MODERATE)
    assert ssp.format == ssp_pb2.SspFormat.Value(f"SSP_FORMAT_{kind}")
    assert (ssp.controls, ssp.claims) == (2, 2)
    assert not ssp.issues
    page = await served.world.store.page("claims", SSP)
    claims = {claim.control_id: claim for claim in page.items}  # type: ignore[attr-defined]  # a claim
    assert claims["ac-2"].state == PLANNED  # type: ignore[attr-defined]  # a claim
    told = await passages(served)
    sources = {each.source for each in told} | {each.end_source for each in told}
    assert {claim.source for claim in claims.values()} <= sources  # type: ignore[attr-defined]  # a claim
    assert [each.name for each in told] == sorted(each.name for each in told)


async def test_oscal_yaml_is_what_the_same_json_is(served: Served) -> None:
    json_text = document(requirement("ac-2"), requirement("at-2", "planned"))
    first = await served.import_ssp(json_text)
    in_json = (await served.world.store.page("claims", SSP)).items
    loaded = yaml.safe_load(json_text)
    second = await served.import_ssp(yaml.safe_dump(loaded).encode(), file_name="plan.yaml")
    assert second.format == ssp_pb2.SSP_FORMAT_OSCAL_YAML
    assert (await served.world.store.page("claims", SSP)).items == in_json
    assert second.oscal_version == first.oscal_version == "1.1.2"
    told = await passages(served)
    assert told[0].source.startswith("/system-security-plan/")


async def test_what_is_not_understood_is_told_with_its_place(served: Served) -> None:
    content = (
        b"Control,Status,Statement,Weather\n"
        b"AC-2,Implemented,Done,fine\n"
        b"AC-3,Perhaps,Who knows,foul\n"
        b",Planned,Of what?,\n"
        b"ZZ-1,Implemented,Done,\n"
    )
    ssp = await served.import_ssp(content, baseline=ssp_pb2.BASELINE_NIST_MODERATE)
    assert [(each.pointer, each.problem) for each in ssp.issues] == [
        ("line 1", "the column 'Weather' is not known and is not read"),
        ("line 3", "'Perhaps' is no implementation status"),
        ("line 4", "the row names no control"),
        ("line 5", "zz-1 is no control of SP 800-53 rev 5"),
    ]
    odd = await passages(served, filter="outcome == OUTCOME_NOT_UNDERSTOOD")
    assert [each.source for each in odd] == ["line 1", "line 4"]
    claimed = await passages(served, filter="outcome == OUTCOME_CLAIM")
    assert [(each.source, each.control_id) for each in claimed] == [
        ("line 2", "ac-2"),
        ("line 3", "ac-3"),
        ("line 5", "zz-1"),
    ]
    assert all(each.claim.startswith(f"{SSP}/claims/") for each in claimed)


@pytest.mark.parametrize(
    ("content", "format_", "pointer", "problem"),
    [
        (b"Nothing of the kind.", 0, "", "no claim was found"),
        (b"%PDF-1.7 and nothing more", 0, "", "no PDF that can be read"),
        (b"PK\x03\x04broken", 0, "", "broken ZIP"),
        (b"\xd0\xcf\x11\xe0old", 0, "", "old or encrypted Office"),
        (b"<html></html>", 0, "", "XML or HTML"),
        (b"a: [1,\nb: }", ssp_pb2.SSP_FORMAT_OSCAL_YAML, "line 2, column 4", "no YAML"),
        (b"profile:\n  uuid: x\n", 0, "/profile", "OSCAL model is profile"),
        (b"AC-2: Planned", ssp_pb2.SSP_FORMAT_XLSX, "", "broken ZIP"),
    ],
)
async def test_what_cannot_be_read_is_refused_and_stores_nothing(
    served: Served, content: bytes, format_: int, pointer: str, problem: str
) -> None:
    before = await served.import_ssp(document(requirement("ac-2")))
    told = await passages(served)
    with pytest.raises(CallRefused) as caught:
        await served.import_ssp(content, format=format_)
    assert caught.value.reason == "SSP_INVALID"
    assert caught.value.metadata["pointer"] == pointer
    assert problem in str(caught.value)
    assert await served.stub.GetSsp(api.GetSspRequest(name=SSP)) == before
    assert await passages(served) == told
