"""Another tenant's id in any one field of a request is as one that never was.

Each text that could be a name or an id is put in its place alone, in a request that is good
otherwise, so that it is that field which is looked at. The fields come from descriptors.
"""

import copy
import logging
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import Method, is_map
from mesh.identity.keys import sign_token
from tests.service.callers import LIFETIME
from tests.service.rewound import Rewound
from tests.service.security_records import rules_of
from tests.service.tenancy_requests import MARK, Furnished, furnished, request_of
from tests.service.tenancy_world import CATALOGUE, World, tenancy_world
from tests.service.tenant_swap import Answered, attacked, served_methods

NOT_THEIRS = {"RESOURCE_NOT_FOUND", "PERMISSION_MISSING"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with tenancy_world(tmp_path) as opened:
        yield opened


def ids_of(other: Furnished) -> list[str]:
    """Give all by which things of a tenant are known, names apart."""
    # The ids of both tenants' providers and the words that names end with are the same.
    last = [
        name.rpartition("/")[2]
        for name in other.names
        if not name.endswith(("/credential", "/quotas", "/aws"))
    ]
    return [*last, other.request_id, other.page_token]


def never_was(text: str) -> str:
    """Give a name or id of the same form that stands for nothing; the same each time."""
    head, _, last = text.rpartition("/")
    kept = {"quotas", "credential"}
    if last in kept:
        return f"{never_was(head)}/{last}"
    made = str(uuid.uuid5(uuid.NAMESPACE_URL, last))
    if re.fullmatch("[0-9]{12}", last):
        made = "987654321098"
    elif len(last) > len(made):
        made = (made * 20)[: len(last)]
    elif head.endswith("tenants") or not head:
        made = made if len(last) == len(made) else f"t{made}"[: max(len(last), 8)]
    return f"{head}/{made}" if head else made


def texts(message: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give the places of a request that hold a text, maps apart."""
    for each in message.DESCRIPTOR.fields:
        kind = each.message_type
        if each.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            yield path, each
        elif kind is not None and not is_map(each) and not each.is_repeated and len(path) < 3:
            ours = kind.full_name.startswith("secmesh.") or kind.name == "FieldMask"
            yield from texts(getattr(message, each.name), (*path, each.name)) if ours else ()


def fitting(field: Any, values: list[str]) -> list[str]:
    """Give the values that the contract lets stand in a field."""
    rules = rules_of(field).repeated.items.string if field.is_repeated else rules_of(field).string
    return [
        each
        for each in values
        if (not rules.pattern or re.search(rules.pattern, each))
        and (not rules.max_len or len(each) <= rules.max_len)
    ]


def put(request: Message, path: tuple[str, ...], field: Any, value: str) -> Message:
    made: Any = copy.deepcopy(request)
    inner = made
    for name in path:
        inner = getattr(inner, name)
    if field.is_repeated:
        getattr(inner, field.name).append(value)
    else:
        setattr(inner, field.name, value)
    changed: Message = made
    return changed


def attacks(own: Furnished, other: Furnished, method: Method) -> Iterator[tuple[str, Any, Any]]:
    """Give requests with something of the other tenant, beside such that hold what never was."""
    request = request_of(own, method)
    moved = [f"{own.parent}/{name.split('/', 2)[2]}" for name in other.names[1:]]
    theirs_alone = [
        each for each in (*other.names, *moved, *ids_of(other)) if each not in own.names
    ]
    for path, field in texts(copy.deepcopy(request)):
        for value in fitting(field, theirs_alone):
            label = f"{'.'.join((*path, field.name))} {value}"
            absent = never_was(value)
            if fitting(field, [absent]):
                yield label, put(request, path, field, value), put(request, path, field, absent)


def shape(answer: Answered) -> tuple[grpc.StatusCode, str]:
    return answer.code, answer.reason


def judge(label: str, there: Answered, absent: Answered, own: Furnished, other: Furnished) -> str:
    """Say what an answer tells that it must not; "" if nothing."""
    what = f"{there.method.path} {label}: {there.code.name} {there.reason}"
    if shape(there) != shape(absent):
        return f"{what}, but {absent.code.name} {absent.reason} for what never was"
    value = label.rpartition(" ")[2]
    inside = {own.parent, *own.names}
    told = [each for each in (*other.names, *ids_of(other)) if each not in inside]
    # A tenant's name that was asked for by its id says no more than the caller did.
    said = {value, f"tenants/{value}"}
    leaks = [
        each
        for each in told
        if each.encode() in there.seen and not any(each in one for one in said)
    ]
    if leaks and not any(each.encode() in there.request for each in leaks):
        return f"{what} tells {leaks}"
    if value.startswith(f"{other.parent}/") and " name" in f" {label}":
        return "" if there.reason in NOT_THEIRS else what
    return ""


async def test_what_is_anothers_is_as_what_never_was(world: World, caplog: Any) -> None:
    own, other = await furnished(world), await furnished(world)
    token = sign_token(
        world.home, subject="eve", tenant=own.tenant, roles=["admin"], lifetime=LIFETIME
    )
    rewind, wrong, done = Rewound(world), [], 0
    kept = theirs(world, other)
    with caplog.at_level(logging.INFO):
        for method in await served_methods(world.address, CATALOGUE):
            for label, there, absent in attacks(own, other, method):
                answers = []
                for request in (there, absent):
                    answers += await attacked(world.address, token, iter([(method, "", request)]))
                    assert theirs(world, other) == kept, (method.path, label)
                    if answers[-1].code is grpc.StatusCode.OK:
                        rewind()
                wrong.append(judge(label, answers[0], answers[1], own, other))
                done += 1
    found = list(filter(None, wrong))
    assert not found, "\n".join(found)
    assert done > 300
    logged = repr([vars(each) for each in caplog.records])
    assert MARK not in logged
    assert other.story.account.external_id not in logged


def theirs(world: World, other: Furnished) -> Mapping[str, Any]:
    store: Any = world.parts.store
    items = [item for table in store._tables.values() for item in table.items()]
    return {
        f"{item['pk']} {item['sk']}": item
        for item in items
        if str(item["pk"]).partition("#")[0] == other.tenant
    }
