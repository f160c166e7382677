"""`secmesh credentials`: secrets of cloud accounts, sessions made by them, and who used them."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from cli.access_chain import problem_of
from cli.connection import Connection, UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.output import OutputFormat, talk, write_message, write_messages
from cli.typed import read_text
from secmesh.tenancy.v1 import credential_service_pb2 as pb
from secmesh.tenancy.v1.credential_access_pb2 import (
    CredentialAccess,
    CredentialAccessCheckpoint,
)
from secmesh.tenancy.v1.credential_service_pb2_grpc import CredentialServiceStub
from secmesh_client import items

app = typer.Typer(
    help="Keep the credentials of cloud accounts, and lend sessions.", no_args_is_help=True
)
Account = Annotated[str, typer.Argument(help="The account: id, accounts/ID, or full name.")]
Purpose = Annotated[str, typer.Option(help="What for; goes into the access log.")]
Etag = Annotated[str, typer.Option(help="The etag that it must still have.")]
RequestId = Annotated[str, typer.Option(help="UUID: sent again, it is done once.")]
_FORM = "JSON file with the fields of the contract; - reads standard input."
AwsKey = Annotated[Path | None, typer.Option("--aws-access-key", help=_FORM)]
Azure = Annotated[Path | None, typer.Option("--azure-service-principal", help=_FORM)]
Gcp = Annotated[
    Path | None, typer.Option("--gcp-service-account", help="Key file of Google; - reads input.")
]
WithSecret = pb.StoreCredentialRequest | pb.RotateCredentialRequest


@app.command()
def store(
    context: typer.Context,
    account: Account,
    aws: AwsKey = None,
    azure: Azure = None,
    gcp: Gcp = None,
    note: Annotated[
        list[str] | None, typer.Option(help="NAME=TEXT that is kept beside it, repeatable.")
    ] = None,
    request_id: RequestId = "",
) -> None:
    """Store an account's credential for the first time."""
    connection = connection_of(context)
    request = pb.StoreCredentialRequest(
        name=_name(connection, account), metadata=_notes(note), request_id=request_id
    )
    _set_secret(request, aws, azure, gcp)
    _call(connection, "StoreCredential", request)


@app.command()
def get(context: typer.Context, account: Account) -> None:
    """Show what is known of a credential; nothing secret."""
    connection = connection_of(context)
    request = pb.GetCredentialRequest(name=_name(connection, account))
    _call(connection, "GetCredential", request)


@app.command()
def retrieve(
    context: typer.Context,
    account: Account,
    purpose: Purpose,
    version: Annotated[int, typer.Option(help="Otherwise the current one.")] = 0,
) -> None:
    """Show the stored secret itself."""
    connection = connection_of(context)
    request = pb.RetrieveCredentialRequest(
        name=_name(connection, account), purpose=purpose, version=version
    )
    _call(connection, "RetrieveCredential", request)


@app.command()
def vend(
    context: typer.Context,
    account: Account,
    purpose: Purpose,
    minutes: Annotated[int, typer.Option(min=15, max=60, help="How long it lasts.")] = 15,
    action: Annotated[
        list[str] | None, typer.Option(help="What it may do, such as s3:List*; repeatable.")
    ] = None,
    for_process: Annotated[
        bool,
        typer.Option(
            "--credential-process", help="In the form of credential_process of AWS profiles."
        ),
    ] = False,
) -> None:
    """Give a session in an account."""
    connection = connection_of(context)
    request = pb.VendCredentialsRequest(
        name=_account(connection, account),
        purpose=purpose,
        lifetime=Duration(seconds=minutes * 60),
        actions=action or [],
    )
    with connection.channel() as channel:
        vended = CredentialServiceStub(channel).VendCredentials(request)
    if for_process:
        typer.echo(orjson.dumps(_process_form(vended)).decode())
    else:
        write_message(vended, connection.output)


@app.command()
def versions(context: typer.Context, account: Account) -> None:
    """List the versions of a credential, the newest first."""
    connection = connection_of(context)
    request = pb.ListCredentialVersionsRequest(name=_name(connection, account))
    with connection.channel() as channel:
        listed = CredentialServiceStub(channel).ListCredentialVersions(request)
    columns = ["version", "state", "key_id", "create_time", "created_by", "reason"]
    write_messages(listed.versions, connection.output, columns)


@app.command()
def rotate(
    context: typer.Context,
    account: Account,
    aws: AwsKey = None,
    azure: Azure = None,
    gcp: Gcp = None,
    etag: Etag = "",
    untested: Annotated[
        bool, typer.Option("--untested", help="Of Azure and Google Cloud, which have no test.")
    ] = False,
    request_id: RequestId = "",
) -> None:
    """Put another secret in place of the stored one, once it is tested."""
    connection = connection_of(context)
    request = pb.RotateCredentialRequest(
        name=_name(connection, account), etag=etag, untested=untested, request_id=request_id
    )
    _set_secret(request, aws, azure, gcp)
    _call(connection, "RotateCredential", request)


@app.command("set-rotation")
def set_rotation(
    context: typer.Context,
    account: Account,
    days: Annotated[int, typer.Option(min=0, max=365, help="From one to the next; 0: off.")],
    etag: Etag = "",
) -> None:
    """Have an access key change by itself every so many days."""
    connection = connection_of(context)
    request = pb.SetCredentialRotationRequest(
        name=_name(connection, account), interval_days=days, etag=etag
    )
    _call(connection, "SetCredentialRotation", request)


@app.command()
def rollback(
    context: typer.Context,
    account: Account,
    version: Annotated[int, typer.Option(help="Otherwise the previous one.")] = 0,
    etag: Etag = "",
) -> None:
    """Put an older version back in use."""
    connection = connection_of(context)
    request = pb.RollbackCredentialRequest(
        name=_name(connection, account), version=version, etag=etag
    )
    _call(connection, "RollbackCredential", request)


@app.command()
def delete(context: typer.Context, account: Account, etag: Etag = "") -> None:
    """Delete a credential; for 30 days it can be undeleted."""
    connection = connection_of(context)
    request = pb.DeleteCredentialRequest(name=_name(connection, account), etag=etag)
    _call(connection, "DeleteCredential", request)


@app.command()
def undelete(context: typer.Context, account: Account, etag: Etag = "") -> None:
    """Bring a deleted credential back."""
    connection = connection_of(context)
    request = pb.UndeleteCredentialRequest(name=_name(connection, account), etag=etag)
    _call(connection, "UndeleteCredential", request)


@app.command()
def log(
    context: typer.Context,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compute the hashes of all entries again.")
    ] = False,
) -> None:
    """List what was done with credentials, the newest first."""
    connection = connection_of(context)
    request = pb.ListCredentialAccessesRequest(parent=connection.tenant, page_size=1000)
    with connection.channel() as channel:
        listed = CredentialServiceStub(channel).ListCredentialAccesses
        if verify:
            _verify(listed, request, connection.output)
            return
        found = items(listed, request, lambda page: page.accesses)
        columns = ["number", "time", "action", "account_id", "subject"]
        write_messages(found, connection.output, [*columns, "purpose", "granted"])


def _verify(listed: Any, request: pb.ListCredentialAccessesRequest, output: OutputFormat) -> None:
    """Say whether a log is as it was written; REFUSED if not."""
    entries, checkpoint = _whole_log(listed, request)
    problem = problem_of(entries, checkpoint)
    if problem is not None:
        # Entries may have been removed between two pages; under a new checkpoint all is read anew.
        before = checkpoint
        entries, checkpoint = _whole_log(listed, request)
        if checkpoint != before:
            problem = problem_of(entries, checkpoint)
    if problem is not None:
        talk.print(problem, markup=False)
        raise typer.Exit(ExitCode.REFUSED)
    since = f" since {checkpoint.last_time.ToJsonString()}" if checkpoint is not None else ""
    talk.print(f"{len(entries)} entries{since}, each as it was written", markup=False)
    if output is not OutputFormat.TABLE:
        write_messages(reversed(entries), output, ())


def _whole_log(
    listed: Any, request: pb.ListCredentialAccessesRequest
) -> tuple[list[CredentialAccess], CredentialAccessCheckpoint | None]:
    """Give all entries of a log, the oldest first, and where it begins."""
    found: list[CredentialAccess] = []
    pages = items(listed, request, lambda page: [page])
    checkpoint = None
    for page in pages:
        found += page.accesses
        checkpoint = page.checkpoint if page.HasField("checkpoint") else None
    begin = checkpoint.number if checkpoint is not None else 0
    return [each for each in reversed(found) if each.number > begin], checkpoint


def _call(connection: Connection, method: str, request: Any) -> None:
    with connection.channel() as channel:
        done = getattr(CredentialServiceStub(channel), method)(request)
    write_message(done, connection.output)


def _account(connection: Connection, account: str) -> str:
    return connection.full_name(account if "/" in account else f"accounts/{account}")


def _name(connection: Connection, account: str) -> str:
    return f"{_account(connection, account.removesuffix('/credential'))}/credential"


def _set_secret(
    request: WithSecret, aws: Path | None, azure: Path | None, gcp: Path | None
) -> None:
    """Put the one secret that is named into a request."""
    given = [each for each in (aws, azure, gcp) if each is not None]
    if len(given) != 1:
        raise UsageProblem("name one secret: --aws-access-key FILE or another")
    text = read_text(given[0])
    if gcp is not None:
        request.gcp_service_account.key_json = text
        return
    target = request.aws_access_key if aws is not None else request.azure_service_principal
    try:
        json_format.Parse(text, target)
    except json_format.ParseError:
        # What the parser says may quote the secret.
        kind = target.DESCRIPTOR
        fields = ", ".join(field.name for field in kind.fields)
        raise UsageProblem(f"{given[0]} is no JSON of {kind.name}, with {fields}") from None


def _notes(given: list[str] | None) -> dict[str, str]:
    notes = {}
    for each in given or []:
        name, separator, text = each.partition("=")
        if not separator:
            raise UsageProblem(f"--note {each}: NAME=TEXT")
        notes[name] = text
    return notes


def _process_form(vended: pb.VendCredentialsResponse) -> dict[str, object]:
    return {
        "Version": 1,
        "AccessKeyId": vended.access_key_id,
        "SecretAccessKey": vended.secret_access_key,
        "SessionToken": vended.session_token,
        "Expiration": vended.expire_time.ToJsonString(),
    }
