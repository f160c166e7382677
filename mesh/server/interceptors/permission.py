"""Lets a call pass if the caller holds its permission and its names are the caller's tenant's."""

from collections.abc import Callable, Iterable, Iterator

from google.api import field_behavior_pb2
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
from mesh.telemetry.calls import UNKNOWN_KIND


class Permission(MessageInterceptor):
    """Judges by the contract alone; a method without a contract is refused."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._kinds = catalogue.record_kinds
        self._readers = {
            path: _name_reader(method) for path, method in catalogue.methods.items() if method.names
        }
        for method in catalogue.methods.values():
            if method.per_kind and not method.names:
                raise CatalogueError(
                    method.descriptor.full_name,
                    "its permission needs a kind and no field names one",
                )

    def check(self, call: Call, message: Message) -> None:
        method = call.method
        if method is None:
            raise MethodUnknown(call.path)
        caller = call.caller
        if not method.per_kind and not caller.permits(method.permission):
            raise PermissionMissing(method.permission)
        reader = self._readers.get(method.path)
        if reader is None:
            return
        for field, name, of_kind in reader(message):
            tenant = tenant_of(name)
            if tenant is None:
                raise FieldInvalid.of(field, "is no name under tenants/{tenant}", "NAME_INVALID")
            if of_kind:
                self._require_kind_permission(call, method, field, name)
            # As if absent: whether another tenant has it is nobody's business.
            if not caller.acts_for(tenant):
                raise ResourceNotFound(name)

    def _require_kind_permission(self, call: Call, method: Method, field: str, name: str) -> None:
        collection = collection_of(name)
        if collection is None:
            raise FieldInvalid.of(field, "names no collection", "NAME_INVALID")
        verb = method.permission.removeprefix(KIND_PLACEHOLDER + ".")
        call.kind = UNKNOWN_KIND
        kinds = self._kinds_of(collection)
        call.kind = collection
        for kind in kinds:
            needed = kind.permission(verb)
            if not call.caller.permits(needed):
                raise PermissionMissing(needed)

    def _kinds_of(self, collection: str) -> Iterable[Kind]:
        """Give the kinds of a collection; all for the wildcard, where a contract admits it."""
        if collection == EVERY_COLLECTION:
            return self._kinds.values()
        kind = self._kinds.get(collection)
        if kind is None:
            raise KindUnknown(collection)
        return (kind,)


def _name_reader(method: Method) -> Callable[[Message], Iterator[tuple[str, str, bool]]]:
    """Read the resource names of a request; empty ones only if they must not be empty.

    Of each: its field, the name, and whether it names the kind that the permission is of.
    """
    fields = method.descriptor.input_type.fields_by_name
    required = {name for name in method.names if _is_required(fields[name].GetOptions())}
    # Names beside the required one point elsewhere, as at a run.
    of_kind = (required or set(method.names)) if method.per_kind else set()
    plain = [name for name in method.names if not fields[name].is_repeated]
    lists = [name for name in method.names if fields[name].is_repeated]

    def read(message: Message) -> Iterator[tuple[str, str, bool]]:
        for field in plain:
            name = getattr(message, field)
            if name or field in required or field in of_kind:
                yield field, name, field in of_kind
        for field in lists:
            for name in getattr(message, field):
                yield field, name, field in of_kind

    return read


def _is_required(options: FieldOptions) -> bool:
    behaviour = field_behavior_pb2.field_behavior
    return field_behavior_pb2.REQUIRED in options.Extensions[behaviour]
