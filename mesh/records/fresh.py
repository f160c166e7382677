"""New records of one kind turned into rows in one pass, as streams bring them by the thousand.

The rules are those of ``RecordWriter.made`` and ``Codec.row``. This only spares their many steps
where a record surely keeps all of them; of any other it makes nothing, and they decide.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.errors import Refusal
from mesh.identifiers import is_uuid7
from mesh.records.etag import (
    CREATED,
    ETAG,
    WRITTEN,
    BodyEtags,
    bytes_of,
    callers_fields,
    stored_fields,
)
from mesh.records.fields import (
    bearing,
    is_set,
    missing_fields,
    output_test,
    required_fields,
    settle_output_only,
)
from mesh.records.verdicts import Affirms, Verdict, affirms_absence, has_own_rules, verdict
from mesh.server.interceptors.validation import violations_of
from mesh.sql.at_rest import needs_keys
from mesh.sql.codec import Codec
from mesh.sql.references import ID, TENANT, referred_id

Step = tuple[str, Affirms | None, Callable[[Any], Any] | None]
"""Column of a field, what affirms its value, and the way to what is stored."""
Settle = Callable[[Message], None]
_STAMPS = (ETAG, CREATED, WRITTEN)
_REMEMBERED = 512
"""Names whose ids are remembered for each reference: most records of a stream refer to few."""


class FreshRows:
    """Makes the rows of one kind's new records."""

    def __init__(self, kind: Kind, codec: Codec, key: bytes, settle: Settle | None) -> None:
        """Read the rules of a kind once.

        ``key`` is that of etags. ``settle`` has a say in each record before it is judged; what
        it raises counts.
        """
        self._kind = kind
        self._codec = codec
        self._settle = settle
        self._body: str = kind.body_field or ""
        self._timed = kind.option.HasField("partition")
        self._callers = frozenset(callers_fields(kind.envelope))
        self._references = tuple(
            (column, lru_cache(_REMEMBERED)(partial(referred_id, column, pattern)))
            for column, pattern in kind.references.items()
        )
        self._empty = codec.empty_row()
        fields = kind.descriptor.fields
        own, nested = bearing(kind.descriptor, field_behavior_pb2.OUTPUT_ONLY)
        self._output, self._holding_output = frozenset(own), nested
        self._says_output = output_test(kind.descriptor) if own or nested else None
        required, self._holding_required = required_fields(kind.descriptor)
        self._needed = [
            (field.name, self._empty[field.name])
            for field in fields
            if field in required or not affirms_absence(field)
        ]
        self._asks = has_own_rules(kind.descriptor)
        self._unknown = {field for field in fields if verdict(field) is Verdict.UNKNOWN}
        self._steps = {field: self._step(field) for field in fields}
        self._new_steps = {field: self._new_step(field) for field in fields}
        self._nul_free_steps = {field: self._new_step(field, nul_free=True) for field in fields}
        stamp = stored_fields(kind.envelope).get(CREATED)
        self._created = None if stamp is None else codec.writer(stamp)[1]
        self.applies = (
            not kind.option.history
            and not needs_keys(kind)
            and kind.pattern.columns == (TENANT, ID)
            and all(name in stored_fields(kind.envelope) for name in _STAMPS)
        )
        """Whether records of the kind can be made so at all."""
        self._etags = BodyEtags(kind, key) if self.applies else None

    def _step(self, field: FieldDescriptor, *, nul_free: bool = False) -> Step:
        column, convert = self._codec.writer(field, nul_free=nul_free)
        if field in self._holding_required:
            return column, _has_all, convert
        found = verdict(field)
        return column, found if callable(found) else None, convert

    def _new_step(self, field: FieldDescriptor, *, nul_free: bool = False) -> Step:
        """Give the step of a record that is new: what callers may not say is not affirmed."""
        column, affirms, convert = self._step(field, nul_free=nul_free)
        if field in self._output:
            return column, _never, convert
        if field in self._holding_output and field.message_type is not None:
            return column, _without_output(field.message_type, affirms), convert
        return column, affirms, convert

    def row(
        self, given: Any, name: str, ids: tuple[str, str], moment: int
    ) -> dict[str, Any] | None:
        """Give the row of a new record of this name; None if the long way must decide."""
        body = self._bare(given)
        return None if body is None else self.row_of_body(given, body, name, ids, moment)

    def row_of_body(
        self, given: Any, body: Any, name: str, ids: tuple[str, str], moment: int
    ) -> dict[str, Any] | None:
        """Give the same of a record that says nothing but its body, which is given, too."""
        if self._etags is None or (self._timed and not is_uuid7(ids[-1])):
            return None
        if self._settle is not None:
            return self._made(self._settled(given, name), name, ids, moment)
        made = self._made(body, name, ids, moment)
        if made is None and self._says_output is not None and self._says_output(body):
            return self._made(self._settled(given, name), name, ids, moment)
        return made

    def _made(
        self, body: Any, name: str, ids: tuple[str, str], moment: int
    ) -> dict[str, Any] | None:
        row = self._empty.copy()
        row[TENANT], row[ID] = ids
        written = bytes_of(body)
        # The byte zero also stands for other things than NUL, but NUL never without it.
        steps = self._new_steps if 0 in written else self._nul_free_steps
        try:
            surely = self._fill(row, body, steps)
        except Refusal:
            return None
        if not surely or self._etags is None:
            return None
        row[ETAG] = self._etags.of(name, written)
        row[CREATED] = row[WRITTEN] = moment
        return row

    def row_of_known(self, record: Any) -> dict[str, Any] | None:
        """Give the row of a record that was there and now is as told; None as ``row`` does.

        Its etag and the time of the write are left to the caller.
        """
        if any(is_set(record, field) for field in self._callers):
            return None
        row = self._empty.copy()
        row[TENANT], row[ID] = record.name.split("/")[1::2]
        try:
            surely = self._fill(row, getattr(record, self._body), self._steps)
        except Refusal:
            return None
        created = self._created
        if not surely or created is None or not record.HasField(CREATED):
            return None
        row[CREATED] = created(record.create_time)
        return row

    def etag(self, given: Any, name: str) -> str | None:
        """Give the etag that a record of this name would have, whether it is valid or not.

        None if the long way must tell.
        """
        body = self._held(given, name)
        if body is None or self._etags is None:
            return None
        return self._etags.of(name, bytes_of(body))

    def _held(self, given: Any, name: str) -> Any:
        """Give what is stored as the body, not to be changed; None where more than it is said."""
        body = self._bare(given)
        says = self._says_output
        if body is not None and (self._settle is not None or (says is not None and says(body))):
            return self._settled(given, name)
        return body

    def _bare(self, given: Any) -> Any:
        """Give the body of a record of which, but for a name, nothing else is said; else None."""
        body = None
        for field, value in given.ListFields():
            if field.name == self._body:
                body = value
            elif field in self._callers:
                return None
        return body

    def _settled(self, given: Any, name: str) -> Any:
        """Copy what a caller may say, completed by who has a say in it."""
        record = type(given)()
        record.name = name
        held = getattr(record, self._body)
        held.CopyFrom(getattr(given, self._body))
        settle_output_only(None, held)
        if self._settle is not None:
            self._settle(record)
        return held

    def _fill(
        self, row: dict[str, Any], body: Message, steps: Mapping[FieldDescriptor, Step]
    ) -> bool:
        """Write the fields that are set; tell whether the record surely is valid."""
        asks = self._asks
        unknown = self._unknown
        for field, value in body.ListFields():
            column, affirms, convert = steps[field]
            if affirms is not None and not affirms(value):
                return False
            if unknown and field in unknown:
                asks = True
            row[column] = value if convert is None else convert(value)
        for column, empty in self._needed:
            if row[column] == empty:
                return False
        for column, id_of in self._references:
            if row[column] is not None:
                row[column] = id_of(row[column], row[TENANT])
        return not (asks and violations_of(body))


def _has_all(value: Message) -> bool:
    return next(missing_fields(value, ""), None) is None


def _never(_value: Any) -> bool:
    return False


def _without_output(message: Descriptor, affirms: Affirms | None) -> Affirms:
    """Affirm a message in which nothing is said that callers may not say, and what affirms it."""
    says = output_test(message)
    if affirms is None:
        return lambda value: not says(value)
    return lambda value: not says(value) and affirms(value)
