"""The catalogue refuses contracts that break their own rules, and names the culprit."""

from collections.abc import Callable

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

from mesh.contract.catalogue import CatalogueError, build_catalogue, load_catalogue
from secmesh.options.v1 import field_pb2, kind_pb2, method_pb2

FileProto = descriptor_pb2.FileDescriptorProto


def contract() -> FileProto:
    """A correct contract with one record kind, one resource and one method."""
    file = FileProto(name="toy/v1/toy.proto", package="toy.v1", syntax="proto3")
    body = file.message_type.add(name="Gadget")
    body.field.add(name="serial", number=1, type=9, label=1)
    body.options.Extensions[kind_pb2.kind].CopyFrom(
        kind_pb2.Kind(module="toy", collection="gadgets")
    )
    record = file.message_type.add(name="Record")
    record.oneof_decl.add(name="body")
    record.field.add(name="name", number=1, type=9, label=1)
    record.field.add(
        name="gadget", number=100, type=11, label=1, type_name=".toy.v1.Gadget", oneof_index=0
    )
    service = file.service.add(name="ToyService")
    method = service.method.add(
        name="GetRecord", input_type=".toy.v1.Record", output_type=".toy.v1.Record"
    )
    method.options.Extensions[method_pb2.method].permission = "{kind}.get"
    method.options.Extensions[annotations_pb2.http].get = "/toy/v1/{name=tenants/*/*/*}"
    return file


def load(file: FileProto) -> FileDescriptor:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    # Options must be readable as extensions, so they are parsed by the default pool's classes.
    return pool.FindFileByName(file.name)


def test_a_correct_contract_loads() -> None:
    catalogue = build_catalogue("toy.v1", [load(contract())])
    assert list(catalogue.kinds) == ["gadgets"]
    kind = catalogue.kinds["gadgets"]
    assert kind.permission("get") == "toy.gadgets.get"
    assert kind.pattern.text == "tenants/{tenant}/gadgets/{record}"
    method = catalogue.methods["/toy.v1.ToyService/GetRecord"]
    assert method.per_kind
    assert not method.idempotent


def no_kind(file: FileProto) -> None:
    file.message_type[0].options.ClearExtension(kind_pb2.kind)


def no_module(file: FileProto) -> None:
    file.message_type[0].options.Extensions[kind_pb2.kind].module = ""


def no_collection(file: FileProto) -> None:
    file.message_type[0].options.Extensions[kind_pb2.kind].collection = ""


def reference_to_no_kind(file: FileProto) -> None:
    field = file.message_type[0].field[0]
    field.options.Extensions[field_pb2.field].references = "widgets"


def index_over_no_field(file: FileProto) -> None:
    file.message_type[0].options.Extensions[kind_pb2.kind].indexes.add(fields=["colour"])


def field_of_envelope(file: FileProto) -> None:
    file.message_type[0].field[0].name = "etag"
    file.message_type[1].field.add(name="etag", number=2, type=9, label=1)


def two_kinds_of_one_name(file: FileProto) -> None:
    other = file.message_type.add(name="Twin")
    other.options.CopyFrom(file.message_type[0].options)
    file.message_type[1].field.add(
        name="twin", number=101, type=11, label=1, type_name=".toy.v1.Twin", oneof_index=0
    )


def no_permission(file: FileProto) -> None:
    file.service[0].method[0].options.ClearExtension(method_pb2.method)


def odd_permission(file: FileProto) -> None:
    file.service[0].method[0].options.Extensions[method_pb2.method].permission = "Everything!"


def no_route(file: FileProto) -> None:
    file.service[0].method[0].options.ClearExtension(annotations_pb2.http)


def route_taken(file: FileProto) -> None:
    twin = file.service[0].method.add()
    twin.CopyFrom(file.service[0].method[0])
    twin.name = "ReadRecord"


@pytest.mark.parametrize(
    ("spoil", "culprit", "problem"),
    [
        (no_kind, "toy.v1.Record.gadget", "has no kind"),
        (no_module, "toy.v1.Gadget", "names no module"),
        (no_collection, "toy.v1.Gadget", "names no collection"),
        (reference_to_no_kind, "toy.v1.Gadget.serial", "'widgets', which is no kind"),
        (index_over_no_field, "toy.v1.Gadget", "'colour'"),
        (field_of_envelope, "toy.v1.Gadget", "'etag' is one of the envelope"),
        (two_kinds_of_one_name, "toy.v1.Twin", "taken by toy.v1.Gadget"),
        (no_permission, "toy.v1.ToyService.GetRecord", "permission"),
        (odd_permission, "toy.v1.ToyService.GetRecord", "ill-formed"),
        (no_route, "toy.v1.ToyService.GetRecord", "google.api.http"),
        (route_taken, "toy.v1.ToyService.ReadRecord", "taken by toy.v1.ToyService.GetRecord"),
    ],
)
def test_a_broken_contract_is_refused_by_name(
    spoil: Callable[[FileProto], None], culprit: str, problem: str
) -> None:
    file = contract()
    spoil(file)
    with pytest.raises(CatalogueError) as refused:
        build_catalogue("toy.v1", [load(file)])
    assert refused.value.culprit == culprit
    assert problem in refused.value.problem


def test_a_package_without_contracts_is_refused() -> None:
    with pytest.raises(CatalogueError, match=r"secmesh\.nothing\.v1"):
        load_catalogue("secmesh.nothing.v1")


def test_the_inventory_catalogue_is_whole() -> None:
    catalogue = load_catalogue("secmesh.inventory.v1")
    assert catalogue.record_kinds.keys() < catalogue.kinds.keys()
    assert "iam_users" in catalogue.record_kinds
    assert catalogue.kinds["claims"].pattern.columns == ("tenant_id", "ssp_id", "id")
    assert all(method.routes for method in catalogue.methods.values())
    assert {name.rpartition(".")[2] for name in catalogue.services} == {
        "BackupService",
        "CatalogService",
        "ComplianceService",
        "ContradictionService",
        "ControlService",
        "EventService",
        "ExceptionService",
        "HistoryService",
        "OrganizationService",
        "RecordService",
        "StoreService",
        "SyncService",
        "TenantRemovalService",
        "WebhookService",
    }
