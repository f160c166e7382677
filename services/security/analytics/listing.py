"""The rows of reports: groups of records, or records by some of their fields."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import NAME, Kind
from mesh.errors import FieldInvalid
from mesh.sql.document import is_askable
from mesh.sql.order import order_clauses, parse_order
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from secmesh.records.v1.aggregate_pb2 import Scalar
from services.security.analytics.documents import Table
from services.security.analytics.limits import Limits, conditions_of
from services.security.analytics.widgets import COUNT, Asked, Widgets
from services.security.errors import ReportTooLarge

MAX_ROWS = 10_000
_RECORD = "record."


class Listing:
    """Makes the table that a report's query asks for."""

    def __init__(self, store: Store, widgets: Widgets) -> None:
        self._store = store
        self._widgets = widgets

    async def table(
        self, connection: AsyncConnection, tenant: str, title: str, query: Any, limits: Limits
    ) -> Table:
        """Give all rows, or as many as the query's own limit says; ReportTooLarge.

        Also what AggregateRecords and ListRecords refuse: FieldInvalid, FilterInvalid,
        OrderInvalid, KindUnknown, PermissionMissing.
        """
        kind = self._widgets.readable(query.record_type)
        if query.group_by or query.metrics:
            return await self._counted(connection, tenant, title, query, limits)
        target = self._store.target(kind.collection)
        if not query.columns:
            raise FieldInvalid.of("query.columns", "must be set for a list", "REQUIRED")
        cells = [_cell(target, name, place) for place, name in enumerate(query.columns)]
        # The name of a record is made of its ids; many kinds have a field of that name.
        named = (name for name in query.columns if name != _RECORD + NAME)
        wanted = {name.removeprefix(_RECORD) for name in named}
        chosen = [name for name in target.codec.public_columns if name in wanted]
        ids = [each for each in target.kind.pattern.columns if each not in chosen]
        statement = self._store.select(kind.collection, tenant, [*ids, *chosen])
        statement = statement.where(
            *conditions_of(self._store, target, tenant, limits, query.filter)
        )
        order = order_clauses(target.table, parse_order(query.order_by, target))
        size = _size(query)
        found = await self._store.messages(
            kind.collection, statement.order_by(*order).limit(size + 1), connection=connection
        )
        if len(found) > size and not _has_own_limit(query):
            raise ReportTooLarge(f"{MAX_ROWS} rows")
        rows = [[cell(record) for cell in cells] for record in found[:size]]
        return Table(title, list(query.columns), rows, query.record_type)

    async def _counted(
        self, connection: AsyncConnection, tenant: str, title: str, query: Any, limits: Limits
    ) -> Table:
        for name in ("columns", "order_by"):
            if getattr(query, name):
                raise FieldInvalid.of(f"query.{name}", "is of lists, not of groups", "NOT_ALLOWED")
        asked = Asked(
            query.record_type,
            query.filter,
            list(query.group_by),
            list(query.metrics) or [COUNT],
        )
        groups = await self._widgets.groups(connection, tenant, asked, limits)
        rows = [
            [scalar_value(each) for each in (*group.keys, *group.values)]
            for group in groups[: _size(query)]
        ]
        return Table(title, [*asked.group_by, *asked.metrics], rows, query.record_type)


def scalar_value(scalar: Scalar) -> Any:
    """Give a value as JSON has it; None if it is absent."""
    which = scalar.WhichOneof("value")
    if which is None:
        return None
    value = getattr(scalar, which)
    return value.ToJsonString() if which in ("timestamp_value", "duration_value") else value


def _has_own_limit(query: Any) -> bool:
    return bool(query.HasField("limit") and query.limit <= MAX_ROWS)


def _size(query: Any) -> int:
    return int(query.limit) if _has_own_limit(query) else MAX_ROWS


def _cell(target: KindTable, name: str, place: int) -> Callable[[Any], Any]:
    """Give what reads a column's value out of a record; FieldInvalid."""
    kind, bare = target.kind, name.removeprefix(_RECORD)
    outer = name.startswith(_RECORD)
    if outer and bare == NAME:
        return lambda record: record.name
    field = target.codec.fields.get(bare)
    if field is None or not is_askable(field) or outer != (bare in _envelope(kind)):
        raise FieldInvalid.of(f"query.columns[{place}]", f"{name!r} is no field")
    known: FieldDescriptor = field
    body = kind.body_field or ""
    return lambda record: _value(record if outer else getattr(record, body), known)


def _envelope(kind: Kind) -> Sequence[str]:
    return [field.name for field in kind.envelope_fields if field.name != NAME]


def _value(holder: Any, field: FieldDescriptor) -> Any:
    """Give a field as JSON has it; None if it is absent."""
    if field.has_presence and not holder.HasField(field.name):
        return None
    if field.message_type is None and field.enum_type is None and not field.is_repeated:
        return getattr(holder, field.name)
    alone = type(holder)()
    if field.is_repeated or field.message_type is not None:
        getattr(alone, field.name).MergeFrom(getattr(holder, field.name))
    else:
        setattr(alone, field.name, getattr(holder, field.name))
    return MessageToDict(alone, preserving_proto_field_name=True).get(field.name)
