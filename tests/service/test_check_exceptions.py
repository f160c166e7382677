"""Exceptions over gRPC: proposed by one, approved by another, ended by the time or by anybody."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.client import CallRefused
from secmesh.inventory.v1 import exception_service_pb2 as api
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from services.inventory.exceptions import exception_store
from tests.service.compliance_world import NOW, TENANT
from tests.service.exceptions_site import CHECK, Site, refusal, site

__all__ = ["site"]

NAME = f"{TENANT}/checkExceptions/public-site"
REQUEST = "11111111-1111-4111-8111-111111111112"


def at(days: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(NOW + timedelta(days=days))
    return stamp


async def test_two_people_make_an_exception_and_time_ends_it(site: Site) -> None:
    made = await site.propose(
        resources=" public ",
        cloud_account_ids=["222233334444", "111122223333"],
        reference="RISK-7",
        # What callers say of these is not heard.
        state=CheckException.STATE_APPROVED,
        requester="mallory",
        approver="mallory",
    )
    assert (made.name, made.state) == (NAME, CheckException.STATE_PROPOSED)
    assert (made.requester, made.approver, made.resources) == ("ann", "", "public")
    assert list(made.cloud_account_ids) == ["111122223333", "222233334444"]
    assert made.create_time.ToDatetime() == NOW.replace(tzinfo=None)

    own = await refusal(site.approve(NAME, by="ann"))
    assert (own.code.name, own.reason) == ("PERMISSION_DENIED", "APPROVER_IS_REQUESTER")
    assert await site.get(NAME) == made

    assert (await refusal(site.approve(NAME, etag="v9"))).reason == "ETAG_MISMATCH"
    approved = await site.approve(NAME, etag=made.etag)
    assert (approved.state, approved.approver) == (CheckException.STATE_APPROVED, "bob")
    assert approved.etag != made.etag
    # Said again by the same person it is done; anybody else comes too late.
    assert await site.approve(NAME) == approved
    late = await refusal(site.approve(NAME, by="cid"))
    assert (late.reason, late.metadata["state"]) == ("EXCEPTION_SETTLED", "approved")

    site.clock.now = NOW + timedelta(days=30)
    assert (await site.get(NAME)).state == CheckException.STATE_EXPIRED
    listed = await site.stub.ListCheckExceptions(
        api.ListCheckExceptionsRequest(parent=TENANT, filter=f'check_id == "{CHECK}"'),
        metadata=site.by("ann", role="viewer"),
    )
    assert [each.state for each in listed.check_exceptions] == [CheckException.STATE_EXPIRED]
    revoked = await site.revoke(NAME)
    assert (revoked.state, revoked.revoker) == (CheckException.STATE_REVOKED, "ann")
    assert await site.revoke(NAME, by="bob") == revoked
    assert await site.get(NAME) == revoked


async def test_what_expired_before_its_approval_is_never_approved(site: Site) -> None:
    await site.propose(expire_time=at(1))
    site.clock.now = NOW + timedelta(days=2)
    late = await refusal(site.approve(NAME))
    assert (late.reason, late.metadata["state"]) == ("EXCEPTION_SETTLED", "expired")


async def test_a_revoked_exception_is_never_approved(site: Site) -> None:
    await site.propose()
    await site.revoke(NAME)
    late = await refusal(site.approve(NAME))
    assert (late.reason, late.metadata["state"]) == ("EXCEPTION_SETTLED", "revoked")


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"check_id": "no.such"}, "check_exception.check_id", "no check 'no.such'"),
        ({"reason": ""}, "check_exception.reason", ""),
        ({"reason": "  "}, "check_exception.reason", "why"),
        ({"resources": "public =="}, "check_exception.resources", "line 1"),
        ({"resources": '"text"'}, "check_exception.resources", "not bool"),
        ({"resources": "nothing == 1"}, "check_exception.resources", "nothing"),
        (
            {"check_id": "cloudtrail.multi_region", "resources": "multi_region"},
            "check_exception.resources",
            "must be empty",
        ),
        ({"cloud_account_ids": ["12"]}, "check_exception.cloud_account_ids[0]", ""),
        ({"expire_time": at(0)}, "check_exception.expire_time", "ahead"),
        ({"expire_time": at(367)}, "check_exception.expire_time", "366 days"),
        ({"expire_time": Timestamp(seconds=-1)}, "check_exception.expire_time", ""),
    ],
)
async def test_what_is_refused(
    site: Site, fields: dict[str, Any], field: str, problem: str
) -> None:
    refused = await refusal(site.propose(**fields))
    assert refused.reason == "FIELD_INVALID"
    assert field in str(refused)
    assert problem in str(refused)
    assert (await refusal(site.get(NAME))).reason == "RESOURCE_NOT_FOUND"


async def test_an_exception_says_when_it_ends(site: Site) -> None:
    request = api.CreateCheckExceptionRequest(
        parent=TENANT,
        check_exception_id="endless",
        check_exception=CheckException(check_id=CHECK, reason="Ever."),
    )
    refused = await refusal(site.stub.CreateCheckException(request, metadata=site.by("ann")))
    assert "check_exception.expire_time" in str(refused)


async def test_a_request_is_done_once_and_one_approval_wins(site: Site) -> None:
    made = CheckException(check_id=CHECK, reason="It is public.", expire_time=at(3))
    request = api.CreateCheckExceptionRequest(
        parent=TENANT, check_exception_id="once", check_exception=made, request_id=REQUEST
    )
    ann = site.by("ann")
    first, again = await asyncio.gather(
        *(site.stub.CreateCheckException(request, metadata=ann) for _ in range(2))
    )
    assert first == again
    request.request_id = ""
    taken = await refusal(site.stub.CreateCheckException(request, metadata=ann))
    assert taken.reason == "RESOURCE_EXISTS"

    async def approve(person: int) -> CheckException | CallRefused:
        try:
            return await site.approve(first.name, by=f"p{person}")
        except CallRefused as refused:
            return refused

    done = await asyncio.gather(*map(approve, range(6)))
    assert sum(isinstance(each, CheckException) for each in done) == 1
    assert {each.reason for each in done if isinstance(each, CallRefused)} == {"EXCEPTION_SETTLED"}


async def test_roles(site: Site) -> None:
    await site.propose(by="oda")
    operator = site.by("otto", role="operator")
    approve = api.ApproveCheckExceptionRequest(name=NAME)
    denied = await refusal(site.stub.ApproveCheckException(approve, metadata=operator))
    assert denied.metadata["permission"] == "inventory.check_exceptions.approve"
    revoke = api.RevokeCheckExceptionRequest(name=NAME)
    viewer = site.by("vera", role="viewer")
    denied = await refusal(site.stub.RevokeCheckException(revoke, metadata=viewer))
    assert denied.metadata["permission"] == "inventory.check_exceptions.revoke"
    revoked = await site.stub.RevokeCheckException(revoke, metadata=operator)
    assert revoked.state == CheckException.STATE_REVOKED


async def test_another_tenants_exceptions_are_not_there(site: Site) -> None:
    await site.propose()
    other = site.by("eve", tenant="beta")
    for call in (
        site.stub.GetCheckException(api.GetCheckExceptionRequest(name=NAME), metadata=other),
        site.stub.ApproveCheckException(
            api.ApproveCheckExceptionRequest(name=NAME), metadata=other
        ),
        site.stub.RevokeCheckException(api.RevokeCheckExceptionRequest(name=NAME), metadata=other),
        site.stub.ListCheckExceptions(
            api.ListCheckExceptionsRequest(parent=TENANT), metadata=other
        ),
    ):
        assert (await refusal(call)).reason == "RESOURCE_NOT_FOUND"


async def test_pages_and_bounds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exception_store, "MAX_OPEN", 3)
    for number in range(3):
        await site.propose(f"e{number}")
    full = await refusal(site.propose("e3"))
    assert "3 exceptions" in str(full)
    await site.revoke(f"{TENANT}/checkExceptions/e1")
    await site.propose("e3")
    request = api.ListCheckExceptionsRequest(parent=TENANT, page_size=3)
    page = await site.stub.ListCheckExceptions(request, metadata=site.by("ann"))
    request.page_token = page.next_page_token
    rest = await site.stub.ListCheckExceptions(request, metadata=site.by("ann"))
    names = [
        each.name.rpartition("/")[2] for each in (*page.check_exceptions, *rest.check_exceptions)
    ]
    assert names == ["e0", "e1", "e2", "e3"]
    assert not rest.next_page_token
    monkeypatch.setattr(exception_store, "MAX_EXCEPTIONS", 4)
    assert "4 exceptions" in str(await refusal(site.propose("e4")))
