"""The client over TLS and mTLS, with certificates made for the test."""

import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secmesh.inventory.v1 import record_pb2, record_service_pb2_grpc
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from secmesh_client import CallRefused, Tls, TokenFile, aio

GET = GetRecordRequest(name="tenants/acme/iam_users/u1")
PEM = serialization.Encoding.PEM


class Authority:
    """Signs certificates and writes them with their keys."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        made = self._made(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0))
        self.file.write_bytes(made.public_bytes(PEM))

    def _made(self, name: x509.Name, key: Any, *extensions: Any) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            self.name, name, key.public_key(), x509.random_serial_number()
        )
        builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(hours=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name: str) -> tuple[Path, Path]:
        """Give the files of a certificate for loopback and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = self.folder / f"{name}-cert.pem"
        certificate.write_bytes(self._made(subject, key, here).public_bytes(PEM))
        private = self.folder / f"{name}-key.pem"
        private.write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return certificate, private


class Records(record_service_pb2_grpc.RecordServiceServicer):
    """Answers with the token it was sent."""

    async def GetRecord(self, _request: Any, context: Any) -> record_pb2.Record:  # noqa: N802  # the contract's name
        return record_pb2.Record(name=dict(context.invocation_metadata())["authorization"])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
async def port(authority: Authority) -> AsyncIterator[int]:
    """A server that asks for a certificate of the same authority."""
    certificate, key = authority.issue("server")
    server = grpc.aio.server()
    record_service_pb2_grpc.add_RecordServiceServicer_to_server(Records(), server)  # type: ignore[abstract]  # abstract in its stub only
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=authority.file.read_bytes(),
        require_client_auth=True,
    )
    bound = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield bound
    await server.stop(None)


async def get(port: int, tls: Tls, token: Path) -> str:
    async with aio.connect(f"https://127.0.0.1:{port}", token=TokenFile(token), tls=tls) as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        return (await stub.GetRecord(GET, timeout=10)).name


async def test_mtls_and_a_token_that_is_renewed(
    authority: Authority, port: int, tmp_path: Path
) -> None:
    certificate, key = authority.issue("client")
    tls = Tls(ca=authority.file, certificate=certificate, key=key)
    token = tmp_path / "token"
    token.write_text("one")
    assert await get(port, tls, token) == "Bearer one"
    token.write_text("second")
    assert await get(port, tls, token) == "Bearer second"


async def test_a_stranger_on_either_side_is_refused(
    authority: Authority, port: int, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    stranger = Authority(tmp_path, "stranger")
    certificate, key = authority.issue("client")
    foreign, foreign_key = stranger.issue("intruder")
    for tls in (
        Tls(ca=authority.file),
        Tls(ca=authority.file, certificate=foreign, key=foreign_key),
        Tls(ca=stranger.file, certificate=certificate, key=key),
    ):
        with pytest.raises(CallRefused) as caught:
            await get(port, tls, token)
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "")
