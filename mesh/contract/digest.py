"""A digest of what a catalogue's kinds are, so that stores can tell whether they fit."""

from collections.abc import Iterator
from hashlib import sha256

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto

from mesh.contract.catalogue import Catalogue


def contract_digest(catalogue: Catalogue) -> str:
    """Give the SHA-256, in hexadecimal, of every kind with all that its fields hold.

    Services, requests and comments do not count: they change nothing that is stored.
    """
    found: dict[str, bytes] = {}
    for kind in catalogue.kinds.values():
        for part in _parts(kind.message, found):
            found[part.full_name] = _form(part).SerializeToString(deterministic=True)
    digest = sha256()
    for name in sorted(found):
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(found[name]), found[name]))
    return digest.hexdigest()


def _form(part: Descriptor | EnumDescriptor) -> DescriptorProto | EnumDescriptorProto:
    if isinstance(part, Descriptor):
        message = DescriptorProto()
        part.CopyToProto(message)
        return message
    enum = EnumDescriptorProto()
    part.CopyToProto(enum)
    return enum


def _parts(message: Descriptor, known: dict[str, bytes]) -> Iterator[Descriptor | EnumDescriptor]:
    """Give a message and all that it holds, each once."""
    if message.full_name in known:
        return
    known[message.full_name] = b""
    yield message
    for field in message.fields:
        if field.enum_type is not None:
            yield field.enum_type
        elif field.message_type is not None:
            yield from _parts(field.message_type, known)
