"""Methods that take a file: what their contract must say."""

from collections.abc import Callable

import pytest
from google.api import annotations_pb2, httpbody_pb2
from google.protobuf import any_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from mesh.contract.catalogue import CatalogueError, Upload, build_catalogue, load_catalogue
from secmesh.options.v1 import method_pb2

METHOD = "toy.v1.ToyService.SendToy"
TEXT, MESSAGE = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_MESSAGE


def contract() -> FileDescriptorProto:
    file = FileDescriptorProto(name="toy/v1/toy.proto", package="toy.v1", syntax="proto3")
    file.dependency.append("google/api/httpbody.proto")
    request = file.message_type.add(name="SendToyRequest")
    request.field.add(name="parent", number=1, type=TEXT, label=1)
    request.field.add(
        name="file", number=2, type=MESSAGE, label=1, type_name=".google.api.HttpBody"
    )
    method = file.service.add(name="ToyService").method.add(
        name="SendToy",
        input_type=".toy.v1.SendToyRequest",
        output_type=".toy.v1.SendToyRequest",
        client_streaming=True,
    )
    rule = method.options.Extensions[method_pb2.method]
    rule.permission, rule.upload_bytes = "toy.toys.create", 1000
    route = method.options.Extensions[annotations_pb2.http]
    route.post, route.body = "/toy/v1/{parent=tenants/*}/toys:send", "file"
    return file


def load(file: FileDescriptorProto) -> FileDescriptor:
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, httpbody_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return pool.FindFileByName(file.name)


def test_upload_is_read_from_the_contract() -> None:
    methods = build_catalogue("toy.v1", [load(contract())]).methods
    assert methods["/toy.v1.ToyService/SendToy"].upload == Upload("file", 1000)


def no_limit(file: FileDescriptorProto) -> None:
    file.service[0].method[0].options.Extensions[method_pb2.method].ClearField("upload_bytes")


def no_stream(file: FileDescriptorProto) -> None:
    file.service[0].method[0].client_streaming = False


def no_file(file: FileDescriptorProto) -> None:
    del file.message_type[0].field[1]
    file.service[0].method[0].options.Extensions[annotations_pb2.http].body = "*"


def two_files(file: FileDescriptorProto) -> None:
    twin = file.message_type[0].field.add()
    twin.CopyFrom(file.message_type[0].field[1])
    twin.name, twin.number = "twin", 3


def other_body(file: FileDescriptorProto) -> None:
    file.service[0].method[0].options.Extensions[annotations_pb2.http].body = "*"


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (no_limit, "no upload_bytes"),
        (no_stream, "takes no stream"),
        (no_file, "takes no stream"),
        (two_files, "is not its upload"),
        (other_body, "is not its upload"),
    ],
)
def test_a_broken_contract_is_refused_by_name(
    spoil: Callable[[FileDescriptorProto], None], problem: str
) -> None:
    file = contract()
    spoil(file)
    with pytest.raises(CatalogueError) as refused:
        build_catalogue("toy.v1", [load(file)])
    assert refused.value.culprit == METHOD
    assert problem in refused.value.problem


def test_every_stream_of_files_of_the_inventory_is_bounded() -> None:
    uploads = {
        path: method.upload
        for path, method in load_catalogue("secmesh.inventory.v1").methods.items()
        if method.upload is not None
    }
    assert uploads["/secmesh.inventory.v1.ComplianceService/UploadSsp"] == Upload("file", 32 << 20)
