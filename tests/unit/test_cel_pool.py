"""The types of one kind: whole, but for the bodies of others."""

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool

from mesh.cel import Environment
from mesh.cel.pool import pool_of
from mesh.contract.catalogue import Kind, load_catalogue

PACKAGES = ("secmesh.crypto.v1", "secmesh.inventory.v1", "secmesh.security.v1")
KINDS = [kind for package in PACKAGES for kind in load_catalogue(package).kinds.values()]


def described(message: Descriptor, without: frozenset[str] = frozenset()) -> dict[str, object]:
    """Tell of a message what conditions see of it, at any depth."""
    found: dict[str, object] = {}
    waiting = [message]
    while waiting:
        each = waiting.pop()
        if each.full_name in found:
            continue
        fields = [field for field in each.fields if field.full_name not in without]
        found[each.full_name] = [
            (
                field.name,
                field.number,
                field.type,
                field.is_repeated,
                field.has_presence,
                field.message_type and field.message_type.full_name,
                field.enum_type
                and [(value.name, value.number) for value in field.enum_type.values],
                field.containing_oneof and field.containing_oneof.name,
            )
            for field in fields
        ]
        found[f"{each.full_name} is a map"] = each.GetOptions().map_entry
        waiting.extend(field.message_type for field in fields if field.message_type is not None)
    return found


def pool(kind: Kind) -> tuple[DescriptorPool, frozenset[str]]:
    if kind.envelope is None:
        return pool_of([kind.descriptor], ()), frozenset()
    bodies = set(kind.envelope.fields) - set(kind.envelope_fields)
    made = pool_of([kind.descriptor, kind.envelope], bodies)
    return made, frozenset(field.full_name for field in bodies)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.descriptor.full_name)
def test_a_pool_describes_a_kind_as_the_contract_does(kind: Kind) -> None:
    made, bodies = pool(kind)
    for message in (kind.descriptor, kind.envelope):
        if message is not None:
            copied = made.FindMessageTypeByName(message.full_name)
            assert described(copied) == described(message, bodies)
    assert Environment.of_kind(kind).compile("true").fields == frozenset()


def test_a_pool_knows_no_other_kind() -> None:
    kinds = load_catalogue("secmesh.inventory.v1").record_kinds
    kind = kinds["s3_buckets"]
    made, bodies = pool(kind)
    assert len(bodies) == len(kinds)
    for other in kinds.values():
        if other is not kind:
            with pytest.raises(KeyError):
                made.FindMessageTypeByName(other.descriptor.full_name)
