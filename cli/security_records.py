"""`secmesh security put|rm|ingest`: records written one by one, or as a stream."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import IO, Annotated

import orjson
import typer
from google.protobuf.json_format import Parse, ParseError

from cli.connection import Connection, UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.output import OutputFormat, as_json, enum_word, talk, visible, write_bytes, write_message
from cli.record_service import SECURITY
from secmesh.records.v1.ingest_pb2 import IngestResult
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1.record_ingest_pb2 import IngestRecordsRequest
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest, UpdateRecordRequest
from secmesh_client import ingest as send
from secmesh_client import refusal_in

app = typer.Typer()

REPLACE = "*"
"""Mask of all fields (AIP-134)."""


@app.command()
def put(
    context: typer.Context,
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help="A record as JSON, as `get -o json` writes it.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Clear the fields that are not in it.")
    ] = False,
) -> None:
    """Write one record, with `-` from standard input.

    With a name it is that one, changed or made; without, a new one. With an etag it must not
    have changed since.
    """
    record = parse_record(file.read(), "the record")
    connection = connection_of(context)
    with connection.channel() as channel:
        stub = SECURITY.stub(channel)
        if record.name:
            record.name = connection.full_name(record.name)
            update = UpdateRecordRequest(record=record, allow_missing=True)
            update.update_mask.paths.extend([REPLACE] if replace else [])
            done = stub.UpdateRecord(update)
        else:
            parent = f"{connection.tenant}/{collection_of(record)}"
            done = stub.CreateRecord(CreateRecordRequest(parent=parent, record=record))
        write_message(done, connection.output)


def parse_record(text: bytes, what: str) -> Record:
    """Read a record's JSON. Raises UsageProblem."""
    record = Record()
    try:
        Parse(text, record)
    except (ParseError, UnicodeDecodeError) as problem:
        raise UsageProblem(visible(f"{what} is not as the contract says: {problem}")) from None
    return record


def collection_of(record: Record) -> str:
    """Give the collection that a record's body belongs to. Raises UsageProblem."""
    body = record.WhichOneof("body")
    for collection, field in SECURITY.words.bodies():
        if field.name == body:
            return collection
    raise UsageProblem("the record has no body, such as `team`")


@app.command()
def rm(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="Full name, or COLLECTION/ID.", autocompletion=SECURITY.words.record_names
        ),
    ],
    etag: Annotated[str, typer.Option(help="Remove it only while it has this etag.")] = "",
) -> None:
    """Remove one record, and what is a part of it."""
    connection = connection_of(context)
    with connection.channel() as channel:
        request = DeleteRecordRequest(name=connection.full_name(name), etag=etag)
        SECURITY.stub(channel).DeleteRecord(request)


@app.command()
def ingest(
    context: typer.Context,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="One record as JSON on each line.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, write nothing.")] = False,
) -> None:
    """Write records as a stream, with `-` from standard input; name those that are refused.

    A record that is there already is changed. Exit code 1 if any was refused.
    """
    connection = connection_of(context)
    request = IngestRecordsRequest(parent=connection.tenant, validate_only=dry_run)
    lines: deque[int] = deque()
    outcomes: Counter[int] = Counter()
    with connection.channel() as channel:
        method = SECURITY.stub(channel).IngestRecords
        try:
            for result in send(method, request, read_records(file, lines)):
                outcomes[result.outcome] += 1
                line = lines.popleft()
                if result.outcome == IngestResult.OUTCOME_REJECTED:
                    _show_rejected(line, result, connection)
        finally:
            _show_outcomes(outcomes)
    if outcomes[IngestResult.OUTCOME_REJECTED]:
        raise typer.Exit(ExitCode.REFUSED)


def read_records(file: IO[bytes], lines: deque[int]) -> Iterator[Record]:
    """Read a record from each line, and note the line's number. Raises UsageProblem."""
    for number, text in enumerate(file, start=1):
        if text.strip():
            record = parse_record(text, f"line {number}")
            lines.append(number)
            yield record


def _show_rejected(line: int, result: IngestResult, connection: Connection) -> None:
    if connection.output is not OutputFormat.TABLE:
        write_bytes(orjson.dumps({"line": line, "error": as_json(result.error)}) + b"\n")
        return
    refused = refusal_in(result.error)
    text = visible(f"line {line}: {refused.reason} {refused.message}")
    write_bytes(f"{text}\n".encode(errors="backslashreplace"))


def _show_outcomes(outcomes: Counter[int]) -> None:
    enum = IngestResult.Outcome.DESCRIPTOR
    told = [f"{count} {enum_word(enum, number)}" for number, count in sorted(outcomes.items())]
    talk.print(", ".join(told) or "no records", markup=False)
