"""Lets a call pass if the caller holds its permission and its names are the caller's tenant's."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldOptions
from google.protobuf.message import Message

from mesh.contract.catalogue import KIND_PLACEHOLDER, Catalogue, CatalogueError, Kind, Method
from mesh.contract.names import EVERY_COLLECTION, collection_of, tenant_of
from mesh.contract.storage import message_type
from mesh.errors import (
    FieldInvalid,
    KindUnknown,
    MethodUnknown,
    PermissionMissing,
    ResourceNotFound,
)
from mesh.server.call import Call
from mesh.server.interceptors.chain import MessageInterceptor
from mesh.server.interceptors.parts import Part, parts_of
from mesh.telemetry.calls import UNKNOWN_KIND

_NameReader = Callable[[Message], Iterable[tuple[str, str, bool]]]


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a method asks of its callers, put together once."""

    method: Method
    permission: str
    """What every caller needs; empty where that depends on the kind."""
    read: _NameReader | None
    """Reads the resource names of a request; None if it has none."""
    parts: Sequence[Part]
    needed: Mapping[str, Sequence[str]]
    """Permissions by collection, where they are the kind's."""


class Permission(MessageInterceptor):
    """Judges by the contract alone; a method without a contract is refused.

    Requests within a request, as those of a batch, are judged as if they came alone.
    """

    of_callers = True

    def __init__(self, catalogue: Catalogue) -> None:
        methods = catalogue.methods.values()
        kinds = catalogue.record_kinds
        self._rules = {each.path: _rule(each, methods, kinds) for each in methods}

    def check(self, call: Call, message: Message) -> None:
        if call.method is None:
            raise MethodUnknown(call.path)
        rule = self._rules[call.method.path]
        _check(call, rule, message, "")
        for part in rule.parts:
            for path, method, request in part.requests(message):
                _check(call, self._rules[method.path], request, f"{path}.")


def _check(call: Call, rule: _Rule, message: Message, path: str) -> None:
    caller, method = call.caller, rule.method
    if caller.methods and not caller.may_call(method.path):
        raise PermissionMissing(method.permission)
    if rule.permission and not caller.permits(rule.permission):
        raise PermissionMissing(method.permission)
    if rule.read is None:
        return
    for field, name, of_kind in rule.read(message):
        tenant = tenant_of(name)
        if tenant is None:
            problem = "is no name under tenants/{tenant}"
            raise FieldInvalid.of(path + field, problem, "NAME_INVALID")
        if of_kind:
            _require_kind_permission(call, rule, path + field, name)
        # As if absent: whether another tenant has it is nobody's business.
        if not caller.acts_for(tenant):
            raise ResourceNotFound(name)
        if call.tenant not in ("", tenant):
            problem = "is of another tenant than the names before it"
            raise FieldInvalid.of(path + field, problem, "TENANT_MISMATCH")
        call.tenant = tenant


def _require_kind_permission(call: Call, rule: _Rule, field: str, name: str) -> None:
    collection = collection_of(name)
    if collection is None and rule.method.any_kind:
        collection = EVERY_COLLECTION
    if collection is None:
        raise FieldInvalid.of(field, "names no collection", "NAME_INVALID")
    needed = rule.needed.get(collection)
    if needed is None:
        call.kind = UNKNOWN_KIND
        raise KindUnknown(collection)
    call.kind = collection
    permits = call.caller.permits
    missing = [each for each in needed if not permits(each)]
    if missing and not (rule.method.any_kind and len(missing) < len(needed)):
        raise PermissionMissing(missing[0])


def _rule(method: Method, methods: Collection[Method], kinds: Mapping[str, Kind]) -> _Rule:
    permission, needed = method.permission, dict[str, Sequence[str]]()
    if method.per_kind:
        if not method.names:
            problem = "its permission needs a kind and no field names one"
            raise CatalogueError(method.descriptor.full_name, problem)
        verb = permission.removeprefix(KIND_PLACEHOLDER + ".")
        permission, needed = "", {name: (kind.permission(verb),) for name, kind in kinds.items()}
        needed[EVERY_COLLECTION] = tuple(kind.permission(verb) for kind in kinds.values())
    read = _name_reader(method) if method.names else None
    return _Rule(method, permission, read, parts_of(method, methods), needed)


def _name_reader(method: Method) -> _NameReader:
    """Read the resource names of a request; empty ones only if they must not be empty.

    Of each: its field, the name, and whether it names the kind that the permission is of.
    """
    fields = {name: _field_at(method.descriptor.input_type, name) for name in method.names}
    # What a path fills is required.
    required = {name for name in fields if "." in name or _is_required(fields[name].GetOptions())}
    # Names beside the required one point elsewhere, as at a run.
    of_kind = (required or set(method.names)) if method.per_kind else set()
    always = required | of_kind
    plain = [
        (name, attrgetter(name), name in always, name in of_kind)
        for name in fields
        if not fields[name].is_repeated
    ]
    lists = [
        (name, attrgetter(name), name in of_kind) for name in fields if fields[name].is_repeated
    ]

    def read(message: Message) -> Iterable[tuple[str, str, bool]]:
        found = [
            (field, name, kind)
            for field, value, needed, kind in plain
            if (name := value(message)) or needed
        ]
        for field, values, kind in lists:
            found.extend((field, name, kind) for name in values(message))
        return found

    return read


def _field_at(message: Descriptor, path: str) -> FieldDescriptor:
    holder, _, rest = path.partition(".")
    field = message.fields_by_name[holder]
    return _field_at(message_type(field), rest) if rest else field


def _is_required(options: FieldOptions) -> bool:
    behaviour = field_behavior_pb2.field_behavior
    return field_behavior_pb2.REQUIRED in options.Extensions[behaviour]
