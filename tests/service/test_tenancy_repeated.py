"""Requests that come twice, and tokens of other questions: all methods tell them alike."""

import copy
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message

from mesh.contract.catalogue import Method
from mesh.identity.keys import sign_token
from services.tenancy.store.pages import VALID_SECONDS
from tests.service.callers import LIFETIME
from tests.service.rewound import Rewound
from tests.service.tenancy_requests import Furnished, furnished, request_of
from tests.service.tenancy_world import CATALOGUE, OPERATOR, tenancy_world
from tests.service.tenant_swap import Answered, attacked, served_methods

LEAST = 10
"""Methods that take an id of the request and can be called as things stand."""


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Furnished]:
    async with tenancy_world(tmp_path) as world:
        yield await furnished(world)


def token_of(own: Furnished) -> str:
    return sign_token(
        own.world.home,
        subject="ann",
        tenant=OPERATOR,
        roles=["platform", "admin"],
        tenants=[own.tenant, "new-tenant"],
        lifetime=LIFETIME,
    )


async def called(own: Furnished, method: Method, request: Message) -> Answered:
    calls = iter([(method, "", request)])
    (answer,) = await attacked(own.world.address, token_of(own), calls)
    return answer


async def taking(own: Furnished, field: str) -> list[Method]:
    """Give the methods whose requests have a field."""
    methods = await served_methods(own.world.address, CATALOGUE)
    return [each for each in methods if field in each.descriptor.input_type.fields_by_name]


def altered(request: Any) -> Message:
    """Give a request that asks for something else."""
    made = copy.deepcopy(request)
    fields = made.DESCRIPTOR.fields_by_name
    if "aws_access_key" in fields:
        # What tells two of these apart is the secret, which Secrets Manager compares.
        made.aws_access_key.secret_access_key = "another" * 6
    elif "etag" in fields:
        made.etag = "v99"
    elif "overlap_policy" in fields:
        made.overlap_policy = 3
    else:
        inner: Any = next(value for _, value in made.ListFields() if isinstance(value, Message))
        texts = [
            each
            for each in ("description", "display_name")
            if each in inner.DESCRIPTOR.fields_by_name
        ]
        if texts:
            setattr(inner, texts[0], "another")
        else:
            inner.max_accounts = 8
    changed: Message = made
    return changed


def named(method: Method, answer: Answered) -> str:
    made: Any = message_factory.GetMessageClass(method.descriptor.output_type)()
    made.ParseFromString(answer.seen)
    # What is shown once, such as a key's text, comes beside what was made.
    inner = made if "name" in made.DESCRIPTOR.fields_by_name else made.ListFields()[0][1]
    return str(inner.name)


async def test_a_request_with_an_id_is_done_once_and_stands_for_itself_alone(
    own: Furnished,
) -> None:
    rewind, done = Rewound(own.world), []
    for method in await taking(own, "request_id"):
        request: Any = copy.deepcopy(request_of(own, method))
        request.request_id = str(uuid.uuid4())
        first = await called(own, method, request)
        if first.code is grpc.StatusCode.OK and first.seen:
            again = await called(own, method, request)
            assert again.code is grpc.StatusCode.OK, (method.path, again.reason)
            assert named(method, again) == named(method, first), method.path
            other = await called(own, method, altered(request))
            assert other.reason == "REQUEST_ID_REUSED", (method.path, other.reason)
            done.append(method.path)
        rewind()
    assert len(done) >= LEAST, done


async def test_a_page_token_is_good_for_its_own_question_alone(own: Furnished) -> None:
    good, clock = own.page_token, own.world.clock
    flipped = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
    methods = await taking(own, "page_token")
    for method in methods:
        request: Any = copy.deepcopy(request_of(own, method))
        for token in (good[:-1], flipped, good + "A", "A" * 2048, "é", " ", good[::-1]):
            request.page_token = token
            answer = await called(own, method, request)
            assert answer.code is grpc.StatusCode.INVALID_ARGUMENT, (method.path, token)
            assert answer.reason == "PAGE_TOKEN_INVALID", (method.path, token)
        # Whole, and written for the accounts of all providers: the request names one.
        request.page_token = good
        assert (await called(own, method, request)).reason == "PAGE_TOKEN_INVALID", method.path
    (accounts,) = (each for each in methods if each.path.endswith("/ListAccounts"))
    request = copy.deepcopy(request_of(own, accounts))
    request.provider, request.page_token = "", good
    assert (await called(own, accounts, request)).code is grpc.StatusCode.OK
    clock.turn(VALID_SECONDS)
    assert (await called(own, accounts, request)).reason == "PAGE_TOKEN_INVALID"
