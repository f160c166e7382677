"""Reports: documents made from records, and what is kept of them."""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, ResourceNotFound
from mesh.records.moments import Clock, now
from mesh.records.writing import RecordWriter
from mesh.sql.rows import Rows
from mesh.sql.store import Store
from secmesh.security.v1.vocabulary_pb2 import DocumentFormat, ReportStatus
from services.security.analytics.dashboards import Dashboards
from services.security.analytics.documents import Report, Table
from services.security.analytics.formats import FORMATS
from services.security.analytics.limits import Limits
from services.security.analytics.listing import Listing, scalar_value
from services.security.analytics.widgets import COUNT, Widgets
from services.security.errors import DocumentFormatUnsupported, ReportTooLarge
from services.security.findings.due import moment_of, set_moment

REPORTS = "analytics_reports"
MAX_BYTES = 3 * 1024 * 1024
_PARAMETER = re.compile(r"\{([^{}]*)\}")
_START, _END = "period_start_time", "period_end_time"


@dataclass(frozen=True)
class Made:
    """A document that was made."""

    record: Any
    """The report as it was read."""
    document: bytes
    media_type: str
    row_count: int
    collections: frozenset[str]
    """Those that are in it."""
    moment: int

    @property
    def sha256(self) -> str:
        """Give the digest of the document, in hexadecimal."""
        return hashlib.sha256(self.document).hexdigest()

    def tell(self, body: Any) -> None:
        """Write into a report what is known of its document."""
        body.row_count, body.sha256 = self.row_count, self.sha256
        body.status = ReportStatus.REPORT_STATUS_READY
        body.ClearField("error_message")
        set_moment(body, "generate_time", self.moment)


class Reports:
    """Makes the documents of reports."""

    def __init__(
        self, store: Store, catalogue: Catalogue, widgets: Widgets, clock: Clock = now
    ) -> None:
        self._store = store
        self._clock = clock
        self._dashboards = Dashboards(store, widgets, clock)
        self._listing = Listing(store, widgets)
        self._rows = Rows(store)
        self._writer = RecordWriter(store, catalogue.record_kinds, clock)

    async def generate(self, name: str, *, keep: bool) -> tuple[Message, Made]:
        """Make a document, and give the report as it is then; see ``make``.

        Without ``keep`` the report stays as it was.
        """
        made = await self.make(name)
        if keep:
            return await self._keep(name, made), made
        made.tell(made.record.analytics_report)
        return made.record, made

    async def make(self, name: str) -> Made:
        """Make a document, whole or not at all, and write nothing.

        DocumentFormatUnsupported, ReportTooLarge, ResourceNotFound, and what the report's
        query or a widget of its dashboard is refused for.
        """
        async with self._store.connection() as connection:
            record: Any = await self._store.get(REPORTS, name, connection=connection)
            body, moment = record.analytics_report, self._clock()
            form = FORMATS.get(body.format)
            if form is None:
                word = DocumentFormat.Name(body.format).removeprefix("DOCUMENT_FORMAT_")
                raise DocumentFormatUnsupported(word)
            report = await self._report(connection, tenant_of(name) or "", body)
        # Other calls go on meanwhile.
        document = await asyncio.to_thread(form.write, report)
        if len(document) > MAX_BYTES:
            raise ReportTooLarge(f"{MAX_BYTES} bytes")
        rows = sum(len(table.rows) for table in report.tables)
        read = frozenset(table.collection for table in report.tables)
        return Made(record, document, form.media_type, rows, read, moment)

    async def _report(self, connection: AsyncConnection, tenant: str, body: Any) -> Report:
        limits = Limits(
            since=moment_of(body, _START) if body.HasField(_START) else None,
            until=moment_of(body, _END) if body.HasField(_END) else None,
            parameters=dict(body.parameters),
        )
        title = _filled(body.name, limits)
        tables = []
        if body.query.record_type:
            tables.append(await self._listing.table(connection, tenant, title, body.query, limits))
        if body.dashboard_id:
            tables += await self._printed(connection, body.dashboard_id, limits)
        if not tables:
            problem = "must be set, or a dashboard be named"
            raise FieldInvalid.of("query.record_type", problem, "REQUIRED")
        return Report(title, _shown(body, _START), _shown(body, _END), tables)

    async def _printed(
        self, connection: AsyncConnection, dashboard: str, limits: Limits
    ) -> list[Table]:
        """Give the widgets of a dashboard as tables; the first that is refused refuses all."""
        body, tables = await self._dashboards.body(connection, dashboard), []
        async for shown in self._dashboards.shown(connection, dashboard, body, limits):
            if shown.refusal is not None:
                raise shown.refusal
            widget = shown.widget
            rows = [
                [scalar_value(each) for each in (*point.keys, point.value)]
                for point in shown.points.points
            ]
            columns = [*widget.group_by, widget.metric or COUNT]
            title = widget.title or widget.key
            tables.append(Table(title, columns, rows, widget.record_type))
        return tables

    async def _keep(self, name: str, made: Made) -> Message:
        """Write what a report says of its document, and give it; ResourceNotFound."""
        target = self._store.target(REPORTS)
        async with self._store.transaction() as connection:
            old: Any = await self._rows.find(connection, target, name)
            if old is None:
                raise ResourceNotFound(name)
            new = type(old)()
            new.CopyFrom(old)
            made.tell(new.analytics_report)
            await self._rows.replace(connection, target, new, self._writer.stamp(target.kind, new))
            shown: Message = target.codec.message(target.codec.row(new))
            return shown


def _filled(text: str, limits: Limits) -> str:
    """Put parameters into a title, where `{name}` stands for one."""
    # In one pass: a value that names parameters stands as it is.
    return _PARAMETER.sub(lambda found: limits.parameters.get(found[1], found[0]), text)


def _shown(body: Any, field: str) -> str:
    return str(getattr(body, field).ToJsonString()) if body.HasField(field) else ""
