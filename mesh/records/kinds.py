"""The catalogue of kinds as callers read it."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import Catalogue, Kind
from mesh.contract.image import comment
from mesh.sql.document import is_secret
from mesh.sql.order import RECORD, may_sort
from mesh.sql.types import Storage, item_storage, message_type, storage_of
from secmesh.records.v1 import record_requests_pb2

_CEL_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: "int",
    FieldDescriptor.CPPTYPE_INT64: "int",
    FieldDescriptor.CPPTYPE_UINT32: "uint",
    FieldDescriptor.CPPTYPE_UINT64: "uint",
    FieldDescriptor.CPPTYPE_DOUBLE: "double",
    FieldDescriptor.CPPTYPE_FLOAT: "double",
    FieldDescriptor.CPPTYPE_BOOL: "bool",
    FieldDescriptor.CPPTYPE_ENUM: "int",
}


def describe_kinds(catalogue: Catalogue) -> record_requests_pb2.ListKindsResponse:
    """Describe the record kinds of a catalogue, in the order of their collections."""
    return record_requests_pb2.ListKindsResponse(
        kinds=[_describe(kind) for _, kind in sorted(catalogue.record_kinds.items())]
    )


def _describe(kind: Kind) -> record_requests_pb2.KindDescription:
    return record_requests_pb2.KindDescription(
        collection=kind.collection,
        body_field=kind.body_field or "",
        message=kind.descriptor.full_name,
        description=comment(kind.descriptor.full_name),
        permission_prefix=f"{kind.option.module}.{kind.collection}",
        fields=_fields(kind),
        output_only=kind.option.output_only,
        history=kind.option.history,
    )


def _fields(kind: Kind) -> Iterator[record_requests_pb2.FieldDescription]:
    """Describe the body's fields, which stand bare, then the envelope's."""
    for field in kind.descriptor.fields:
        yield _field(field, field.name)
    for field in kind.envelope_fields:
        yield _field(field, f"{RECORD}{field.name}")


def _field(field: FieldDescriptor, name: str) -> record_requests_pb2.FieldDescription:
    return record_requests_pb2.FieldDescription(
        name=name,
        type=cel_type(field),
        filterable=not is_secret(field) and storage_of(field) is not Storage.OPAQUE,
        sortable=may_sort(field),
        description=comment(field.full_name),
    )


def cel_type(field: FieldDescriptor) -> str:
    """Name the CEL type of a field, such as ``string`` or ``list(string)``."""
    storage = storage_of(field)
    if storage is Storage.MAP:
        entry = message_type(field).fields_by_name
        return f"map({_item_type(entry['key'])}, {_item_type(entry['value'])})"
    item = _item_type(field)
    return f"list({item})" if storage is Storage.LIST else item


def _item_type(field: FieldDescriptor) -> str:
    storage = item_storage(field)
    if storage in (Storage.TIMESTAMP, Storage.DURATION):
        return storage.name.lower()
    if field.message_type is not None:
        return str(field.message_type.full_name)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "string"
    return _CEL_SCALARS[field.cpp_type]
