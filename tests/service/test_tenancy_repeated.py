"""Requests that come twice, and tokens of other questions: all methods tell them alike."""

import copy
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api import field_behavior_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import Method, is_map
from mesh.identity.keys import sign_token
from services.tenancy.store.items import ETAG
from services.tenancy.store.pages import VALID_SECONDS
from tests.service.callers import LIFETIME
from tests.service.rewound import Rewound
from tests.service.tenancy_requests import BEFORE, Furnished, furnished, request_of
from tests.service.tenancy_world import CATALOGUE, OPERATOR, tenancy_world
from tests.service.tenant_swap import Answered, attacked, served_methods

LEAST = 24
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


def requested(own: Furnished, method: Method) -> Message:
    """Give a request, for a provider without accounts where one is to be deleted."""
    request: Any = copy.deepcopy(request_of(own, method))
    if method.path.endswith(("/DeleteProvider", "/UndeleteProvider")):
        request.name = f"{own.parent}/providers/new"
    made: Message = request
    return made


async def taking(own: Furnished, field: str) -> list[Method]:
    """Give the methods whose requests have a field."""
    methods = await served_methods(own.world.address, CATALOGUE)
    return [each for each in methods if field in each.descriptor.input_type.fields_by_name]


def altered(request: Any, etag: str) -> Iterator[tuple[str, Message]]:
    """Give requests that ask for something else in one field, each with the field's name.

    ``etag`` is that of what the request made: who names it asks for nothing impossible.
    """
    for path in _paths(request.DESCRIPTOR, own=True):
        for value in ("v1", "v2", "v99", etag) if path[-1].name == ETAG else (None,):
            made = copy.deepcopy(request)
            inner = made
            for each in path[:-1]:
                inner = getattr(inner, each.name)
            _alter(inner, path[-1], value)
            if made != request:
                yield ".".join(each.name for each in path), made


def _paths(descriptor: Descriptor, *, own: bool) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Give the fields of a request and of the messages in it that a caller sets."""
    for field in descriptor.fields:
        behaviour = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        read_only = field_behavior_pb2.OUTPUT_ONLY in behaviour and field.name != ETAG
        # Ids of requests are a tenant's own: another tenant's stand for others.
        if field.name in {"name", "parent", "request_id", "tenant_id"} or read_only:
            continue
        inner = None if field.is_repeated else field.message_type
        if own and inner is not None and inner.full_name.startswith("secmesh."):
            yield from ((field, *rest) for rest in _paths(inner, own=False))
        else:
            yield (field,)


def _alter(holder: Any, field: FieldDescriptor, value: str | None) -> None:
    """Give a field another value; nothing is done where none is known."""
    there = getattr(holder, field.name)
    if value is not None:
        setattr(holder, field.name, value)
    elif field.is_repeated and len(there):
        holder.ClearField(field.name)
    elif is_map(field):
        there["another"] = "another"
    elif field.is_repeated:
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            there.append("another")
    elif field.message_type is not None:
        _alter_message(there)
    else:
        _alter_scalar(holder, field, there)


def _alter_message(there: Any) -> None:
    if "seconds" in there.DESCRIPTOR.fields_by_name:
        there.seconds += 60
    elif "paths" in there.DESCRIPTOR.fields_by_name:
        there.paths.append("description")


def _alter_scalar(holder: Any, field: FieldDescriptor, there: Any) -> None:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        setattr(holder, field.name, there[:-1] + "z" if there else "another")
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        setattr(holder, field.name, not there)
    else:
        setattr(holder, field.name, 1 if there != 1 else 2)


def named(method: Method, answer: Answered) -> str:
    return str(_made(method, answer).name)


def etag_of(method: Method, answer: Answered) -> str:
    return str(getattr(_made(method, answer), ETAG, ""))


def _made(method: Method, answer: Answered) -> Any:
    made: Any = message_factory.GetMessageClass(method.descriptor.output_type)()
    made.ParseFromString(answer.seen)
    # What is shown once, such as a key's text, comes beside what was made.
    return made if "name" in made.DESCRIPTOR.fields_by_name else made.ListFields()[0][1]


async def test_a_request_with_an_id_is_done_once_and_stands_for_itself_alone(
    own: Furnished,
) -> None:
    rewind, done = Rewound(own.world), []
    served = await served_methods(own.world.address, CATALOGUE)
    methods = {each.path.rpartition("/")[2]: each for each in served}
    for method in await taking(own, "request_id"):
        for before in BEFORE.get(method.path.rpartition("/")[2], []):
            await called(own, methods[before], requested(own, methods[before]))
        request: Any = copy.deepcopy(requested(own, method))
        request.request_id = str(uuid.uuid4())
        first = await called(own, method, request)
        if first.code is grpc.StatusCode.OK and first.seen:
            again = await called(own, method, request)
            assert again.code is grpc.StatusCode.OK, (method.path, again.reason)
            assert named(method, again) == named(method, first), method.path
            told = []
            for field, different in altered(request, etag_of(method, first)):
                other = await called(own, method, different)
                assert other.code is not grpc.StatusCode.OK, (method.path, field)
                # What is no request at all is told so first.
                if other.code is not grpc.StatusCode.INVALID_ARGUMENT:
                    assert other.reason == "REQUEST_ID_REUSED", (method.path, field, other.reason)
                    told.append(field)
            assert told, method.path
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
