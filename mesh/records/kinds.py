"""The catalogue of kinds as callers read it."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from mesh.cel.types import describe, type_of
from mesh.contract.catalogue import Catalogue, Kind
from mesh.contract.image import comment
from mesh.sql.document import is_askable
from mesh.sql.order import RECORD, may_sort
from secmesh.records.v1 import record_requests_pb2


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
        append_only=kind.option.append_only,
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
        type=describe(type_of(field)),
        filterable=is_askable(field),
        sortable=may_sort(field),
        description=comment(field.full_name),
    )
