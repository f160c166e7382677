"""Whatever stands in a field, an answer says what is wrong with it, and nothing is lost by it.

The fields come from descriptors: one that is added is tried by that.
"""

import copy
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import Method, is_map
from mesh.identity.keys import sign_token
from tests.service.callers import LIFETIME
from tests.service.rewound import Rewound
from tests.service.tenancy_requests import Furnished, furnished, request_of
from tests.service.tenancy_world import CATALOGUE, OPERATOR, tenancy_world
from tests.service.tenant_swap import Answered, attacked, served_methods

TEXTS = (
    "\0",
    "a\0b",
    "é" * 5000,
    "x" * 70_000,
    "../../etc",
    "\u202etxet",
    "\n",
    "%00",
    "${jndi}",
    "tenants/",
    "-",
    "0 0 30 2 *",
    "cron(0 0 31 2 ? 2027)",
    "at(9999-12-31T23:59:59)",
    "rate(-1 hours)",
    "Mars/Olympus",
    "*",
    "99999999999999999999",
    "999913",
    "000001",
)
NUMBERS = (-1, 2**31 - 1, -(2**31), 7)
LONG_NUMBERS = (2**63 - 1, -(2**63))
REALS = (float("nan"), float("inf"), float("-inf"), -1.0, 1e308)
YEAR_9999, YEAR_1 = 253_402_300_799, -62_135_596_800
MOMENTS = ((YEAR_9999, 999_999_999), (YEAR_1, 0), (2**62, 0), (0, -1), (-1, 2_000_000_000))
SPANS = ((-1, 0), (315_576_000_000, 0), (2**62, 0), (1, -1), (0, 1))
MASKS = (
    [""],
    ["nothing"],
    ["name"],
    ["etag"],
    ["*", "name"],
    ["*"],
    ["status"],
    ["create_time"],
    ["state", "next_fire_time"],
    ["a.b.c"],
    ["\0"],
    ["x" * 5000],
    ["tenants/acme"],
    ["description"] * 5000,
)
INTEGERS = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
REAL = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
Change: TypeAlias = Callable[[Any], None]


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Furnished]:
    async with tenancy_world(tmp_path) as world:
        yield await furnished(world)


def changes(descriptor: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Change]]:
    """Give what can be done to a message, and how it is called."""
    for each in descriptor.fields:
        where = (*path, each.name)
        for number, change in enumerate(_of_field(each)):
            yield f"{'.'.join(where)} {number}", _within(path, change)
        kind = each.message_type
        own = kind is not None and kind.full_name.startswith("secmesh.") and not each.is_repeated
        if own and len(path) < 4:
            yield from changes(kind, where)


def _within(path: tuple[str, ...], change: Change) -> Change:
    def apply(message: Any) -> None:
        for name in path:
            message = getattr(message, name)
        change(message)

    return apply


def _of_field(field: Any) -> Iterator[Change]:
    if is_map(field):
        yield from (_entry(field, key) for key in ("", "\0", "k" * 5000, "a b"))
        return
    for value in _values(field):
        yield _set(field, value)
    if field.is_repeated and field.message_type is None:
        text = field.cpp_type == FieldDescriptor.CPPTYPE_STRING
        yield lambda message: getattr(message, field.name).extend(["x" if text else 1] * 10_000)
    if not field.is_repeated:
        yield lambda message: message.ClearField(field.name)


def _values(field: Any) -> Iterator[Any]:
    if field.message_type is not None:
        kind = field.message_type.full_name
        yield from {
            "google.protobuf.Timestamp": MOMENTS,
            "google.protobuf.Duration": SPANS,
            "google.protobuf.FieldMask": MASKS,
        }.get(kind, ())
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        yield from TEXTS
    elif field.cpp_type in INTEGERS:
        yield from NUMBERS
        if field.cpp_type == FieldDescriptor.CPPTYPE_INT64:
            yield from LONG_NUMBERS
    elif field.cpp_type in REAL:
        yield from REALS
    elif field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        yield from (99, -1)


def _set(field: Any, value: Any) -> Change:
    def apply(message: Any) -> None:
        if field.is_repeated:
            getattr(message, field.name).append(value)
        elif field.message_type is None:
            setattr(message, field.name, value)
        elif isinstance(value, list):
            getattr(message, field.name).paths.extend(value)
        else:
            inner = getattr(message, field.name)
            inner.seconds, inner.nanos = value

    return apply


def _entry(field: Any, key: str) -> Change:
    return lambda message: getattr(message, field.name).update({key: "x" * 5000})


def hostile(method: Method, request: Message) -> Iterator[tuple[Method, str, Message]]:
    for label, change in changes(method.descriptor.input_type):
        changed = copy.deepcopy(request)
        change(changed)
        yield method, label, changed


def judge(answer: Answered) -> str:
    """Say what is wrong with an answer; "" if nothing is."""
    what = f"{answer.method.path} {answer.label}: {answer.code.name} {answer.reason}"
    if answer.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        return what
    if answer.code is not grpc.StatusCode.OK and not answer.reason:
        return f"{what} without a reason"
    return ""


async def test_every_field_takes_anything(own: Furnished, caplog: Any) -> None:
    world = own.world
    methods = await served_methods(world.address, CATALOGUE)
    requests = [(each, request_of(own, each)) for each in methods]
    token = sign_token(
        world.home,
        subject="eve",
        tenant=OPERATOR,
        roles=["platform", "admin"],
        tenants=[own.tenant, "new-tenant"],
        lifetime=LIFETIME,
    )
    rewind, wrong, done = Rewound(world), [], 0
    with caplog.at_level(logging.WARNING):
        for method, request in requests:
            answers = await attacked(world.address, token, hostile(method, request))
            wrong += list(filter(None, map(judge, answers)))
            done += len(answers)
            rewind()
    assert not wrong, "\n".join(wrong)
    assert done > 1000
    assert not [each for each in caplog.records if each.exc_info]
