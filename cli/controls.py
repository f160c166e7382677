"""`secmesh compliance controls`: a tenant's own controls, from files and to files."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from cli.connection import Connection, UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.moments import parse_time
from cli.one_message import document_in
from cli.output import (
    Column,
    enum_word,
    talk,
    visible,
    write_bytes,
    write_message,
    write_messages,
)
from cli.saving import save
from cli.tenants import Etag, RequestId
from secmesh.inventory.v1 import check_pb2, control_pb2
from secmesh.inventory.v1 import control_service_pb2 as api
from secmesh.inventory.v1.control_service_pb2_grpc import ControlServiceStub
from secmesh_client import CallRefused, items

app = typer.Typer(help="Controls of one's own: conditions with examples.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Id, or full name.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]
_COLLECTION = "controls"
_NOT_FOUND = "RESOURCE_NOT_FOUND"
_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_STORED = re.compile(rf"{_ID.pattern}(/versions/[1-9][0-9]*)?")


@app.command("ls")
def ls(
    context: typer.Context,
    condition: Annotated[
        str, typer.Option("--filter", help='CEL, such as check.collection == "s3_buckets".')
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most controls; 0 means all.")] = 0,
) -> None:
    """List the controls."""
    connection = connection_of(context)
    request = api.ListControlsRequest(parent=connection.tenant, filter=condition)
    columns: list[str | Column] = [
        "name",
        "version",
        "disabled",
        _column("collection"),
        _severity(),
        _column("title"),
    ]
    with connection.channel() as channel:
        listed = ControlServiceStub(channel).ListControls
        found = items(listed, request, lambda page: page.controls, limit)
        write_messages(found, connection.output, columns)


@app.command()
def get(
    context: typer.Context,
    control: Id,
    version: Annotated[int, typer.Option(min=0, help="As it was; else as it is.")] = 0,
) -> None:
    """Show a control."""
    connection = connection_of(context)
    name = _name(connection, control)
    if version:
        request = api.GetControlVersionRequest(name=f"{name}/versions/{version}")
        _call(connection, "GetControlVersion", request)
    else:
        _call(connection, "GetControl", api.GetControlRequest(name=name))


@app.command()
def put(
    context: typer.Context,
    file: File,
    control_id: Annotated[
        str | None, typer.Option("--id", help="Id for the control; else from the file's name.")
    ] = None,
    request_id: RequestId = "",
) -> None:
    """Create a control from a file (YAML or JSON), or bring the one there is to what it says."""
    connection = connection_of(context)
    control = _read(file)
    chosen = control_id or _id_of(file)
    if not _ID.fullmatch(chosen):
        raise UsageProblem(f"{chosen!r} is no id of a control such as kms-only; give one by --id")
    control.name = f"{connection.tenant}/{_COLLECTION}/{chosen}"
    mask = FieldMask(paths=["*"])
    with connection.channel() as channel:
        stub = ControlServiceStub(channel)
        try:
            update = api.UpdateControlRequest(control=control, update_mask=mask)
            made = stub.UpdateControl(update)
        except CallRefused as refused:
            if refused.reason != _NOT_FOUND:
                raise
            create = api.CreateControlRequest(
                parent=connection.tenant,
                control_id=chosen,
                control=control,
                request_id=request_id,
            )
            made = stub.CreateControl(create)
        write_message(made, connection.output)


@app.command("test")
def try_control(
    context: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="FILE|ID", help="A file, or a control by id or id/versions/N.")
    ],
    at: Annotated[
        str | None, typer.Option(help="Moment of which the records are weighed; else now.")
    ] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="AWS account id, any number of times; else all.")
    ] = None,
) -> None:
    """Try a control: its examples, and what it says of what was collected. Nothing is stored.

    Exits with 1 if an example does not come out as it says.
    """
    connection = connection_of(context)
    request = api.TestControlRequest(parent=connection.tenant, cloud_account_ids=account or ())
    if Path(subject).is_file():
        request.control.CopyFrom(_read(Path(subject)))
        # As `put` would name it: exceptions are made for a name.
        chosen = _id_of(Path(subject))
        request.control.name = _name(connection, chosen) if _ID.fullmatch(chosen) else ""
    else:
        request.control_id = _stored(connection, subject)
    if at:
        request.read_time.CopyFrom(parse_time(at, "--at"))
    with connection.channel() as channel:
        answer = ControlServiceStub(channel).TestControl(request)
    for each in answer.fixtures:
        if each.outcome != each.wanted:
            problem = f"{each.title}: is {_outcome(each.outcome)} and not {_outcome(each.wanted)}"
            talk.print(visible(problem), style="red", markup=False)
    if not answer.HasField("result"):
        talk.print("nothing had been collected that it could be tried on", style="dim")
    write_message(answer, connection.output)
    if any(each.outcome != each.wanted for each in answer.fixtures):
        raise typer.Exit(ExitCode.REFUSED)


@app.command("rm")
def rm(context: typer.Context, control: Id, etag: Etag = "") -> None:
    """Delete a control and its versions."""
    connection = connection_of(context)
    request = api.DeleteControlRequest(name=_name(connection, control), etag=etag)
    _call(connection, "DeleteControl", request)


@app.command()
def versions(
    context: typer.Context,
    control: Id,
    limit: Annotated[int, typer.Option(min=0, help="Most versions; 0 means all.")] = 0,
) -> None:
    """List the versions of a control, the newest first."""
    connection = connection_of(context)
    request = api.ListControlVersionsRequest(parent=_name(connection, control))
    with connection.channel() as channel:
        listed = ControlServiceStub(channel).ListControlVersions
        found = items(listed, request, lambda page: page.control_versions, limit)
        columns = ["version", "create_time", "control.disabled", "control.check.condition"]
        write_messages(found, connection.output, columns)


@app.command("export")
def export(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="File; else standard output.")] = None,
) -> None:
    """Write the controls as an OSCAL component definition."""
    connection = connection_of(context)
    request = api.ExportControlsRequest(parent=connection.tenant)
    with connection.channel() as channel:
        document = ControlServiceStub(channel).ExportControls(request).data
    if out is None:
        write_bytes(document)
    else:
        save(out, document)


@app.command("import")
def import_controls(
    context: typer.Context,
    file: File,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would happen, and write nothing.")
    ] = False,
) -> None:
    """Take controls from an OSCAL component definition, all or none."""
    connection = connection_of(context)
    request = api.ImportControlsRequest(
        parent=connection.tenant,
        document=document_in(file, api.ImportControlsRequest),
        validate_only=dry_run,
    )
    with connection.channel() as channel:
        answer = ControlServiceStub(channel).ImportControls(request)
    for issue in answer.issues:
        talk.print(visible(f"{issue.pointer}: {issue.problem}"), markup=False)
    write_message(answer, connection.output)


def _stored(connection: Connection, subject: str) -> str:
    """Give the id, and version, of a stored control; UsageProblem for what is no file either."""
    prefix = f"{connection.tenant}/{_COLLECTION}/"
    found = subject.removeprefix(prefix).removeprefix(f"{_COLLECTION}/")
    if not _STORED.fullmatch(found):
        raise UsageProblem(f"{subject} is no file that is there, and no id of a control")
    return found


def _read(file: Path) -> control_pb2.Control:
    """Read a control from YAML, of which JSON is a part; UsageProblem."""
    # Only who reads a file pays for the reader.
    import yaml

    try:
        written: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(written, dict):
            raise UsageProblem(f"{file} must hold one control")
        read: control_pb2.Control = json_format.ParseDict(written, control_pb2.Control())
    except (yaml.YAMLError, json_format.ParseError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{file} is no control: {error}") from None
    except RecursionError:
        raise UsageProblem(f"{file} is no control: it is nested too deeply") from None
    return read


def _column(field: str) -> Column:
    return Column(field, lambda control: str(getattr(control.check, field)))


def _severity() -> Column:
    enum = check_pb2.Severity.DESCRIPTOR
    return Column("severity", lambda control: enum_word(enum, control.check.severity))


def _outcome(number: int) -> str:
    return enum_word(check_pb2.EvidenceOutcome.DESCRIPTOR, number)


def _id_of(file: Path) -> str:
    """Give the id of a control that is written in a file."""
    return file.stem.lower().replace("_", "-")


def _name(connection: Connection, control: str) -> str:
    if control.startswith("tenants/"):
        return control
    return f"{connection.tenant}/{_COLLECTION}/{control.removeprefix(f'{_COLLECTION}/')}"


def _call(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        write_message(getattr(ControlServiceStub(channel), method)(request), connection.output)
