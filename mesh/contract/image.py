"""The descriptor image of the build: every contract with its comments."""

import importlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

_GENERATED = "_pb2.py"
"""How the names of generated modules of messages end."""


def image_bytes() -> bytes:
    """Give the image as a serialized FileDescriptorSet; Envoy takes the same bytes."""
    return (files("secmesh") / "image.binpb").read_bytes()


def image() -> descriptor_pb2.FileDescriptorSet:
    """Give the image parsed; it is not kept, for it takes 9 MiB."""
    return descriptor_pb2.FileDescriptorSet.FromString(image_bytes())


def _modules(package: str) -> Iterator[str]:
    """Give the generated modules of a package; that of each file stands in the package's folder."""
    try:
        folder = files(package)
    except ModuleNotFoundError:
        return
    for each in folder.iterdir():
        if each.name.endswith(_GENERATED):
            yield each.name.removesuffix(".py")


@cache
def package_files(package: str) -> tuple[FileDescriptor, ...]:
    """Load every generated module of one package of ours and give its files, in path order.

    Our packages have folders of their own, so that the image need not be parsed for their names.
    """
    folder = package.replace(".", "/")
    names = sorted(f"{folder}/{module.removesuffix('_pb2')}.proto" for module in _modules(package))
    for name in names:
        importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    pool = descriptor_pool.Default()
    return tuple(pool.FindFileByName(name) for name in names)


# Field numbers in descriptor.proto by which source locations address declarations.
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_FIELD, _NESTED, _NESTED_ENUM, _ONEOF = 2, 3, 4, 8
_METHOD, _VALUE = 2, 2

_Path = tuple[int, ...]


def _message_paths(
    message: descriptor_pb2.DescriptorProto, name: str, path: _Path
) -> Iterator[tuple[_Path, str]]:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, _FIELD, index), f"{name}.{field.name}"
    for index, oneof in enumerate(message.oneof_decl):
        yield (*path, _ONEOF, index), f"{name}.{oneof.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message_paths(nested, f"{name}.{nested.name}", (*path, _NESTED, index))
    for index, enum in enumerate(message.enum_type):
        yield from _enum_paths(enum, f"{name}.{enum.name}", (*path, _NESTED_ENUM, index))


def _enum_paths(
    enum: descriptor_pb2.EnumDescriptorProto, name: str, path: _Path
) -> Iterator[tuple[_Path, str]]:
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, _VALUE, index), f"{name}.{value.name}"


def _file_paths(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[_Path, str]]:
    prefix = file.package
    for index, message in enumerate(file.message_type):
        yield from _message_paths(message, f"{prefix}.{message.name}", (_MESSAGE, index))
    for index, enum in enumerate(file.enum_type):
        yield from _enum_paths(enum, f"{prefix}.{enum.name}", (_ENUM, index))
    for index, service in enumerate(file.service):
        name = f"{prefix}.{service.name}"
        yield (_SERVICE, index), name
        for place, method in enumerate(service.method):
            yield (_SERVICE, index, _METHOD, place), f"{name}.{method.name}"


@cache
def comments() -> dict[str, str]:
    """Give the leading comment of every declaration by its full name.

    Enum values stand under their enum (``pkg.Enum.VALUE``), fields under their message.
    """
    found: dict[str, str] = {}
    for file in image().file:
        texts = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
            if location.leading_comments
        }
        for path, name in _file_paths(file):
            if path in texts:
                lines = texts[path].strip("\n").splitlines()
                found[name] = "\n".join(line.removeprefix(" ").rstrip() for line in lines)
    return found


def comment(full_name: str) -> str:
    """Give the comment of a declaration, empty if it has none."""
    return comments().get(full_name, "")
