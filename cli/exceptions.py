"""`secmesh compliance exceptions`: failures that are accepted until a date."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.message import Message

from cli.connection import Connection, connection_of
from cli.moments import DAY, parse_expiry, parse_time
from cli.output import talk, visible, write_message, write_messages
from cli.tenants import Etag, RequestId
from secmesh.inventory.v1 import assessment_pb2
from secmesh.inventory.v1 import exception_service_pb2 as api
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from secmesh.inventory.v1.exception_service_pb2_grpc import ExceptionServiceStub
from secmesh_client import items

app = typer.Typer(help="Failures that are accepted until a date.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Id, or full name.")]
_PATH = "checkExceptions"
_COLUMNS = ["name", "check_id", "state", "expire_time", "requester", "approver", "reason"]


@app.command("ls")
def ls(
    context: typer.Context,
    condition: Annotated[
        str, typer.Option("--filter", help='CEL, such as check_id == "s3.encryption".')
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most exceptions; 0 means all.")] = 0,
) -> None:
    """List the exceptions."""
    connection = connection_of(context)
    request = api.ListCheckExceptionsRequest(parent=connection.tenant, filter=condition)
    with connection.channel() as channel:
        listed = ExceptionServiceStub(channel).ListCheckExceptions
        found = items(listed, request, lambda page: page.check_exceptions, limit)
        write_messages(found, connection.output, _COLUMNS)


@app.command()
def get(context: typer.Context, exception: Id) -> None:
    """Show an exception."""
    connection = connection_of(context)
    request = api.GetCheckExceptionRequest(name=_name(connection, exception))
    _call(connection, "GetCheckException", request)


@app.command()
def propose(
    context: typer.Context,
    exception: Annotated[str, typer.Argument(metavar="ID", help="Id for the exception.")],
    check: Annotated[str, typer.Option(help="Check whose failures are accepted.")],
    reason: Annotated[str, typer.Option(help="Why that can be accepted.")],
    expires: Annotated[
        str, typer.Option(help="When it ends: hours or days from now such as 90d, a date, a time.")
    ],
    resources: Annotated[
        str, typer.Option(help='CEL over the records, such as bucket_name == "www"; else all.')
    ] = "",
    account: Annotated[
        list[str] | None, typer.Option(help="AWS account id, any number of times; else all.")
    ] = None,
    reference: Annotated[str, typer.Option(help="Where it was decided.")] = "",
    request_id: RequestId = "",
) -> None:
    """Propose an exception; it accepts nothing until somebody else approves it."""
    connection = connection_of(context)
    made = CheckException(
        check_id=check,
        reason=reason,
        reference=reference,
        resources=resources,
        cloud_account_ids=account or (),
    )
    if "-" in expires:
        made.expire_time.CopyFrom(parse_time(expires, "--expires"))
    else:
        made.expire_time.FromDatetime(
            datetime.now(UTC) + parse_expiry(expires, ", or a date or time")
        )
    request = api.CreateCheckExceptionRequest(
        parent=connection.tenant,
        check_exception_id=exception,
        check_exception=made,
        request_id=request_id,
    )
    _call(connection, "CreateCheckException", request)


@app.command()
def approve(
    context: typer.Context, exception: Id, etag: Etag = "", request_id: RequestId = ""
) -> None:
    """Approve an exception that somebody else proposed."""
    connection = connection_of(context)
    request = api.ApproveCheckExceptionRequest(
        name=_name(connection, exception), etag=etag, request_id=request_id
    )
    _call(connection, "ApproveCheckException", request)


@app.command()
def revoke(
    context: typer.Context, exception: Id, etag: Etag = "", request_id: RequestId = ""
) -> None:
    """Revoke an exception: what it accepted fails again."""
    connection = connection_of(context)
    request = api.RevokeCheckExceptionRequest(
        name=_name(connection, exception), etag=etag, request_id=request_id
    )
    _call(connection, "RevokeCheckException", request)


def show_ends(assessment: assessment_pb2.Assessment) -> None:
    """Tell on standard error which exceptions are over, and which soon will be."""
    for word, style, found in (
        ("is over", "bold red", assessment.expired_exceptions),
        ("ends soon", "bold yellow", assessment.expiring_exceptions),
    ):
        for each in found:
            day = each.expire_time.ToJsonString()[:DAY]
            told = f"Exception {each.check_exception} of {each.check_id} {word}: {day}"
            talk.print(visible(told), style=style, markup=False)


def _name(connection: Connection, exception: str) -> str:
    if exception.startswith("tenants/"):
        return exception
    return f"{connection.tenant}/{_PATH}/{exception.removeprefix(f'{_PATH}/')}"


def _call(connection: Connection, method: str, request: Message) -> None:
    with connection.channel() as channel:
        write_message(getattr(ExceptionServiceStub(channel), method)(request), connection.output)
