"""Records of a stream that are new, as most are: from message to row in as few steps as it takes.

The rules are those of ``ChunkWriter.prepare``, which decides where nothing is made here.
"""

from typing import Any

from mesh.errors import Refusal
from mesh.identifiers import derived_uuid
from mesh.records.ingest_item import Item, Prepared
from mesh.records.ingest_keys import Keys
from mesh.records.writing import RecordWriter
from mesh.sql.tables import KindTable


class NewItems:
    """Makes the items of one kind's records that say nothing but their body."""

    def __init__(
        self, writer: RecordWriter, target: KindTable, keys: Keys, tenant: str, stream: str
    ) -> None:
        """Make records of a tenant; ``stream`` is the UUID that names them."""
        self._rows = writer.fresh_rows(target)
        self._clock = writer.clock
        self._target = target
        self._keys = keys
        self._tenant = tenant
        self._stream = stream
        self._parent = target.kind.pattern.format(tenant, "")
        self.applies = keys.in_rows and self._rows.applies
        """Whether records of the kind can be made so at all."""

    def item(self, sequence: int, record: Any, body: Any) -> Item | None:
        """Give a record as it is stored if it is new; None if others must decide."""
        new_id = derived_uuid(self._stream, sequence)
        name = self._parent + new_id
        moment = self._clock()
        try:
            row = self._rows.row_of_body(record, body, name, (self._tenant, new_id), moment)
        except Refusal:
            return None
        if row is None:
            return None
        item = Item(sequence, record, self._target)
        item.as_new = Prepared(name, row, moment)
        known = self._keys.of_row(row)
        if known is not None:
            item.fields, item.key = known
        return item
