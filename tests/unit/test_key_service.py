"""Answers of the tenancy service about API keys: how long they are good, and what comes after."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import jwt
import pytest
from google.rpc import status_pb2

from gateway.edge import key_service
from gateway.edge.key_exchange import KeyExchange
from gateway.edge.key_refusals import ApiKeyExpired, ApiKeyInvalid, AttemptsExceeded
from gateway.edge.key_service import BAD_SECONDS, MOST_SECONDS, ServiceKeys
from gateway.edge.own_token import PERMISSION, RENEWED_SECONDS, OwnToken
from mesh.errors import DependencyUnavailable
from mesh.identity.api_key import ApiKey
from mesh.identity.attempts import MOST, Attempts
from mesh.identity.keys import create_signing_key
from secmesh.tenancy.v1 import api_key_pb2
from secmesh.tenancy.v1 import api_key_service_pb2 as pb
from secmesh_client import CallRefused

GOOD, UNKNOWN = pb.API_KEY_VERDICT_GOOD, pb.API_KEY_VERDICT_UNKNOWN
REVOKED = pb.API_KEY_VERDICT_REVOKED


class Tenancy:
    """Answers as told, and notes what it is asked."""

    def __init__(self) -> None:
        self.verdict = GOOD
        self.down = False
        self.expire_time = datetime.now(UTC) + timedelta(days=1)
        self.asked: list[pb.ResolveApiKeyRequest] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.now = 100.0
        self.keys = ServiceKeys(self, clock=lambda: self.now)

    def ResolveApiKey(  # noqa: N802 (the name is the contract's)
        self,
        request: pb.ResolveApiKeyRequest,
        *,
        timeout: float,
    ) -> Awaitable[pb.ResolveApiKeyResponse]:
        assert timeout < 5
        self.asked.append(request)
        return self._answer()

    async def _answer(self) -> pb.ResolveApiKeyResponse:
        await self.answering.wait()
        if self.down:
            raise CallRefused(status_pb2.Status(code=14), grpc.StatusCode.UNAVAILABLE)
        told = api_key_pb2.ApiKey(name="tenants/acme/apiKeys/k", roles=["viewer"])
        told.expire_time.FromDatetime(self.expire_time)
        good = self.verdict == GOOD
        return pb.ResolveApiKeyResponse(verdict=self.verdict, api_key=told if good else None)


@pytest.fixture
async def tenancy() -> Tenancy:
    return Tenancy()


async def test_a_good_answer_is_used_for_its_seconds_and_no_longer(tenancy: Tenancy) -> None:
    key = ApiKey.generate()
    for _ in range(3):
        grant = await tenancy.keys.find(key)
        assert grant is not None
        assert (grant.tenant, grant.roles, grant.sha256) == ("acme", ("viewer",), key.digest())
    assert len(tenancy.asked) == 1
    tenancy.verdict = REVOKED
    tenancy.now += key_service.SECONDS - 0.001
    assert await tenancy.keys.find(key)
    tenancy.now += 0.001
    with pytest.raises(ApiKeyInvalid):
        await tenancy.keys.find(key)
    assert len(tenancy.asked) == 2


async def test_no_setting_makes_answers_older_than_half_a_minute(tenancy: Tenancy) -> None:
    keys = ServiceKeys(tenancy, 3600, lambda: tenancy.now)
    key = ApiKey.generate()
    await keys.find(key)
    tenancy.verdict = REVOKED
    tenancy.now += MOST_SECONDS
    with pytest.raises(ApiKeyInvalid):
        await keys.find(key)


async def test_an_answer_is_as_old_as_its_question(tenancy: Tenancy) -> None:
    key = ApiKey.generate()
    tenancy.answering.clear()
    first = asyncio.create_task(tenancy.keys.find(key))
    while not tenancy.asked:
        await asyncio.sleep(0)
    tenancy.now += key_service.SECONDS
    tenancy.answering.set()
    assert await first
    await tenancy.keys.find(key)
    assert len(tenancy.asked) == 2


async def test_the_key_itself_is_not_sent(tenancy: Tenancy) -> None:
    key = ApiKey.generate()
    await tenancy.keys.find(key)
    assert key.secret not in str(tenancy.asked)
    assert tenancy.asked == [
        pb.ResolveApiKeyRequest(key_id=key.id, secret_sha256=key.digest()),
    ]


async def test_many_at_once_ask_once_and_none_waits_for_another_to_stay(tenancy: Tenancy) -> None:
    key = ApiKey.generate()
    tenancy.answering.clear()
    waiting = [asyncio.create_task(tenancy.keys.find(key)) for _ in range(20)]
    while not tenancy.asked:
        await asyncio.sleep(0)
    waiting[0].cancel()
    tenancy.answering.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(each == found[1] and each is not None for each in found[1:])
    assert len(tenancy.asked) == 1


async def test_other_answers_are_used_for_a_short_time(tenancy: Tenancy) -> None:
    key = ApiKey.generate()
    tenancy.verdict = UNKNOWN
    assert await tenancy.keys.find(key) is None
    tenancy.verdict = GOOD
    assert await tenancy.keys.find(key) is None
    tenancy.now += BAD_SECONDS
    assert await tenancy.keys.find(key)
    tenancy.verdict = UNKNOWN
    tenancy.now += key_service.SECONDS
    assert await tenancy.keys.find(key) is None


@pytest.mark.parametrize(
    ("verdict", "refusal"),
    [
        (pb.API_KEY_VERDICT_REVOKED, ApiKeyInvalid),
        (pb.API_KEY_VERDICT_TENANT_INACTIVE, ApiKeyInvalid),
        (pb.API_KEY_VERDICT_UNSPECIFIED, ApiKeyInvalid),
        (pb.API_KEY_VERDICT_EXPIRED, ApiKeyExpired),
    ],
)
async def test_verdicts(
    tenancy: Tenancy, verdict: pb.ApiKeyVerdict.ValueType, refusal: type[Exception]
) -> None:
    tenancy.verdict = verdict
    with pytest.raises(refusal):
        await tenancy.keys.find(ApiKey.generate())


async def test_a_key_ends_while_the_answer_about_it_is_good(tenancy: Tenancy) -> None:
    tenancy.expire_time = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(ApiKeyExpired):
        await tenancy.keys.find(ApiKey.generate())


async def test_when_nobody_answers_keys_go_on_until_their_answers_end(tenancy: Tenancy) -> None:
    known, new = ApiKey.generate(), ApiKey.generate()
    assert await tenancy.keys.find(known)
    tenancy.down = True
    tenancy.now += key_service.SECONDS - 0.001
    assert await tenancy.keys.find(known)
    with pytest.raises(DependencyUnavailable):
        await tenancy.keys.find(new)
    tenancy.now += 0.001
    with pytest.raises(DependencyUnavailable):
        await tenancy.keys.find(known)
    tenancy.down = False
    assert await tenancy.keys.find(known)
    assert await tenancy.keys.find(new)


async def test_answers_are_few_and_wrong_keys_drive_no_good_one_away(
    tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_service, "MAX_ANSWERS", 2)
    good = ApiKey.generate()
    await tenancy.keys.find(good)
    tenancy.verdict = UNKNOWN
    for _ in range(5):
        await tenancy.keys.find(ApiKey.generate())
    asked = len(tenancy.asked)
    assert await tenancy.keys.find(good)
    assert len(tenancy.asked) == asked
    tenancy.verdict = GOOD
    for _ in range(2):
        await tenancy.keys.find(ApiKey.generate())
    await tenancy.keys.find(good)
    assert len(tenancy.asked) == asked + 3


async def test_few_questions_are_under_way(
    tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_service, "MAX_ASKED", 1)
    tenancy.answering.clear()
    first = asyncio.create_task(tenancy.keys.find(ApiKey.generate()))
    while not tenancy.asked:
        await asyncio.sleep(0)
    with pytest.raises(DependencyUnavailable):
        await tenancy.keys.find(ApiKey.generate())
    tenancy.answering.set()
    assert await first
    assert await tenancy.keys.find(ApiKey.generate())


async def test_an_address_that_tries_keys_asks_no_more(tenancy: Tenancy, tmp_path: Path) -> None:
    create_signing_key(tmp_path)
    exchange = KeyExchange([tenancy.keys], tmp_path, Attempts(lambda: tenancy.now))
    proven = ApiKey.generate().text()
    token = await exchange.exchange(proven, "192.0.2.1")
    tenancy.verdict = UNKNOWN
    for _ in range(MOST):
        with pytest.raises(ApiKeyInvalid):
            await exchange.exchange(ApiKey.generate().text(), "192.0.2.1")
    asked = len(tenancy.asked)
    for _ in range(3):
        with pytest.raises(AttemptsExceeded):
            await exchange.exchange(ApiKey.generate().text(), "192.0.2.1")
    assert len(tenancy.asked) == asked
    assert await exchange.exchange(proven, "192.0.2.1") == token
    with pytest.raises(ApiKeyInvalid):
        await exchange.exchange(ApiKey.generate().text(), "192.0.2.2")


def test_the_edges_own_token_opens_one_thing_and_is_renewed(tmp_path: Path) -> None:
    create_signing_key(tmp_path)
    now = [100.0]
    token = OwnToken(tmp_path, lambda: now[0])
    first = token()
    claims = jwt.decode(first, options={"verify_signature": False})
    assert (claims["permissions"], claims["roles"]) == ([PERMISSION], [])
    assert "tenants" not in claims
    now[0] += RENEWED_SECONDS - 1
    assert token() == first
    now[0] += 1
    assert token() != first
