"""`secmesh security mfa`: second factors of users."""

from typing import Annotated, Any

import typer

from cli.connection import Connection, connection_of
from cli.moments import parse_time
from cli.output import write_message
from secmesh.security.v1 import mfa_service_pb2 as pb
from secmesh.security.v1.mfa_service_pb2_grpc import MfaServiceStub

app = typer.Typer(help="Register, confirm and take second factors.", no_args_is_help=True)
User = Annotated[str, typer.Argument(help="Full name, or users/ID.")]
Device = Annotated[str, typer.Argument(help="Full name, or mfa_devices/ID.")]
# Asked for, so that it is in no history of a shell.
Code = Annotated[str, typer.Option(prompt=True, hide_input=True, help="The code.")]
SourceIp = Annotated[str, typer.Option(help="Address that the person comes from.")]


@app.command()
def enroll(
    context: typer.Context,
    user: User,
    display_name: Annotated[str, typer.Option(help="What the user calls the device.")],
    issuer: Annotated[str, typer.Option(help="What the device shows it under.")] = "",
) -> None:
    """Register a generator of codes, and show once what it is set up with."""
    connection = connection_of(context)
    request = pb.EnrollTotpRequest(
        parent=connection.full_name(user), display_name=display_name, issuer=issuer
    )
    _call(connection, "EnrollTotp", request)


@app.command()
def confirm(context: typer.Context, device: Device, code: Code) -> None:
    """Take a generator into use by its first code."""
    connection = connection_of(context)
    request = pb.ConfirmTotpRequest(name=connection.full_name(device), code=code)
    _call(connection, "ConfirmTotp", request)


@app.command()
def verify(context: typer.Context, device: Device, code: Code, source_ip: SourceIp = "") -> None:
    """Take a code; each is taken once."""
    connection = connection_of(context)
    full = connection.full_name(device)
    request = pb.VerifyTotpRequest(name=full, code=code, source_ip=source_ip)
    _call(connection, "VerifyTotp", request)


@app.command()
def codes(
    context: typer.Context,
    user: User,
    until: Annotated[str, typer.Option(help="Time until which they are taken.")] = "",
) -> None:
    """Make backup codes, and show them once; those of before are taken no more."""
    connection = connection_of(context)
    request = pb.CreateBackupCodesRequest(
        parent=connection.full_name(user),
        expire_time=parse_time(until, "--until") if until else None,
    )
    _call(connection, "CreateBackupCodes", request)


@app.command("use-code")
def use_code(context: typer.Context, user: User, code: Code, source_ip: SourceIp = "") -> None:
    """Burn a backup code."""
    connection = connection_of(context)
    full = connection.full_name(user)
    request = pb.UseBackupCodeRequest(parent=full, code=code, source_ip=source_ip)
    _call(connection, "UseBackupCode", request)


@app.command()
def revoke(
    context: typer.Context,
    device: Device,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Take a device out of use for good."""
    connection = connection_of(context)
    request = pb.RevokeDeviceRequest(name=connection.full_name(device), justification=reason)
    _call(connection, "RevokeDevice", request)


def _call(connection: Connection, method: str, request: Any) -> None:
    with connection.channel() as channel:
        write_message(getattr(MfaServiceStub(channel), method)(request), connection.output)
