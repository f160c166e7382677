"""Records from a file: read line by line, then held against what is stored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.rpc.error_details_pb2 import BadRequest

from mesh.contract.catalogue import Catalogue
from mesh.errors import FieldInvalid
from mesh.server.interceptors.validation import violations_of
from secmesh.inventory.v1.record_pb2 import Record
from services.inventory.collect.draft import timestamp
from services.inventory.collect.versions import etag

MAX_TOLD = 16
"""Wrong lines that are named."""
_LONGEST = 300
"""Characters of what is said of a line."""


@dataclass(frozen=True)
class Target:
    """Where records are loaded to."""

    parent: str
    """``tenants/{tenant}``."""
    cloud_account_id: str


@dataclass
class Known:
    """What is stored of one record."""

    current: Record | None = None
    ended: int = 0
    """When its last past version ended, in microseconds since 1970."""
    created: int = 0
    """When it was stored first; 0 if it never was."""


@dataclass
class Loaded:
    """What a file changes."""

    opened: list[Record] = field(default_factory=list)
    closed: dict[str, int] = field(default_factory=dict)
    """When the stored current version of a record ends, by record id."""
    unchanged: int = 0
    outdated: int = 0


def read_document(
    document: bytes, target: Target, catalogue: Catalogue, now: datetime
) -> dict[str, list[Record]]:
    """Give the records by collection; FieldInvalid names the lines that are wrong."""
    wrong: list[BadRequest.FieldViolation] = []
    records: dict[str, list[Record]] = {}
    seen: set[str] = set()
    for line, item in _items(document):
        record, problem = _parsed(item)
        problem = problem or _problem(record, target, catalogue, now)
        if not problem and record.name in seen:
            problem = "names a record a second time"
        seen.add(record.name)
        if problem:
            told = f"line {line}: {problem[:_LONGEST]}"
            wrong.append(BadRequest.FieldViolation(field="document", description=told))
            if len(wrong) == MAX_TOLD:
                break
        else:
            records.setdefault(record.name.split("/")[2], []).append(record)
    if wrong:
        raise FieldInvalid(*wrong)
    return records


def _parsed(item: object) -> tuple[Record, str]:
    """Give a record, or say why there is none."""
    record = Record()
    if not isinstance(item, dict):
        return record, "is no JSON object"
    try:
        ParseDict(item, record)
    except (ParseError, ValueError) as error:
        return record, str(error).partition("\n")[0]
    return record, ""


def _items(document: bytes) -> Iterator[tuple[int, object]]:
    """Give each record with its line, or its place in the list, from 1 on."""
    if document.lstrip().startswith(b"["):
        try:
            listed = orjson.loads(document)
        except orjson.JSONDecodeError as error:
            raise FieldInvalid.of("document", f"is no JSON: {error}") from None
        yield from enumerate(listed, 1)
        return
    for line, text in enumerate(document.splitlines(), 1):
        if text.strip():
            try:
                yield line, orjson.loads(text)
            except orjson.JSONDecodeError:
                yield line, None


def _problem(record: Record, target: Target, catalogue: Catalogue, now: datetime) -> str:
    """Say why a record cannot be loaded; empty if it can."""
    body = record.WhichOneof("body")
    if body is None:
        return "has no body"
    if not record.cloud_account_id:
        record.cloud_account_id = target.cloud_account_id
    kind = next(each for each in catalogue.record_kinds.values() if each.body_field == body)
    ids = kind.pattern.parse(record.name)
    checks = (
        (ids is not None, f"its name is not of the form {kind.pattern.text}"),
        (
            ids is None or f"tenants/{ids[0]}" == target.parent,
            f"its name is not under {target.parent}",
        ),
        (record.cloud_account_id == target.cloud_account_id, "is of another account"),
        (bool(record.region), "has no region"),
        (record.HasField("valid_from"), "has no validFrom: when was AWS read?"),
        (not record.HasField("valid_to"), "is a past version; only current ones are loaded"),
        (record.valid_from.ToDatetime(tzinfo=UTC) <= now, "was read in the future"),
    )
    for holds, problem in checks:
        if not holds:
            return problem
    found = violations_of(record)
    return f"{found[0].field}: {found[0].description}" if found else ""


def settle_loaded(
    records: list[Record], known: Mapping[str, Known], sync: str, now: datetime
) -> Loaded:
    """Tell what records of one collection change; ``known`` goes by record id."""
    loaded = Loaded()
    for record in records:
        record_id = record.name.rpartition("/")[2]
        old = known.get(record_id, Known())
        record.etag = etag(record, getattr(record, str(record.WhichOneof("body"))))
        opened = record.valid_from.ToMicroseconds()
        if old.current is not None and old.current.etag == record.etag:
            loaded.unchanged += 1
            continue
        began = -1 if old.current is None else old.current.valid_from.ToMicroseconds()
        if began >= opened or old.ended > opened:
            loaded.outdated += 1
            continue
        if old.current is not None:
            loaded.closed[record_id] = opened
        record.sync = sync
        record.update_time.CopyFrom(timestamp(now))
        record.create_time.CopyFrom(timestamp(now))
        if old.created:
            record.create_time.FromMicroseconds(old.created)
        loaded.opened.append(record)
    return loaded
