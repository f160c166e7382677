"""The messages that conditions over one kind lead to, apart from all others.

CEL reads each message that it is told of with its whole file, and all files that this one needs:
the bodies of all kinds for the sake of their envelope, and the options of the contract. That took
seven milliseconds for each environment; of a pool of its own it takes one.
"""

from collections.abc import Collection, Iterable, Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool


def pool_of(messages: Iterable[Descriptor], without: Iterable[FieldDescriptor]) -> DescriptorPool:
    """Make a pool of messages and all that they hold, without some fields of theirs."""
    return _Part(messages, frozenset(field.full_name for field in without)).pool()


class _Part:
    """Some messages of some files, closed under what their fields hold."""

    def __init__(self, messages: Iterable[Descriptor], without: frozenset[str]) -> None:
        """``without`` names fields in full."""
        self._without = without
        self._files: dict[str, FileDescriptor] = {}
        self._messages: dict[str, dict[str, Descriptor]] = {}
        """Outermost messages by file and name; what stands in one comes with it."""
        waiting = [_outermost(message) for message in messages]
        while waiting:
            message = waiting.pop()
            known = self._messages.setdefault(message.file.name, {})
            if message.name not in known:
                known[message.name] = message
                self._files[message.file.name] = message.file
                waiting.extend(self._held(message))

    def pool(self) -> DescriptorPool:
        """Make a pool of them."""
        pool = DescriptorPool()
        added: set[str] = set()

        def add(file: FileDescriptor) -> None:
            if file.name not in added:
                added.add(file.name)
                needed = self._needed(file)
                for each in needed.values():
                    add(each)
                pool.AddSerializedFile(self._described(file, needed).SerializeToString())

        for file in self._files.values():
            add(file)
        return pool

    def _fields(self, message: Descriptor) -> Iterator[FieldDescriptor]:
        """Give the fields of a message and of those that stand in it."""
        yield from (each for each in message.fields if each.full_name not in self._without)
        for nested in message.nested_types:
            yield from self._fields(nested)

    def _held(self, message: Descriptor) -> Iterator[Descriptor]:
        for field in self._fields(message):
            if field.message_type is not None:
                yield _outermost(field.message_type)

    def _needed(self, file: FileDescriptor) -> dict[str, FileDescriptor]:
        """Give the other files whose types stand in the messages of one."""
        found: dict[str, FileDescriptor] = {}
        for message in self._messages.get(file.name, {}).values():
            for field in self._fields(message):
                of = field.message_type or field.enum_type
                if of is not None and of.file.name != file.name:
                    found[of.file.name] = of.file
        return found

    def _described(self, file: FileDescriptor, needed: Iterable[str]) -> FileDescriptorProto:
        """Describe a file with its chosen messages and all its enums."""
        whole = FileDescriptorProto()
        file.CopyToProto(whole)
        part = FileDescriptorProto(
            name=whole.name,
            package=whole.package,
            syntax=whole.syntax,
            dependency=needed,
            enum_type=whole.enum_type,
        )
        chosen = self._messages.get(file.name, {})
        for message in whole.message_type:
            if message.name in chosen:
                fields = chosen[message.name].fields
                _keep(
                    message, {each.name for each in fields if each.full_name not in self._without}
                )
                part.message_type.append(message)
        return part


def _outermost(message: Descriptor) -> Descriptor:
    return message if message.containing_type is None else _outermost(message.containing_type)


def _keep(message: DescriptorProto, names: Collection[str]) -> None:
    """Keep some fields of a message, and the choices that one of them is in."""
    fields = [field for field in message.field if field.name in names]
    places = sorted({field.oneof_index for field in fields if field.HasField("oneof_index")})
    choices = [message.oneof_decl[place] for place in places]
    for field in fields:
        if field.HasField("oneof_index"):
            field.oneof_index = places.index(field.oneof_index)
    kept = DescriptorProto(field=fields, oneof_decl=choices)
    message.ClearField("field")
    message.ClearField("oneof_decl")
    message.MergeFrom(kept)
