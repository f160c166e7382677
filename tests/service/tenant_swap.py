"""Requests of one tenant that hold another's names, made from descriptors for any RPC.

Nothing here knows a method. The two tenants have records of the same ids, so that a name differs
in its tenant alone, and what the other one holds is marked.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
from google.api import resource_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mesh.contract.catalogue import Catalogue, Kind, Method, field_option, is_map
from tests.service.security_records import Tag, body_of, is_required, rules_of, sample_value

OWN, OTHER = "beta", "acme"
MARK = "planted-and-not-to-be-seen"
REPORT = Path(__file__).parents[2] / "cli" / "sample" / "report.sarif"
_NAMES = re.compile(rb"tenants/acme[A-Za-z0-9/_.~-]*")
_TEXT = FieldDescriptor.TYPE_STRING
_DEPTH = 5
_STREAM_SECONDS = 0.5
"""How long a stream that is let in is listened to."""
_CALL_SECONDS = 60
_AT_ONCE = 16


_ENDING = re.compile(r"/([a-z_]+)\$$")


class Swap(Enum):
    """What of a request is the other tenant's."""

    ALL = "all"
    """Every name."""
    REFERENCES = "references"
    """Names beside those that say whose the call is, and each text that could be a name."""
    KEYS = "keys"
    """No name, but the page token, the etag and the id of the request."""
    NOTHING = "nothing"
    """Names of one's own, which differ in the tenant alone, and nothing that need not be there."""


@dataclass
class Planted:
    """What the other tenant has."""

    names: Mapping[str, str]
    """A record or resource of each collection."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """A page token of each collection."""
    etags: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    _bodies: dict[tuple[str, str], Message] = field(default_factory=dict)

    def body(self, kind: Kind, tenant: str) -> Message:
        """Give a body whose references are a tenant's."""
        key = (kind.collection, tenant)
        if key not in self._bodies:
            names = {
                name: self.of(tenant, pattern.text.split("/")[2])
                for name, pattern in kind.references.items()
            }
            self._bodies[key] = body_of(kind, Tag(f"{kind.collection}/swap"), names)
        return self._bodies[key]

    def of(self, tenant: str, collection: str) -> str:
        """Give the name of a record, as that tenant would write it."""
        name = self.names.get(collection, f"tenants/{OTHER}/{collection}/none")
        return name.replace(f"tenants/{OTHER}", f"tenants/{tenant}", 1)


@dataclass
class Answered:
    """What a call gave: all bytes of it, and how it ended."""

    method: Method
    label: str
    request: bytes
    seen: bytes
    code: grpc.StatusCode
    reason: str

    def leaks(self) -> list[str]:
        """Give what is in the answer, is the other tenant's, and was not in the request."""
        found = [MARK] if MARK.encode() in self.seen else []
        names = {each.rstrip(b".") for each in _NAMES.findall(self.seen)}
        return found + [each.decode() for each in sorted(names) if each not in self.request]


class Writer:
    """Writes the requests of one attack: a method, a kind, and whose names go where."""

    def __init__(self, catalogue: Catalogue, planted: Planted, kind: Kind, swap: Swap) -> None:
        self._catalogue = catalogue
        self._planted = planted
        self._kind = kind
        self._swap = swap

    def requests(self, method: Method) -> Iterator[Message]:
        """Give a request for each choice that a request may hold."""
        for choice in range(_choices(method.descriptor.input_type)):
            yield self._message(method.descriptor.input_type, method.names, choice, 0)

    def _message(
        self, descriptor: Descriptor, owning: Sequence[str], choice: int, depth: int
    ) -> Any:
        made: Any = message_factory.GetMessageClass(descriptor)()
        if descriptor.full_name == "google.api.HttpBody":
            made.data = REPORT.read_bytes()
            return made
        for each in descriptor.fields:
            oneof = each.containing_oneof
            if oneof is not None and len(oneof.fields) > 1:
                self._choose(made, each, oneof.fields, choice, depth)
            else:
                self._fill(made, each, owning, choice, depth)
        return made

    def _choose(
        self, made: Any, each: FieldDescriptor, fields: Sequence[Any], choice: int, depth: int
    ) -> None:
        if each.message_type is None or each.containing_type is None:
            return
        if each.name == self._kind.body_field and each.containing_type.name == "Record":
            body = self._planted.body(
                self._kind, OWN if self._swap in (Swap.KEYS, Swap.NOTHING) else OTHER
            )
            getattr(made, each.name).CopyFrom(body)
        elif each.containing_type.name != "Record" and fields[choice % len(fields)] is each:
            inner = self._message(each.message_type, self._owning(each.message_type), 0, depth + 1)
            getattr(made, each.name).CopyFrom(inner)

    def _owning(self, descriptor: Descriptor) -> Sequence[str]:
        """Give the names that say whose a request within a request is."""
        methods = self._catalogue.methods.values()
        same = (each.names for each in methods if each.descriptor.input_type is descriptor)
        return next(same, ("name",) if descriptor.name == "Record" else ())

    def _fill(
        self, made: Any, each: FieldDescriptor, owning: Sequence[str], choice: int, depth: int
    ) -> None:
        if each.message_type is not None:
            self._fill_message(made, each, owning, choice, depth)
        elif each.type == _TEXT:
            text = self._text(each, owning)
            if text and each.is_repeated:
                getattr(made, each.name).append(text)
            elif text:
                setattr(made, each.name, text)
        elif each.type == FieldDescriptor.TYPE_BYTES and not each.is_repeated:
            setattr(made, each.name, REPORT.read_bytes())
        elif each.type == FieldDescriptor.TYPE_BOOL and not each.is_repeated:
            setattr(
                made,
                each.name,
                each.name != "validate_only" and self._swap in (Swap.REFERENCES, Swap.KEYS),
            )
        elif not each.is_repeated and (is_required(each) or each.name == "sequence"):
            setattr(made, each.name, sample_value(each, Tag("swap")))

    def _fill_message(
        self, made: Any, each: FieldDescriptor, owning: Sequence[str], choice: int, depth: int
    ) -> None:
        descriptor: Any = each.message_type
        ours = descriptor.full_name.startswith(("secmesh.", "google.api."))
        spared = self._swap is Swap.NOTHING and not is_required(each)
        if is_map(each) or depth >= _DEPTH or not ours or spared:
            return
        inner = [name.partition(".")[2] for name in owning if name.startswith(f"{each.name}.")]
        written = self._message(descriptor, inner or self._owning(descriptor), choice, depth + 1)
        if each.is_repeated:
            getattr(made, each.name).add().CopyFrom(written)
        else:
            getattr(made, each.name).CopyFrom(written)

    def _text(self, each: FieldDescriptor, owning: Sequence[str]) -> str:
        collection = self._kind.collection
        told = {
            "page_token": self._planted.tokens.get(collection, ""),
            "etag": self._planted.etags.get(collection, ""),
            "request_id": self._planted.request_id,
            "stream_id": "",
            "order_by": "",
            "filter": "",
        }
        if each.name in told:
            return told[each.name] if self._swap is Swap.KEYS else ""
        if self._swap is Swap.NOTHING and not is_required(each) and each.name not in owning:
            return ""
        keeps = self._swap is not Swap.ALL and (
            self._swap is not Swap.REFERENCES or each.name in owning
        )
        if found := self._name(each, OWN if keeps else OTHER):
            return found
        rules = rules_of(each).string
        if is_required(each) or rules.min_len or rules.pattern:
            return str(sample_value(each, Tag("swap")))
        name = self._planted.of(OTHER, collection)
        fits = not rules.max_len or rules.max_len >= len(name)
        free = fits and not getattr(rules, "in") and not each.is_repeated
        return name if self._swap is Swap.REFERENCES and free else ""

    def _name(self, each: FieldDescriptor, tenant: str) -> str:
        """Give a name that fits a field, the nearest to the kind; empty if it holds none."""
        if target := field_option(each).references:
            return self._planted.of(tenant, target)
        rules = rules_of(each).repeated.items if each.is_repeated else rules_of(each)
        pattern = rules.string.pattern
        refers = each.GetOptions().HasExtension(resource_pb2.resource_reference)
        if not pattern.startswith("^tenants/") and not refers and each.name != "name":
            return ""
        collection = self._kind.collection
        tries = chain(
            (self._planted.of(tenant, collection), f"tenants/{tenant}/{collection}"),
            (self._planted.of(tenant, other) for other in self._planted.names),
        )
        # What a record has one of is called by a word after the record's own name.
        ending = _ENDING.search(pattern)
        names = [each for name in tries for each in (name, f"{name}/{ending[1]}" if ending else "")]
        return next((each for each in names if re.search(pattern, each)), f"tenants/{tenant}")


def _choices(descriptor: Descriptor, depth: int = 0) -> int:
    """Count the members of the largest choice within a request, bodies of records apart."""
    found = 1
    for each in descriptor.fields:
        oneof, inner = each.containing_oneof, each.message_type
        if descriptor.name != "Record" and oneof is not None:
            found = max(found, len(oneof.fields))
        if inner is not None and inner.full_name.startswith("secmesh.") and depth < _DEPTH:
            found = max(found, _choices(inner, depth + 1) if inner.name != "Record" else 1)
    return found


def carries_record(descriptor: Descriptor, depth: int = 0) -> bool:
    """Tell whether a request holds a record somewhere."""
    return descriptor.name == "Record" or any(
        carries_record(each.message_type, depth + 1)
        for each in descriptor.fields
        if each.message_type is not None
        and each.message_type.full_name.startswith("secmesh.")
        and depth < _DEPTH
    )


async def served_methods(address: str, catalogue: Catalogue) -> list[Method]:
    """Ask a server for its services by reflection; give their methods.

    Raises AssertionError if one of our packages is served and not in the catalogue.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        plain: Any = channel  # its stub's type knows sync channels only
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(plain)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [each async for each in stub.ServerReflectionInfo(iter([request]))]
    named = {each.name for each in answers[0].list_services_response.service}
    ours = {each for each in named if each.startswith("secmesh.")}
    found = [
        each
        for each in catalogue.methods.values()
        if each.descriptor.containing_service.full_name in ours
    ]
    known = {each.descriptor.containing_service.full_name for each in found}
    assert ours == known, f"served and not in the contract: {ours - known}"
    return found


async def attacked(
    address: str, token: str, attacks: Iterator[tuple[Method, str, Message]]
) -> list[Answered]:
    """Make all calls, some at a time."""
    places = asyncio.Semaphore(_AT_ONCE)
    async with grpc.aio.insecure_channel(address) as channel:

        async def one(method: Method, label: str, request: Message) -> Answered:
            async with places:
                return await _called(channel, token, method, label, request)

        return await asyncio.gather(*(one(*attack) for attack in attacks))


async def _called(
    channel: grpc.aio.Channel, token: str, method: Method, label: str, request: Message
) -> Answered:
    sent, seen = request.SerializeToString(), b""
    metadata = (("authorization", f"Bearer {token}"),)
    streams = method.descriptor.client_streaming, method.descriptor.server_streaming
    start: Any = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }[streams]
    # What is let in may go on for ever, unless the caller ends it.
    listens = streams == (False, True) and not label.startswith(Swap.ALL.value)
    call = start(method.path)(
        iter([sent]) if streams[0] else sent,
        metadata=metadata,
        timeout=_STREAM_SECONDS if listens else _CALL_SECONDS,
    )
    code, reason = grpc.StatusCode.OK, ""
    try:
        if streams[1]:
            async for part in call:
                seen += part
        else:
            seen += await call
    except grpc.aio.AioRpcError as error:
        code = error.code()
        trailers = [*(error.trailing_metadata() or ()), *(error.initial_metadata() or ())]
        told = [value if isinstance(value, bytes) else value.encode() for _, value in trailers]
        seen += b"\n".join([(error.details() or "").encode(), *told])
        reason = _reason(trailers)
    return Answered(method, label, sent, seen, code, reason)


def _reason(trailers: Sequence[tuple[str, Any]]) -> str:
    info = error_details_pb2.ErrorInfo()
    for key, value in trailers:
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return str(info.reason)
    return ""


def attacks(
    methods: Sequence[Method], catalogue: Catalogue, planted: Planted, *, every: int
) -> Iterator[tuple[Method, str, Message]]:
    """Give the calls, with each thing swapped.

    All names: of each kind, where a method's names are of any kind or a record is carried. Where
    own names let a call in, records refer to each kind, and all else takes each ``every``-th.
    """
    kinds = list(catalogue.record_kinds.values())
    for method in methods:
        carries = carries_record(method.descriptor.input_type)
        for number, kind in enumerate(kinds):
            if number and not (method.per_kind or carries):
                break
            for swap in Swap:
                wide = swap is Swap.ALL or (carries and swap is Swap.REFERENCES)
                if number % every and not wide:
                    continue
                for request in Writer(catalogue, planted, kind, swap).requests(method):
                    yield method, f"{swap.value} {kind.collection}", request
