"""Calls of workflow steps to other systems: what is refused, what is sent, what is kept."""

import asyncio
import contextlib
import gzip
import hmac
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Value

from secmesh.security.v1.external_integration_pb2 import ExternalIntegration
from secmesh.security.v1.vocabulary_operation_pb2 import IntegrationAuthType, IntegrationStatus
from services.security.workflows.egress import (
    MAX_ANSWER,
    Answer,
    Egress,
    EgressFailed,
    EgressRefused,
    Outgoing,
    is_public,
)
from services.security.workflows.json_values import from_struct, to_value
from services.security.workflows.requests import check_headers, check_path, outgoing, told

SIGNATURE = hmac.new(b"s", b'{"a": 1}', "sha256").hexdigest()
Handle = Callable[[bytes], bytes]


@asynccontextmanager
async def host(handle: Handle) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve HTTP on loopback; give ``name:port`` and the requests that came."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        writer.write(handle(head))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"localhost:{server.sockets[0].getsockname()[1]}", seen


def answer(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # noqa: S104  # an address that is judged, not bound
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "fec0::1",
        "nonsense",
    ],
)
def test_addresses_that_are_not_public_are_told(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_public_addresses_are_told(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://[::1]/x",
        "https://2130706433/x",
        "https://169.254.169.254/latest/meta-data",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
    ],
)
async def test_what_only_this_process_can_reach_is_not_called(url: str) -> None:
    with pytest.raises((EgressRefused, EgressFailed)) as error:
        await Egress().send(Outgoing("GET", url), 5)
    assert "passwd" not in str(error.value)


async def test_a_host_that_names_one_private_address_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    async def names(*given: Any, **_: Any) -> list[Any]:
        asked.append(given)
        return [(0, 0, 0, "", (each, 443)) for each in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names)
    with pytest.raises(EgressRefused):
        await Egress().send(Outgoing("GET", "https://rebinding.example/"), 5)
    assert len(asked) == 1


async def test_an_allowed_host_is_called_at_the_address_that_was_resolved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with host(lambda _: answer("200 OK", b'{"a": 1}')) as (name, seen):
        loop, asked = asyncio.get_running_loop(), []
        resolve = loop.getaddrinfo

        async def counted(wanted: Any, *rest: Any, **named: Any) -> Any:
            if wanted == "localhost":
                asked.append(wanted)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
            return await resolve(wanted, *rest, **named)

        monkeypatch.setattr(loop, "getaddrinfo", counted)
        found = await Egress(frozenset({name})).send(Outgoing("GET", f"http://{name}/p?q=1"), 5)
        assert told(found) == {"status": 200, "body": {"a": 1}}
        assert asked == ["localhost"]
        assert seen[0].startswith(b"GET /p?q=1 HTTP/1.1\r\n")
        assert f"host: {name}".encode() in seen[0].lower()
        with pytest.raises(EgressRefused):
            await Egress().send(Outgoing("GET", f"http://{name}/"), 5)


async def test_redirects_are_answers_and_not_followed() -> None:
    async with host(lambda _: answer("302 Found", b"", "Location: http://127.0.0.1/")) as (name, _):
        found = await Egress(frozenset({name})).send(Outgoing("GET", f"http://{name}/"), 5)
        assert found.status == 302


async def test_time_and_size_are_bounded() -> None:
    async with host(lambda _: answer("200 OK", b"x" * (MAX_ANSWER + 1))) as (name, _):
        with pytest.raises(EgressFailed, match="more than"):
            await Egress(frozenset({name})).send(Outgoing("GET", f"http://{name}/"), 5)

    def nothing(_: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"

    async with host(nothing) as (name, _):
        with pytest.raises(EgressFailed):
            await Egress(frozenset({name})).send(Outgoing("GET", f"http://{name}/"), 0.3)


async def test_what_is_compressed_is_not_read() -> None:
    bomb = gzip.compress(b"0" * 1_000_000)
    async with host(lambda _: answer("200 OK", bomb, "Content-Encoding: gzip")) as (name, seen):
        with pytest.raises(EgressFailed, match="compressed"):
            await Egress(frozenset({name})).send(Outgoing("GET", f"http://{name}/"), 5)
    assert b"accept-encoding: identity" in seen[0].lower()


@pytest.mark.parametrize(
    "content",
    [
        b"NaN",
        b'{"a": [1e999]}',
        b'"\\ud800"',
        b'"\\u0000"',
        b"1" + b"0" * 400,
        b"[" * 60 + b"]" * 60,
        b"[" * 30_000,
        b"[" * 30_000 + b"]" * 30_000,
    ],
)
def test_an_answer_that_no_record_can_hold_is_kept_as_text(content: bytes) -> None:
    found = told(Answer(200, content, "application/json"))
    assert found == {"status": 200, "body": content.decode()}
    assert from_struct(Value.FromString(to_value(found).SerializeToString())) == found


def integration(**values: Any) -> Any:
    made: Any = ExternalIntegration(
        base_url="https://tickets.example/api/",
        is_enabled=True,
        status=IntegrationStatus.INTEGRATION_STATUS_ACTIVE,
        auth_type=IntegrationAuthType.INTEGRATION_AUTH_TYPE_NONE,
    )
    made.credentials.username, made.credentials.password = "u", "p"
    made.credentials.token, made.credentials.client_secret = "t", "s"
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("way", "header", "value"),
    [
        ("API_KEY", "X-Api-Key", "t"),
        ("BEARER", "Authorization", "Bearer t"),
        ("BASIC", "Authorization", "Basic dTpw"),
        ("HMAC", "X-Signature-256", f"sha256={SIGNATURE}"),
    ],
)
def test_requests_prove_who_calls_and_hide_it(way: str, header: str, value: str) -> None:
    kind = IntegrationAuthType.Value(f"INTEGRATION_AUTH_TYPE_{way}")
    made = outgoing(integration(auth_type=kind), "POST", "/issues", {"X-A": "b"}, {"a": 1}, "k")
    assert made.url == "https://tickets.example/api/issues"
    assert made.content == b'{"a": 1}'
    assert made.headers[header] == value
    assert (made.headers["Idempotency-Key"], made.headers["X-A"]) == ("k", "b")
    assert "Bearer" not in repr(made)


@pytest.mark.parametrize(
    "values",
    [
        {"is_enabled": False},
        {"status": IntegrationStatus.INTEGRATION_STATUS_DISABLED},
        {"auth_type": IntegrationAuthType.INTEGRATION_AUTH_TYPE_OAUTH2},
        {"auth_type": IntegrationAuthType.INTEGRATION_AUTH_TYPE_MTLS},
        {"base_url": ""},
        {"base_url": "https://user:secret@tickets.example/"},
        {"base_url": "https://tickets.example/?x=1"},
    ],
)
def test_what_an_integration_does_not_allow_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(EgressRefused) as error:
        outgoing(integration(**values), "GET", "/", {}, None, "k")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "path", ["issues", "/../admin", "/a/%2e%2e/b", "/a/%2E./b", "/a b", "/a\r\nX: y", "/a#b"]
)
def test_paths_stay_under_the_base_url(path: str) -> None:
    assert check_path(path)
    made = outgoing(integration(), "GET", "//evil.example/", {}, None, "k")
    assert made.url == "https://tickets.example/api//evil.example/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "x"},
        {"host": "x"},
        {"Content-Length": "3"},
        {"X A": "b"},
        {"X-A": "b\r\nX-B: c"},
        {"X-A": "ü"},
    ],
)
def test_headers_of_the_service_are_its_own(headers: dict[str, str]) -> None:
    assert check_headers(headers)
    assert check_headers({"X-A": "b", "Accept": "application/json"}) == ""
