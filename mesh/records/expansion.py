"""The records that listed records refer to, fetched with them (one hop, one query a collection)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import NAME
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import FieldInvalid, MaskInvalid, PermissionMissing
from mesh.records.mask import ReadMask
from mesh.server.call import current_call
from mesh.sql.order import RECORD
from mesh.sql.references import ID
from mesh.sql.store import Store
from mesh.sql.tables import KindTable

_MASK = "expand_mask"


class Expansion:
    """What a request wants beside the records of one kind, checked."""

    def __init__(self, store: Store, target: KindTable, request: Any) -> None:
        """Check the fields; FieldInvalid, MaskInvalid, and PermissionMissing for what is referred.

        Whoever may not get the records of a collection may not expand a reference to it.
        """
        self._store = store
        self._kind = target.kind
        self._fields = [
            self._field(name, f"expand[{place}]") for place, name in enumerate(request.expand)
        ]
        shown = ReadMask(target, request.read_mask.paths).columns
        for place, field in enumerate(self._fields):
            if shown and field not in shown:
                raise FieldInvalid.of(f"expand[{place}]", "is not in read_mask", "NOT_SHOWN")
        collections = {self._collection(field) for field in self._fields}
        for collection in sorted(collections):
            needed = store.target(collection).kind.permission("get")
            if not current_call().caller.permits(needed):
                raise PermissionMissing(needed)
        self._masks = _masks(
            [store.target(each) for each in collections], request.expand_mask.paths
        )

    def _field(self, name: str, path: str) -> str:
        field = name.removeprefix(RECORD)
        outer = field in {each.name for each in self._kind.envelope_fields}
        if field not in self._kind.references or outer != name.startswith(RECORD):
            raise FieldInvalid.of(path, f"{name!r} is no reference of {self._kind.collection}")
        return field

    def _collection(self, field: str) -> str:
        return collection_of(self._kind.references[field].text) or ""

    async def of(
        self, records: Iterable[Message], connection: AsyncConnection
    ) -> Mapping[str, Message]:
        """Give the records that these refer to, by name."""
        wanted: dict[str, set[str]] = {}
        tenant = ""
        for record in records:
            for field in self._fields:
                outer = field in {each.name for each in self._kind.envelope_fields}
                holder = record if outer else getattr(record, self._kind.body_field or "")
                name = getattr(holder, field)
                if name:
                    tenant = tenant_of(name) or ""
                    wanted.setdefault(self._collection(field), set()).add(name)
        found: dict[str, Message] = {}
        for collection, names in wanted.items():
            found |= await self._fetched(collection, tenant, sorted(names), connection)
        return found

    async def _fetched(
        self, collection: str, tenant: str, names: Sequence[str], connection: AsyncConnection
    ) -> Mapping[str, Message]:
        target, mask = self._store.target(collection), self._masks[collection]
        columns = list(mask.columns or target.codec.public_columns)
        ids = [name.rpartition("/")[2] for name in names]
        # The id is read once more: the mask may leave the name out, and the key is made of it.
        statement = self._store.select(collection, tenant, [*columns])
        statement = statement.add_columns(target.table.c[ID].label("expanded_id"))
        rows = await self._store.fetch(statement.where(target.table.c[ID].in_(ids)), connection)
        decode = target.codec.decoder(columns)
        return {
            target.kind.pattern.format(tenant, row[-1]): mask.apply(decode(row[:-1]))
            for row in rows
        }


def _masks(targets: Sequence[KindTable], paths: Sequence[str]) -> dict[str, ReadMask]:
    """Give the mask of each collection: paths into the body of one are nothing to the others."""
    masks: dict[str, ReadMask] = {}
    bodies = {target.kind.body_field for target in targets}
    for target in targets:
        others = bodies - {target.kind.body_field}
        own = [path for path in paths if path.partition(".")[0] not in others]
        try:
            # Something must be read, even of a kind that no path leads into.
            masks[target.kind.collection] = ReadMask(target, own or ([NAME] if paths else []))
        except MaskInvalid as invalid:
            raise MaskInvalid(invalid.metadata["path"], _MASK) from None
    return masks
