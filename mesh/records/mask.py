"""Read masks (AIP-157): the fields of a resource that a caller wants to see."""

from collections.abc import Iterable, Sequence

from google.protobuf import field_mask_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import NAME
from mesh.errors import MaskInvalid
from mesh.sql.document import is_secret
from mesh.sql.tables import KindTable

_EVERYTHING = "*"


class ReadMask:
    """A mask that was checked against one kind; an empty one shows everything."""

    def __init__(self, target: KindTable, paths: Iterable[str]) -> None:
        """Check the paths. MaskInvalid names the first that is no field of the kind.

        Fields of SECRET sensitivity are no fields here, nor are bodies of other kinds.
        """
        self._target = target
        self._paths = tuple(paths)
        if _EVERYTHING in self._paths:
            self._paths = ()
        self._deep = False
        wanted: set[str] = set()
        for path in self._paths:
            wanted.update(self._resolve(path))
        if wanted & target.kind.references.keys():
            # A reference is shown with its tenant.
            wanted.add(target.kind.pattern.columns[0])
        if wanted & target.codec.sealed and not wanted.issuperset(target.kind.pattern.columns):
            # What is sealed is opened by its place; the name is then taken off again.
            wanted.update(target.kind.pattern.columns)
            self._deep = True
        self.columns: Sequence[str] = tuple(
            column for column in target.codec.public_columns if column in wanted
        )
        """Columns to read; none means all."""

    def apply(self, message: Message) -> Message:
        """Give the message, read with ``columns``, without what was not asked for."""
        if not self._deep:
            return message
        kept: Message = message_factory.GetMessageClass(self._target.kind.message)()
        field_mask_pb2.FieldMask(paths=self._paths).MergeMessage(message, kept)
        return kept

    def _resolve(self, path: str) -> Iterable[str]:
        """Give the columns that a path needs."""
        kind = self._target.kind
        first, dot, rest = path.partition(".")
        if path == NAME:
            return kind.pattern.columns
        if first == kind.body_field:
            if not dot:
                return [field.name for field in kind.descriptor.fields]
            return [self._column(kind.descriptor, rest, path)]
        if kind.envelope is not None and first not in {f.name for f in kind.envelope_fields}:
            raise MaskInvalid(path)
        return [self._column(kind.message, path, path)]

    def _column(self, message: Descriptor, inner: str, path: str) -> str:
        column, *deeper = inner.split(".")
        field = _shown(message, column, path)
        for name in deeper:
            # Field masks do not reach into lists and maps.
            if field.message_type is None or field.is_repeated:
                raise MaskInvalid(path)
            field = _shown(field.message_type, name, path)
        self._deep = self._deep or bool(deeper)
        return column


def _shown(message: Descriptor, name: str, path: str) -> FieldDescriptor:
    field = message.fields_by_name.get(name)
    if field is None or is_secret(field):
        raise MaskInvalid(path)
    return field
