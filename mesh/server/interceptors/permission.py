"""Lets a call pass if the caller holds its permission and its names are the caller's tenant's."""

from collections.abc import Callable, Collection, Iterator
from operator import attrgetter

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldOptions
from google.protobuf.message import Message

from mesh.contract.catalogue import KIND_PLACEHOLDER, Catalogue, CatalogueError, Kind, Method
from mesh.contract.names import EVERY_COLLECTION, collection_of, tenant_of
from mesh.errors import (
    FieldInvalid,
    KindUnknown,
    MethodUnknown,
    PermissionMissing,
    ResourceNotFound,
)
from mesh.server.call import Call
from mesh.server.interceptors.chain import MessageInterceptor
from mesh.server.interceptors.parts import parts_of
from mesh.sql.types import message_type
from mesh.telemetry.calls import UNKNOWN_KIND

_NameReader = Callable[[Message], Iterator[tuple[str, str, bool]]]


class Permission(MessageInterceptor):
    """Judges by the contract alone; a method without a contract is refused.

    Requests within a request, as those of a batch, are judged as if they came alone.
    """

    of_callers = True

    def __init__(self, catalogue: Catalogue) -> None:
        self._kinds = catalogue.record_kinds
        methods = catalogue.methods.values()
        self._readers = {method.path: _name_reader(method) for method in methods if method.names}
        self._parts = {
            method.path: parts for method in methods if (parts := parts_of(method, methods))
        }
        for method in catalogue.methods.values():
            if method.per_kind and not method.names:
                raise CatalogueError(
                    method.descriptor.full_name,
                    "its permission needs a kind and no field names one",
                )

    def check(self, call: Call, message: Message) -> None:
        if call.method is None:
            raise MethodUnknown(call.path)
        self._check(call, call.method, message, "")
        for part in self._parts.get(call.method.path, ()):
            for path, method, request in part.requests(message):
                self._check(call, method, request, f"{path}.")

    def _check(self, call: Call, method: Method, message: Message, path: str) -> None:
        caller = call.caller
        if not caller.may_call(method.path):
            raise PermissionMissing(method.permission)
        if not method.per_kind and not caller.permits(method.permission):
            raise PermissionMissing(method.permission)
        reader = self._readers.get(method.path)
        if reader is None:
            return
        for field, name, of_kind in reader(message):
            tenant = tenant_of(name)
            if tenant is None:
                problem = "is no name under tenants/{tenant}"
                raise FieldInvalid.of(path + field, problem, "NAME_INVALID")
            if of_kind:
                self._require_kind_permission(call, method, path + field, name)
            # As if absent: whether another tenant has it is nobody's business.
            if not caller.acts_for(tenant):
                raise ResourceNotFound(name)
            if call.tenant not in ("", tenant):
                problem = "is of another tenant than the names before it"
                raise FieldInvalid.of(path + field, problem, "TENANT_MISMATCH")
            call.tenant = tenant

    def _require_kind_permission(self, call: Call, method: Method, field: str, name: str) -> None:
        collection = collection_of(name)
        if collection is None and method.any_kind:
            collection = EVERY_COLLECTION
        if collection is None:
            raise FieldInvalid.of(field, "names no collection", "NAME_INVALID")
        verb = method.permission.removeprefix(KIND_PLACEHOLDER + ".")
        call.kind = UNKNOWN_KIND
        kinds = self._kinds_of(collection)
        call.kind = collection
        missing = [
            needed for kind in kinds if not call.caller.permits(needed := kind.permission(verb))
        ]
        if missing and not (method.any_kind and len(missing) < len(kinds)):
            raise PermissionMissing(missing[0])

    def _kinds_of(self, collection: str) -> Collection[Kind]:
        """Give the kinds of a collection; all for the wildcard, where a contract admits it."""
        if collection == EVERY_COLLECTION:
            return self._kinds.values()
        kind = self._kinds.get(collection)
        if kind is None:
            raise KindUnknown(collection)
        return (kind,)


def _name_reader(method: Method) -> _NameReader:
    """Read the resource names of a request; empty ones only if they must not be empty.

    Of each: its field, the name, and whether it names the kind that the permission is of.
    """
    fields = {name: _field_at(method.descriptor.input_type, name) for name in method.names}
    # What a path fills is required.
    required = {name for name in fields if "." in name or _is_required(fields[name].GetOptions())}
    # Names beside the required one point elsewhere, as at a run.
    of_kind = (required or set(method.names)) if method.per_kind else set()
    plain = [(name, attrgetter(name)) for name in fields if not fields[name].is_repeated]
    lists = [(name, attrgetter(name)) for name in fields if fields[name].is_repeated]

    def read(message: Message) -> Iterator[tuple[str, str, bool]]:
        for field, value in plain:
            name = value(message)
            if name or field in required or field in of_kind:
                yield field, name, field in of_kind
        for field, values in lists:
            for name in values(message):
                yield field, name, field in of_kind

    return read


def _field_at(message: Descriptor, path: str) -> FieldDescriptor:
    holder, _, rest = path.partition(".")
    field = message.fields_by_name[holder]
    return _field_at(message_type(field), rest) if rest else field


def _is_required(options: FieldOptions) -> bool:
    behaviour = field_behavior_pb2.field_behavior
    return field_behavior_pb2.REQUIRED in options.Extensions[behaviour]
