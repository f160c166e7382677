"""TLS and mutual TLS of a server, with certificates of an authority made here."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused, open_channel
from mesh.server.operations import ListenError
from mesh.server.settings import ServerSettings
from mesh.server.transport import server_credentials
from mesh.tls import KeyPair, TlsInvalid, client_credentials
from secmesh.inventory.v1 import record_service_pb2_grpc
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.certificates import Authority
from tests.service.server_fixtures import PACKAGE, RECORD, Running, running

GET = GetRecordRequest(name=RECORD)


def tls(pair: KeyPair, **more: Any) -> dict[str, Any]:
    return {"tls_certificate": pair.certificate, "tls_key": pair.key, **more}


async def get(
    server: Running, credentials: grpc.ChannelCredentials | None, seconds: float = 20
) -> str:
    """Make a call over a connection of its own and give the record's name."""
    opened = open_channel(
        server.address, package=PACKAGE, token=server.token(), credentials=credentials
    )
    async with opened as channel:
        stub: Any = record_service_pb2_grpc.RecordServiceStub(channel)
        return str((await stub.GetRecord(GET, timeout=seconds)).name)


async def refused(server: Running, credentials: grpc.ChannelCredentials | None) -> None:
    with pytest.raises(CallRefused) as caught:
        await get(server, credentials, seconds=3)
    assert caught.value.code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,  # the client tries to connect until then
    )


async def test_a_client_that_trusts_the_authority_is_served(tmp_path: Path) -> None:
    ours, others = Authority.make(tmp_path), Authority.make(tmp_path, "others")
    async with running(tmp_path, **tls(ours.issue("server"))) as server:
        assert await get(server, client_credentials(ours.file)) == RECORD
        await refused(server, client_credentials(others.file))
        await refused(server, None)


async def test_a_server_for_another_host_is_not_believed(tmp_path: Path) -> None:
    ours = Authority.make(tmp_path)
    async with running(tmp_path, **tls(ours.issue("server", host="10.1.2.3"))) as server:
        await refused(server, client_credentials(ours.file))


async def test_with_mutual_tls_only_known_clients_are_served(tmp_path: Path) -> None:
    ours, others = Authority.make(tmp_path), Authority.make(tmp_path, "others")
    settings = tls(ours.issue("server"), tls_client_ca=ours.file)
    stale = ours.issue("stale")
    async with running(tmp_path, **settings) as server:
        good = client_credentials(ours.file, ours.issue("client"))
        assert await get(server, good) == RECORD
        await refused(server, client_credentials(ours.file))
        await refused(server, client_credentials(ours.file, others.issue("stranger")))
        key, expired = stale.key, ours.issue("expired", until=-timedelta(days=1))
        assert key != expired.key
        bare = grpc.ssl_channel_credentials(
            ours.file.read_bytes(), expired.key.read_bytes(), expired.certificate.read_bytes()
        )
        await refused(server, bare)
        assert await get(server, good) == RECORD


async def test_renewed_files_are_used_and_broken_ones_are_not(tmp_path: Path) -> None:
    before, after = Authority.make(tmp_path, "before"), Authority.make(tmp_path, "after")
    pair = before.issue("server")
    async with running(tmp_path, **tls(pair)) as server:
        assert await get(server, client_credentials(before.file)) == RECORD
        pair.key.write_text("nonsense")
        assert await get(server, client_credentials(before.file)) == RECORD
        renewed = after.issue("renewed")
        pair.certificate.write_bytes(renewed.certificate.read_bytes())
        pair.key.write_bytes(renewed.key.read_bytes())
        assert await get(server, client_credentials(after.file)) == RECORD
        await refused(server, client_credentials(before.file))


def test_wrong_files_are_named(tmp_path: Path) -> None:
    ours = Authority.make(tmp_path)
    good, other = ours.issue("good"), ours.issue("other")
    expired = ours.issue("expired", until=-timedelta(days=1))
    nonsense, absent = tmp_path / "nonsense.pem", tmp_path / "absent.pem"
    nonsense.write_text("nonsense")

    def problem(**settings: Path) -> str:
        with pytest.raises(TlsInvalid) as caught:
            server_credentials(ServerSettings(**settings))  # type: ignore[arg-type] # only paths
        return str(caught.value)

    assert problem(**tls(KeyPair(absent, good.key))) == (
        f"{absent} cannot be read: No such file or directory"
    )
    assert problem(**tls(KeyPair(nonsense, good.key))) == f"{nonsense} holds no certificate in PEM"
    assert problem(**tls(KeyPair(good.certificate, nonsense))).startswith(f"{nonsense} is no priv")
    assert problem(**tls(KeyPair(good.certificate, other.key))) == (
        f"{other.key} is not the key of {good.certificate}"
    )
    assert problem(**tls(expired)).startswith(f"{expired.certificate} expired on 20")
    assert problem(**tls(good, tls_client_ca=nonsense)).startswith(str(nonsense))
    assert "both a certificate" in problem(tls_certificate=good.certificate)
    assert "both a certificate" in problem(tls_client_ca=ours.file)


async def test_beyond_loopback_plaintext_must_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(TlsInvalid, match=r"0\.0\.0\.0:0 is not on loopback"):
        async with running(tmp_path, listen="0.0.0.0:0"):
            pass
    allowed = ServerSettings(listen="0.0.0.0:0", allow_plaintext=True)
    assert server_credentials(allowed) is None


async def test_a_taken_port_is_named_with_tls_too(tmp_path: Path) -> None:
    pair = Authority.make(tmp_path).issue("server")
    async with running(tmp_path, **tls(pair)) as server:
        with pytest.raises(ListenError, match=server.address):
            async with running(tmp_path, listen=server.address, **tls(pair)):
                pass
