"""Kinds of security records: which fields of theirs can be tried, and how."""

from collections.abc import Callable
from typing import Any

import pytest
from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import Kind, field_option
from mesh.records.fields import behaves
from mesh.sql.document import is_secret
from secmesh.options.v1 import field_pb2, kind_pb2
from tests.service.security_records import (
    is_given,
    is_required,
)
from tests.service.security_world import KINDS, copy_of
from tests.service.service_made import is_service_made


def plain_fields(kind: Kind) -> list[FieldDescriptor]:
    """Give the fields with one value each that callers may write and read."""
    return [
        field
        for field in kind.descriptor.fields
        if not field.is_repeated
        and field.message_type is None
        and not _is_disguised(field)
        and is_given(field)
        and not is_secret(field)
    ]


def references_of(kind: Kind) -> list[FieldDescriptor]:
    return [f for f in kind.descriptor.fields if field_option(f).references and is_given(f)]


def unique_sets(kind: Kind) -> list[list[FieldDescriptor]]:
    """Give the fields that together are one record's, where the store can compare them."""
    fields = kind.descriptor.fields_by_name
    sets = [[field] for field in fields.values() if field_option(field).unique]
    sets += [[fields[name] for name in each.fields] for each in kind.option.indexes if each.unique]
    if kind.option.natural_key:
        sets.append([fields[name] for name in kind.option.natural_key])
    return [each for each in sets if not any(_is_disguised(field) for field in each)]


def _is_disguised(field: FieldDescriptor) -> bool:
    """Tell whether two equal values are not equal in the store."""
    return field_option(field).at_rest != field_pb2.AT_REST_UNSPECIFIED


def changeable(kind: Kind) -> FieldDescriptor | None:
    """Give a field that an update may change by itself."""
    unique = {field.name for each in unique_sets(kind) for field in each}
    ends = [
        field
        for field in plain_fields(kind)
        if field.name not in unique
        and not field_option(field).references
        and not behaves(field, field_behavior_pb2.IMMUTABLE)
    ]
    texts = [field for field in ends if field.type == FieldDescriptor.TYPE_STRING]
    return next(iter([*texts, *ends]), None)


def body(kind: Kind, record: Any) -> Any:
    return getattr(record, kind.body_field or "")


def given(kind: Kind, record: Any) -> Any:
    """Copy a record without what the service may add to it by itself."""
    copy = copy_of(record)
    for field in kind.descriptor.fields:
        if not is_given(field):
            body(kind, copy).ClearField(field.name)
    return copy


def kinds(condition: Callable[[Kind], object] = lambda _: True) -> pytest.MarkDecorator:
    """Run a test for every kind that meets a condition."""
    return pytest.mark.parametrize(
        "kind", [k for k in KINDS.values() if condition(k)], ids=lambda k: k.collection
    )


def stays(kind: Kind) -> bool:
    """Tell whether nobody can delete a record."""
    return kind.option.rights != kind_pb2.RIGHTS_UNSPECIFIED


def made_by_callers(kind: Kind) -> bool:
    """Tell whether callers can create records."""
    return not is_service_made(kind)


def as_given(record: Any) -> Any:
    """Copy a record without what the service may fill in at any time."""
    copy = copy_of(record)
    inside = getattr(copy, copy.WhichOneof("body"))
    for field in inside.DESCRIPTOR.fields:
        if not is_given(field):
            inside.ClearField(field.name)
    return copy


def enums_of(kind: Kind) -> list[FieldDescriptor]:
    return [field for field in plain_fields(kind) if field.enum_type is not None]


def required_of(kind: Kind) -> list[FieldDescriptor]:
    return [field for field in kind.descriptor.fields if is_required(field) and is_given(field)]
