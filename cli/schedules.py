"""`secmesh schedules`: when accounts are scanned."""

from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from cli.connection import Connection, UsageProblem, connection_of
from cli.enum_words import enum_value, offered
from cli.moments import parse_time
from cli.output import Column, enum_word, write_message, write_messages
from secmesh.tenancy.v1 import schedule_pb2
from secmesh.tenancy.v1 import schedule_service_pb2 as pb
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh.tenancy.v1.schedule_preview_pb2 import FireMark
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from secmesh_client import items

app = typer.Typer(help="Say when accounts are scanned.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Full name, or schedules/ID.")]
Etag = Annotated[str, typer.Option(help="The etag that it must still have.")]
RequestId = Annotated[str, typer.Option(help="UUID: sent again, it is done once.")]
TimeZone = Annotated[str, typer.Option(help="Such as Europe/Berlin; otherwise UTC.")]
Gap = Annotated[
    str,
    typer.Option(
        "--dst-gap",
        help="A time that clocks jump over: shift or skip.",
        autocompletion=offered(schedule_pb2.DstGap.DESCRIPTOR),
    ),
]
Fold = Annotated[
    str,
    typer.Option(
        "--dst-fold",
        help="A time that comes twice: first, last or both.",
        autocompletion=offered(schedule_pb2.DstFold.DESCRIPTOR),
    ),
]
Jitter = Annotated[int, typer.Option("--jitter", min=0, max=86400, help="Seconds.")]
Misfire = Annotated[
    str,
    typer.Option(
        "--misfire",
        help="What was missed: skip, once or all.",
        autocompletion=offered(schedule_pb2.MisfirePolicy.DESCRIPTOR),
    ),
]
Overlap = Annotated[
    str,
    typer.Option(
        "--overlap",
        help="While one is not over: skip, buffer-one, allow or cancel-other.",
        autocompletion=offered(schedule_pb2.OverlapPolicy.DESCRIPTOR),
    ),
]
_COLUMNS = ("name", "schedule_name", "account_id", "expression", "time_zone", "state")


@app.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str, typer.Option(help="Id of an account: its schedules alone.")] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones as well.")] = False,
) -> None:
    """List schedules."""
    connection = connection_of(context)
    request = pb.ListSchedulesRequest(
        parent=connection.tenant, account_id=account, show_deleted=deleted
    )
    with connection.channel() as channel:
        listed = ScheduleServiceStub(channel).ListSchedules
        found = items(listed, request, lambda page: page.schedules)
        write_messages(found, connection.output, [*_COLUMNS, "next_fire_time"])


@app.command()
def get(context: typer.Context, name: Name) -> None:
    """Show a schedule."""
    connection = connection_of(context)
    _call(connection, "GetSchedule", pb.GetScheduleRequest(name=connection.full_name(name)))


@app.command()
def create(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="Id of the account, or its full name.")],
    expression: Annotated[
        str, typer.Argument(help="Such as '30 2 * * *', '@daily' or 'rate(12 hours)'.")
    ],
    schedule_name: Annotated[str, typer.Option("--name", help="What people call it.")],
    schedule_id: Annotated[str, typer.Option("--id", help="Its id; otherwise one is made.")] = "",
    time_zone: TimeZone = "",
    gap: Gap = "",
    fold: Fold = "",
    jitter: Jitter = 0,
    misfire: Misfire = "",
    overlap: Overlap = "",
    pause_on_failure: Annotated[
        bool, typer.Option("--pause-on-failure", help="Paused when an execution fails for good.")
    ] = False,
    region: Annotated[list[str] | None, typer.Option(help="Region to read, repeatable.")] = None,
    ssp: Annotated[str, typer.Option(help="Id of the plan it is held against.")] = "",
    request_id: RequestId = "",
) -> None:
    """Create a schedule of an account."""
    connection = connection_of(context)
    schedule = Schedule(
        account_id=account.rsplit("/", 1)[-1],
        schedule_name=schedule_name,
        expression=expression,
        time_zone=time_zone,
        jitter_seconds=jitter,
        pause_on_failure=pause_on_failure,
        regions=region or [],
        ssp_id=ssp,
    )
    _set_policies(schedule, gap, fold, misfire, overlap)
    request = pb.CreateScheduleRequest(
        parent=connection.tenant,
        schedule=schedule,
        schedule_id=schedule_id,
        request_id=request_id,
    )
    _call(connection, "CreateSchedule", request)


@app.command()
def update(
    context: typer.Context,
    name: Name,
    expression: Annotated[str | None, typer.Option(help="When it fires.")] = None,
    schedule_name: Annotated[
        str | None, typer.Option("--name", help="What people call it.")
    ] = None,
    time_zone: Annotated[str | None, typer.Option(help="Zone; empty for UTC.")] = None,
    gap: Gap = "",
    fold: Fold = "",
    jitter: Annotated[int | None, typer.Option("--jitter", min=0, max=86400)] = None,
    misfire: Misfire = "",
    overlap: Overlap = "",
    pause_on_failure: Annotated[
        bool | None, typer.Option("--pause-on-failure/--no-pause-on-failure")
    ] = None,
    etag: Etag = "",
    request_id: RequestId = "",
) -> None:
    """Change a schedule."""
    connection = connection_of(context)
    schedule = Schedule(name=connection.full_name(name), etag=etag)
    given: dict[str, Any] = {
        "expression": expression,
        "schedule_name": schedule_name,
        "time_zone": time_zone,
        "jitter_seconds": jitter,
        "pause_on_failure": pause_on_failure,
    }
    paths = [field for field, value in given.items() if value is not None]
    for field in paths:
        setattr(schedule, field, given[field])
    paths += _set_policies(schedule, gap, fold, misfire, overlap)
    if not paths:
        raise UsageProblem("nothing to change was given")
    request = pb.UpdateScheduleRequest(
        schedule=schedule, update_mask=FieldMask(paths=paths), request_id=request_id
    )
    _call(connection, "UpdateSchedule", request)


@app.command()
def pause(
    context: typer.Context,
    name: Name,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    etag: Etag = "",
) -> None:
    """Let a schedule not fire until it is resumed."""
    connection = connection_of(context)
    full = connection.full_name(name)
    request = pb.PauseScheduleRequest(name=full, reason=reason, etag=etag)
    _call(connection, "PauseSchedule", request)


@app.command()
def resume(context: typer.Context, name: Name, etag: Etag = "") -> None:
    """Let a paused schedule fire again."""
    connection = connection_of(context)
    request = pb.ResumeScheduleRequest(name=connection.full_name(name), etag=etag)
    _call(connection, "ResumeSchedule", request)


@app.command()
def trigger(
    context: typer.Context, name: Name, overlap: Overlap = "", request_id: RequestId = ""
) -> None:
    """Run a schedule now; its next time stays what it is."""
    connection = connection_of(context)
    request = pb.TriggerScheduleRequest(
        name=connection.full_name(name),
        overlap_policy=_overlap(overlap),
        request_id=request_id,
    )
    _call(connection, "TriggerSchedule", request)


@app.command()
def backfill(
    context: typer.Context,
    name: Name,
    start: Annotated[str, typer.Option(help="The first time that is meant: a time or date.")],
    end: Annotated[str, typer.Option(help="The last time that is meant.")],
    overlap: Overlap = "",
) -> None:
    """Run a schedule for times of its past that have no execution."""
    connection = connection_of(context)
    request = pb.BackfillScheduleRequest(
        name=connection.full_name(name),
        start_time=parse_time(start, "--start"),
        end_time=parse_time(end, "--end"),
        overlap_policy=_overlap(overlap),
    )
    with connection.channel() as channel:
        found = ScheduleServiceStub(channel).BackfillSchedule(request)
    columns = ("fire_time", "status", "trigger", "name")
    write_messages(found.executions, connection.output, columns)


@app.command()
def delete(context: typer.Context, name: Name, etag: Etag = "") -> None:
    """Delete a schedule; for 30 days it can be undeleted."""
    connection = connection_of(context)
    request = pb.DeleteScheduleRequest(name=connection.full_name(name), etag=etag)
    _call(connection, "DeleteSchedule", request)


@app.command()
def undelete(context: typer.Context, name: Name, etag: Etag = "") -> None:
    """Bring a deleted schedule back."""
    connection = connection_of(context)
    request = pb.UndeleteScheduleRequest(name=connection.full_name(name), etag=etag)
    _call(connection, "UndeleteSchedule", request)


@app.command()
def preview(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="A schedule's name, schedules/ID, or an expression.")],
    time_zone: TimeZone = "",
    gap: Gap = "",
    fold: Fold = "",
    after: Annotated[str, typer.Option(help="A time or date; otherwise now.")] = "",
    count: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
) -> None:
    """Show the next times of a schedule, or of an expression before it is one."""
    connection = connection_of(context)
    request = pb.PreviewScheduleRequest(parent=connection.tenant, count=count)
    if after:
        request.after_time.CopyFrom(parse_time(after, "--after"))
    if what.startswith(("tenants/", "schedules/")):
        tenant, _, schedule_id = connection.full_name(what).rpartition("/schedules/")
        request.parent, request.schedule_id = tenant, schedule_id
    else:
        request.schedule.expression = what
        request.schedule.time_zone = time_zone
        _set_policies(request.schedule, gap, fold)
    with connection.channel() as channel:
        found = ScheduleServiceStub(channel).PreviewSchedule(request)
    columns = ("local_time", "wanted_local_time", "run_time", Column("mark", _mark))
    write_messages(found.fires, connection.output, columns, title=f"tzdata {found.tzdata_version}")


@app.command()
def due(context: typer.Context) -> None:
    """List what is due in all tenants and not taken up; for whoever operates the service."""
    connection = connection_of(context)
    with connection.channel() as channel:
        listed = ScheduleServiceStub(channel).ListDueSchedules
        found = items(listed, pb.ListDueSchedulesRequest(), lambda page: page.schedules)
        write_messages(found, connection.output, [*_COLUMNS, "next_fire_time"])


def _mark(fire: Any) -> str:
    word = enum_word(FireMark.DESCRIPTOR, fire.mark)
    return "" if word == "plain" else word


def _overlap(word: str) -> schedule_pb2.OverlapPolicy.ValueType:
    enum = schedule_pb2.OverlapPolicy
    if not word:
        return schedule_pb2.OVERLAP_POLICY_UNSPECIFIED
    return enum.Value(enum_value(enum.DESCRIPTOR, word, "overlap policy"))


def _set_policies(
    schedule: Schedule, gap: str = "", fold: str = "", misfire: str = "", overlap: str = ""
) -> list[str]:
    """Set the policies that were given; give the names of their fields."""
    given = {"dst_gap": gap, "dst_fold": fold, "misfire_policy": misfire, "overlap_policy": overlap}
    fields = [field for field, word in given.items() if word]
    for field in fields:
        enum = Schedule.DESCRIPTOR.fields_by_name[field].enum_type
        if enum is None:
            raise TypeError(f"{field} is no enum")
        name = enum_value(enum, given[field], field.replace("_", " "))
        setattr(schedule, field, enum.values_by_name[name].number)
    return fields


def _call(connection: Connection, method: str, request: Any) -> None:
    with connection.channel() as channel:
        answer = getattr(ScheduleServiceStub(channel), method)(request)
    write_message(answer, connection.output)
