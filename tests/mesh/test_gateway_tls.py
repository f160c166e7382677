"""TLS through the real Envoy: towards callers, and mutual towards the service."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from gateway.envoy_tls import Tls
from mesh.identity.keys import create_signing_key
from mesh.tls import KeyPair, TlsInvalid, client_credentials
from secmesh.inventory.v1 import record_service_pb2_grpc
from tests.certificates import Authority
from tests.mesh.gateway_fixtures import Gateway, assert_refused, running_gateway
from tests.mesh.replicas import record
from tests.service.server_fixtures import running

RECORD = "/inventory/v1/tenants/acme/iam_users/0"


@contextlib.contextmanager
def service(folder: Path, pair: KeyPair, authority: Authority) -> Iterator[str]:
    """Run a service that wants certificates of its callers, on its own thread; give its address."""
    address: list[str] = []
    up, over = threading.Event(), threading.Event()

    async def serve() -> None:
        settings: dict[str, Any] = {
            "tls_certificate": pair.certificate,
            "tls_key": pair.key,
            "tls_client_ca": authority.file,
        }
        async with running(folder, **settings) as server:
            address.append(server.address)
            up.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert up.wait(20)
        yield address[0]
    finally:
        over.set()
        thread.join(20)


@contextlib.contextmanager
def gateway(
    folder: Path, server: KeyPair, tls: Tls, authority: Authority, *, trusted: bool = True
) -> Iterator[Gateway]:
    create_signing_key(folder / "keys")
    with (
        service(folder, server, authority) as address,
        running_gateway({"inventory": address}, folder, tls=tls, services_serve=trusted) as started,
    ):
        yield started


def test_mutual_tls_to_the_service_and_tls_to_callers(tmp_path: Path) -> None:
    ca = Authority.make(tmp_path)
    front, own = ca.issue("front"), ca.issue("gateway")
    tls = Tls(
        str(front.certificate), str(front.key), str(ca.file), str(own.certificate), str(own.key)
    )
    with gateway(tmp_path, ca.issue("service"), tls, ca) as started:
        answer = started.get(RECORD)
        assert answer.status_code == 200, answer.text
        assert answer.json()["name"] == "tenants/acme/iam_users/0"
        assert started.client.get("/healthz").json()["status"] == "SERVING"
        credentials = client_credentials(ca.file)
        with grpc.secure_channel(started.address, credentials) as channel:
            stub = record_service_pb2_grpc.RecordServiceStub(channel)
            found = stub.GetRecord(record(0), metadata=started.bearer(), timeout=10)
        assert found.name == record(0).name
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{started.address}/healthz", trust_env=False)


@pytest.mark.parametrize("wrong", ["no certificate", "stranger's certificate", "another service"])
def test_without_trust_nothing_passes(tmp_path: Path, wrong: str) -> None:
    ca, others = Authority.make(tmp_path), Authority.make(tmp_path, "others")
    own = (others if wrong == "stranger's certificate" else ca).issue("gateway")
    server = ca.issue("service", host="10.1.2.3" if wrong == "another service" else "127.0.0.1")
    shown = ("", "") if wrong == "no certificate" else (str(own.certificate), str(own.key))
    with gateway(tmp_path, server, Tls("", "", str(ca.file), *shown), ca, trusted=False) as started:
        refusal = started.get(RECORD)
        assert_refused(refusal, grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
        assert started.client.get("/healthz").status_code == 503


@pytest.mark.parametrize(
    "half",
    [{"certificate": "a"}, {"key": "a"}, {"upstream_key": "a"}, {"upstream_certificate": "a"}],
)
def test_half_a_pair_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(TlsInvalid, match="together"):
        Tls(**half)


def test_an_upstream_certificate_needs_authorities() -> None:
    with pytest.raises(TlsInvalid, match="authorities"):
        Tls(upstream_certificate="a", upstream_key="b")
