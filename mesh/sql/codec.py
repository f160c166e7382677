"""Messages to rows and back, by closures that are chosen once for each field."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import NAME, Kind
from mesh.contract.names import NamePattern
from mesh.contract.storage import Storage, storage_of
from mesh.errors import FieldInvalid
from mesh.identifiers import is_uuid7
from mesh.sealing.keyring import KeyRing
from mesh.sql.at_rest import AtRest, needs_keys
from mesh.sql.document import from_json, is_secret, to_json
from mesh.sql.references import ID, TENANT, referred_id
from mesh.sql.sightings import GROUP
from mesh.sql.values import Convert, scalar_decoder, scalar_encoder

Decode = Callable[[Sequence[Any]], Message]

_JSON = frozenset({Storage.MESSAGE, Storage.LIST, Storage.MAP})
_EMPTY = ("[]", "{}")
_REMEMBERED = 256


class Codec:
    """Turns messages of one kind into rows and rows into messages.

    A record travels as its envelope. Times are kept to the microsecond; all else
    comes back equal.
    """

    def __init__(self, kind: Kind, keys: KeyRing | None = None) -> None:
        """Make the codec of a kind; ``keys`` are for what is kept sealed or hashed."""
        self._kind = kind
        # Logs are split by the time in their ids.
        self._timed = kind.option.HasField("partition")
        self._new = message_factory.GetMessageClass(kind.message)
        # Callers choose columns by masks: only so many choices are remembered.
        self._decoders = lru_cache(maxsize=_REMEMBERED)(self._make_decoder)
        fields = (*self._outer, *self._inner)
        self._absent = {field.name: _absent(field) for field in fields}
        self._at_rest = AtRest(kind, keys, self._absent) if needs_keys(kind) else None
        if kind.option.HasField("sightings"):
            # Who writes a row whole says by what it was last seen.
            self._absent[GROUP] = None
        # Descriptors are compared by identity, which is the fastest key there is.
        self._writers = {field: (field.name, _writer(field)) for field in fields}
        self.columns: tuple[str, ...] = (
            *kind.pattern.columns,
            *(field.name for field in fields),
        )
        """All columns in their order: ids, envelope, body."""
        self.public_columns: tuple[str, ...] = tuple(
            name for name in self.columns if name not in self._secret_columns
        )
        """The columns without those that are never shown."""

    @cached_property
    def fields(self) -> Mapping[str, FieldDescriptor]:
        """The field of every column but the ids."""
        return {field.name: field for field in (*self._outer, *self._inner)}

    @cached_property
    def _outer(self) -> tuple[FieldDescriptor, ...]:
        return tuple(field for field in self._kind.envelope_fields if field.name != NAME)

    @cached_property
    def _inner(self) -> tuple[FieldDescriptor, ...]:
        fields = self._kind.descriptor.fields
        if self._kind.envelope is not None:
            return tuple(fields)
        return tuple(field for field in fields if field.name != NAME)

    @cached_property
    def _secret_columns(self) -> frozenset[str]:
        return frozenset(name for name, field in self.fields.items() if is_secret(field))

    @property
    def sealed(self) -> frozenset[str]:
        """The columns that are sealed: they can be read together with the ids alone."""
        return frozenset() if self._at_rest is None else self._at_rest.sealed

    def ids(self, name: str) -> dict[str, str]:
        """Give the id columns of a resource name; FieldInvalid if it is no name of this kind."""
        ids = self._kind.pattern.parse(name)
        if ids is None:
            raise FieldInvalid.of(NAME, f"must be of the form {self._kind.pattern.text}")
        return dict(zip(self._kind.pattern.columns, ids, strict=True))

    def empty_row(self) -> dict[str, Any]:
        """Give a row in which no field is set, and no id."""
        return dict.fromkeys(self._kind.pattern.columns) | self._absent

    def writer(
        self, field: FieldDescriptor, *, nul_free: bool = False
    ) -> tuple[str, Convert | None]:
        """Give a field's column and the way of its values there; references come as names.

        With ``nul_free`` the way of those that surely hold no NUL.
        """
        return (field.name, _writer(field, nul_free=True)) if nul_free else self._writers[field]

    def row(self, message: Message) -> dict[str, Any]:
        """Give the row of a message.

        Raises FieldInvalid for a name of another kind, a record with another body, and
        values that no store keeps (a non-finite number, a time beyond the year 9999).
        """
        row: dict[str, Any] = self.ids(message.name)  # type: ignore[attr-defined]  # every kind has a name
        if self._timed and not is_uuid7(row[ID]):
            raise FieldInvalid.of(NAME, "must end in a UUID of version 7", "ID_INVALID")
        row |= self._absent
        self._fill(row, message)
        body_field = self._kind.body_field
        if body_field is not None:
            if not message.HasField(body_field):
                raise FieldInvalid.of(
                    body_field, f"must be set in a record of {self._kind.collection}"
                )
            self._fill(row, getattr(message, body_field))
        for field, pattern in self._kind.references.items():
            name = row[field]
            if name is not None:
                row[field] = referred_id(field, pattern, name, row[TENANT])
        if self._at_rest is not None:
            self._at_rest.close_row(row)
        return row

    def _fill(self, row: dict[str, Any], message: Message) -> None:
        """Write the fields that are set; most fields of most messages are not."""
        writer_of = self._writers.get
        for field, value in message.ListFields():
            writer = writer_of(field)
            if writer is not None:
                column, convert = writer
                row[column] = value if convert is None else convert(value)

    def message(self, row: Mapping[str, Any], *, secrets: bool = False) -> Message:
        """Give the message of a row; columns that the row lacks stay absent.

        Fields of SECRET sensitivity, at any depth, come back with ``secrets`` only: what
        is answered to a caller is read without. Read with it what is to be written again.
        """
        columns = tuple(row)
        return self.decoder(columns, secrets=secrets)(tuple(row.values()))

    @property
    def absent(self) -> Mapping[str, object]:
        """Give what stands in a column when its field is not set."""
        return self._absent

    def reseal(self, row: Mapping[str, object]) -> dict[str, object]:
        """Give the sealed columns of a row, which has its ids, sealed by the present key.

        SealBroken, SealingKeysMissing.
        """
        return {} if self._at_rest is None else self._at_rest.reseal(row)

    def decoder(self, columns: Sequence[str], *, secrets: bool = False) -> Decode:
        """Give the function that makes a message from values in the order of ``columns``."""
        return self._decoders(tuple(columns), secrets)

    def _make_decoder(self, columns: tuple[str, ...], secrets: bool) -> Decode:
        new, body_field = self._new, self._kind.body_field
        name = self._name_reader(columns)
        outer = self._readers(columns, self._outer, secrets=secrets)
        inner = self._readers(columns, self._inner, secrets=secrets)

        def decode(values: Sequence[Any]) -> Message:
            arguments: dict[str, Any] = {} if name is None else {NAME: name(values)}
            for place, field, convert in outer:
                value = values[place]
                if value is not None:
                    arguments[field] = value if convert is None else convert(value)
            if body_field is None:
                target = arguments
            elif inner:
                target = arguments[body_field] = {}
            for place, field, convert in inner:
                value = values[place]
                if value is not None:
                    target[field] = value if convert is None else convert(value)
            return new(**arguments)

        return self._opening(self._naming(decode, columns), columns, secrets=secrets)

    def _opening(self, decode: Decode, columns: tuple[str, ...], *, secrets: bool) -> Decode:
        """Open the values that are sealed, before they are decoded."""
        at_rest = self._at_rest
        wanted = self.sealed.intersection(columns)
        if not secrets:
            wanted -= self._secret_columns
        if at_rest is None or not wanted:
            return decode
        places = [(columns.index(name), name) for name in wanted]
        ids = [(name, columns.index(name)) for name in self._kind.pattern.columns]

        def decode_opened(values: Sequence[Any]) -> Message:
            opened = list(values)
            where = {name: values[place] for name, place in ids}
            for place, name in places:
                opened[place] = at_rest.open(name, values[place], where)
            return decode(opened)

        return decode_opened

    def _naming(self, decode: Decode, columns: tuple[str, ...]) -> Decode:
        """Write the ids of references as names, before values are decoded."""
        references = self._references_in(columns)
        if not references:
            return decode
        tenant = columns.index(TENANT)

        def decode_names(values: Sequence[Any]) -> Message:
            named = list(values)
            for place, pattern in references:
                if named[place] is not None:
                    named[place] = pattern.format(values[tenant], named[place])
            return decode(named)

        return decode_names

    def _references_in(self, columns: tuple[str, ...]) -> list[tuple[int, NamePattern]]:
        """Give the places of references; their names need the tenant, which is then required."""
        return [
            (columns.index(field), pattern)
            for field, pattern in self._kind.references.items()
            if field in columns
        ]

    def _name_reader(self, columns: tuple[str, ...]) -> Callable[[Sequence[Any]], str] | None:
        """Rebuild the name where all its ids are there."""
        pattern = self._kind.pattern
        if not set(pattern.columns) <= set(columns):
            return None
        places = [columns.index(column) for column in pattern.columns]
        return lambda values: pattern.format(*[values[place] for place in places])

    def _readers(
        self, columns: tuple[str, ...], fields: tuple[FieldDescriptor, ...], *, secrets: bool
    ) -> tuple[tuple[int, str, Convert | None], ...]:
        return tuple(
            (columns.index(field.name), field.name, _reader(field, secrets=secrets))
            for field in fields
            if field.name in columns and (secrets or field.name not in self._secret_columns)
        )


def _absent(field: FieldDescriptor) -> Any:
    """Give what stands in a column when the field is not set."""
    if field.has_presence:
        return None
    storage = storage_of(field)
    if storage in _JSON:
        return "{}" if storage is Storage.MAP else "[]"
    return field.default_value


def _writer(field: FieldDescriptor, *, nul_free: bool = False) -> Convert | None:
    """Give the way from a field's value to its column."""
    if storage_of(field) in _JSON:
        return to_json(field, nul_free=nul_free)
    return scalar_encoder(field, binary=True, nul_free=nul_free)


def _reader(field: FieldDescriptor, *, secrets: bool) -> Convert | None:
    """Give the way from a column to what the constructor of the message takes."""
    storage = storage_of(field)
    if storage not in _JSON:
        return scalar_decoder(field, binary=True)
    decode = from_json(field, secrets=secrets)
    if storage is Storage.MESSAGE:
        return decode
    # Most lists are empty: they need no trip through JSON.
    return lambda text: None if text in _EMPTY else decode(text)
