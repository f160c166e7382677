"""`secmesh SERVICE aggregate`: counts and summaries of records."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from cli.connection import UsageProblem, connection_of
from cli.moments import parse_time
from cli.output import Column, write_messages
from cli.record_service import RecordsOf
from secmesh.records.v1 import aggregate_pb2 as pb

UNITS = {
    name.removeprefix("UNIT_").lower(): number
    for name, number in pb.TimeBucket.Unit.items()
    if number
}
FIELD = "Field, any number of times."


def aggregate_command(records: RecordsOf) -> Callable[..., None]:
    """Make the command that counts the records of one service."""

    def aggregate(
        context: typer.Context,
        collection: Annotated[
            str,
            typer.Argument(
                help=f"Such as {records.example}; `kinds` lists them.",
                autocompletion=records.words.collections,
            ),
        ],
        by: Annotated[
            list[str] | None,
            typer.Option(
                help="Field that makes groups, up to three times.",
                autocompletion=records.words.fields,
            ),
        ] = None,
        bucket: Annotated[
            str, typer.Option(help="Spans of time, such as month:creation_date.")
        ] = "",
        count: Annotated[
            list[str] | None, typer.Option(help=FIELD, autocompletion=records.words.fields)
        ] = None,
        least: Annotated[
            list[str] | None, typer.Option("--min", help=FIELD, autocompletion=records.words.fields)
        ] = None,
        greatest: Annotated[
            list[str] | None, typer.Option("--max", help=FIELD, autocompletion=records.words.fields)
        ] = None,
        avg: Annotated[
            list[str] | None, typer.Option(help=FIELD, autocompletion=records.words.fields)
        ] = None,
        total: Annotated[
            list[str] | None, typer.Option("--sum", help=FIELD, autocompletion=records.words.fields)
        ] = None,
        filter_: Annotated[str, typer.Option("--filter", help="CEL condition.")] = "",
        at: Annotated[
            str | None,
            typer.Option(
                help="Count what stood at a time; else now.", hidden=not records.keeps_past
            ),
        ] = None,
    ) -> None:
        """Count the records of a collection, and compute over their fields, in groups."""
        connection = connection_of(context)
        request = pb.AggregateRecordsRequest(
            parent=f"{connection.tenant}/{collection}",
            filter=filter_,
            group_by=by,
            time_bucket=parse_bucket(bucket) if bucket else None,
            read_time=parse_time(at, "--at") if at else None,
        )
        asked = {"COUNT": count, "MIN": least, "MAX": greatest, "AVG": avg, "SUM": total}
        for function, chosen in asked.items():
            number = pb.Aggregate.Function.Value(f"FUNCTION_{function}")
            for field in chosen or ():
                request.aggregates.add(function=number, field=field)
        with connection.channel() as channel:
            groups = records.stub(channel).AggregateRecords(request).groups
            write_messages(groups, connection.output, columns_of(request))

    return aggregate


def parse_bucket(text: str) -> pb.TimeBucket:
    """Read spans such as ``month:creation_date``."""
    unit, _, field = text.partition(":")
    if unit not in UNITS or not field:
        raise UsageProblem(f"--bucket is UNIT:FIELD, the unit one of {', '.join(UNITS)}")
    return pb.TimeBucket(unit=pb.TimeBucket.Unit.ValueType(UNITS[unit]), field=field)


def columns_of(request: pb.AggregateRecordsRequest) -> Sequence[str | Column]:
    """Choose a table's columns: keys, count, results."""
    keys = list(request.group_by)
    if request.HasField("time_bucket"):
        keys.append(request.time_bucket.field)
    functions = pb.Aggregate.Function
    values = [
        f"{functions.Name(each.function).removeprefix('FUNCTION_').lower()}({each.field})"
        for each in request.aggregates
    ]
    return [
        *(_column("keys", place, title) for place, title in enumerate(keys)),
        "count",
        *(_column("values", place, title) for place, title in enumerate(values)),
    ]


def _column(holder: str, place: int, title: str) -> Column:
    return Column(title, lambda group: shown(getattr(group, holder)[place]))


def shown(scalar: pb.Scalar) -> str:
    """Write a value as a person reads it; empty if it is absent."""
    which = scalar.WhichOneof("value")
    value: Any = getattr(scalar, which) if which else ""
    if isinstance(value, Timestamp | Duration):
        return value.ToJsonString()
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
