"""The gateway as it is deployed: the edge and Envoy as processes, in front of given services."""

import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
import httpx

from gateway.envoy_config import PLAINTEXT, Addresses, render, to_yaml
from gateway.envoy_tls import Tls
from gateway.policy import Policy
from gateway.refusals import http_status
from mesh.identity.api_key_file import ApiKeyFile
from mesh.identity.keys import JWKS_FILE, KEY_FILE, create_signing_key, sign_token
from tests.ports import free_port

ENVOY = Path(sys.executable).parent / "envoy"
ENVOY_OPTIONS = (
    *("--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"),
    *("--file-flush-interval-msec", "100"),
)
START_SECONDS = 90
_ATTEMPTS = 3
API_KEYS_FILE = "api_keys.json"
TENANT = "acme"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    address: str
    keys: Path
    access_log: Path
    client: httpx.Client

    def token(self, tenant: str = TENANT, lifetime: timedelta = timedelta(minutes=5)) -> str:
        return sign_token(
            self.keys, subject="ann", tenant=tenant, roles=["admin"], lifetime=lifetime
        )

    @property
    def api_keys(self) -> ApiKeyFile:
        return ApiKeyFile(self.keys / API_KEYS_FILE)

    def call(self, verb: str, target: str, **options: Any) -> httpx.Response:
        """Send a request with a good token, unless the headers bring another."""
        headers = {"authorization": f"Bearer {self.token()}", **options.pop("headers", {})}
        return self.client.request(verb, target, headers=headers, **options)

    def get(self, target: str, **options: Any) -> httpx.Response:
        return self.call("GET", target, **options)

    def post(self, target: str, body: Any, **options: Any) -> httpx.Response:
        return self.call("POST", target, content=json.dumps(body), **options)

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(self.address) as channel:
            yield channel

    def bearer(self, token: str | None = None) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {token or self.token()}"),)

    def raw(self, request: bytes) -> tuple[int, bytes]:
        """Send bytes as they are and give the status and the body."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
            with http.client.HTTPResponse(connection) as response:
                response.begin()
                return response.status, response.read()

    def bytes_of(self, request: bytes) -> bytes:
        """Send bytes as they are and give all bytes of the answer, up to the connection's end."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextlib.contextmanager
def process(
    command: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program, its standard error in a file, and end it by its process id."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as child,
    ):
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(timeout=40)
            except subprocess.TimeoutExpired:
                child.kill()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *arguments]


@contextlib.contextmanager
def edge(
    services: Mapping[str, str], folder: Path, tls: Tls = PLAINTEXT, options: Sequence[str] = ()
) -> Iterator[dict[str, str]]:
    """Run the edge and give its addresses; the keys lie in the folder's ``keys``."""
    named = [
        part for name, address in services.items() for part in ("--service", f"{name}={address}")
    ]
    for option, file in asdict(tls).items():
        if option.startswith("upstream") and file:
            named.extend(("--" + option.replace("_", "-"), file))
    keys = folder / "keys"
    files = ("--jwks", str(keys / JWKS_FILE), "--api-keys", str(keys / API_KEYS_FILE))
    signing = ("--signing-keys", str(keys)) if (keys / KEY_FILE).exists() else ()
    with process(
        command("serve", *named, *files, *signing, *options), folder / "edge.log"
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("LISTENING "), (folder / "edge.log").read_text()
        yield json.loads(line.removeprefix("LISTENING "))


def configuration(
    services: Mapping[str, str],
    edge_addresses: Mapping[str, str],
    listen: str,
    policy: Policy | None = None,
    tls: Tls = PLAINTEXT,
    otlp: str = "",
    admin: str = "",
) -> str:
    """Render Envoy's configuration with the image of the build."""
    addresses = Addresses(listen, edge_addresses["authz"], edge_addresses["http"], otlp, admin)
    image = str(files("secmesh") / "image.binpb")
    return to_yaml(render(services, addresses, policy or Policy(), image=image, tls=tls))


@contextlib.contextmanager
def running_gateway(
    services: Mapping[str, str],
    folder: Path,
    edge_addresses: Mapping[str, str] | None = None,
    policy: Policy | None = None,
    tls: Tls = PLAINTEXT,
    otlp: str = "",
    *,
    services_serve: bool = True,
) -> Iterator[Gateway]:
    """Run edge and Envoy in front of services and wait until calls reach both.

    Without ``services_serve`` it waits for no service.
    """
    keys = folder / "keys"
    create_signing_key(keys)
    with contextlib.ExitStack() as stack:
        addresses = edge_addresses or stack.enter_context(edge(services, folder, tls))
        config, log = folder / "envoy.yaml", folder / "envoy.log"
        for attempt in range(_ATTEMPTS):
            listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
            config.write_text(configuration(services, addresses, listen, policy, tls, otlp, admin))
            made = stack.enter_context(contextlib.ExitStack())
            command = [str(ENVOY), "-c", str(config), *ENVOY_OPTIONS]
            child = made.enter_context(process(command, log))
            client = made.enter_context(_client(listen, folder, tls))
            if _listens(client, child):
                break
            # Somebody took the free port before Envoy did.
            assert attempt + 1 < _ATTEMPTS, log.read_text()[-3000:]
            made.close()
        if services_serve:
            _await_healthy(admin)
        yield Gateway(listen, keys, log, client)


def _client(listen: str, folder: Path, tls: Tls) -> httpx.Client:
    if not tls.certificate:
        return httpx.Client(base_url=f"http://{listen}", timeout=60)
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    return httpx.Client(base_url=f"https://{listen}", timeout=60, verify=context)


def _listens(client: httpx.Client, child: subprocess.Popen[str]) -> bool:
    """Wait until Envoy answers; give False if it ended or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        try:
            client.get("/nothing")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return True
    return False


def _await_healthy(admin: str) -> None:
    """Wait until Envoy has probed all replicas well: it listens as well when the first fails."""
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(base_url=f"http://{admin}", timeout=20, trust_env=False) as client:
        while _unhealthy(client):
            assert time.monotonic() < deadline, "Envoy finds no healthy service"
            time.sleep(0.05)


def _unhealthy(admin: httpx.Client) -> bool:
    try:
        clusters = admin.get("/clusters", params={"format": "json"}).json()
    except httpx.TransportError:
        # Envoy is not up yet, and who answered was another that has the port as well.
        return True
    return any(
        host["health_status"].get("failed_active_health_check")
        for cluster in clusters["cluster_statuses"]
        for host in cluster.get("host_statuses", ())
    )


def assert_refused(
    response: httpx.Response, code: grpc.StatusCode, reason: str, *, status: int | None = None
) -> dict[str, Any]:
    """Assert the one JSON form of an error and give its ErrorInfo's metadata."""
    number = code.value[0]
    wanted = http_status(number) if status is None else status
    assert response.status_code == wanted, response.text
    assert response.headers["content-type"] == "application/json"
    return assert_one_form(response.json(), code, reason, response.headers["x-request-id"])


def assert_one_form(
    error: Any, code: grpc.StatusCode, reason: str, request_id: str
) -> dict[str, Any]:
    assert error.keys() == {"code", "message", "details"}, error
    assert error["code"] == code.value[0], error
    assert isinstance(error["message"], str)
    assert error["message"]
    infos = [detail for detail in error["details"] if detail["@type"] == ERROR_INFO]
    assert len(infos) == 1, error
    assert infos[0].keys() == {"@type", "reason", "domain", "metadata"}, error
    assert (infos[0]["reason"], infos[0]["domain"]) == (reason, "secmesh"), error
    metadata: dict[str, Any] = infos[0]["metadata"]
    assert metadata["request_id"] == request_id
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", request_id)
    return metadata


def violations(response: httpx.Response) -> dict[str, str]:
    """Give the reason of every field violation by its field."""
    found: dict[str, str] = {}
    for detail in response.json()["details"]:
        for each in detail.get("fieldViolations", ()) if detail["@type"] == BAD_REQUEST else ():
            found[each["field"]] = each["reason"]
    return found
