"""Messages reach receivers that are allowed, signed; whatever else happens is told and ends."""

import asyncio
import ipaddress
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from mesh.errors import FieldInvalid
from services.inventory.webhooks.retries import GIVEN_UP_AFTER, pause
from services.inventory.webhooks.sending import Answer, Sender
from services.inventory.webhooks.signing import new_secret, signed_headers
from services.inventory.webhooks.target import Networks, Target
from tests.certificates import Authority
from tests.ports import free_port
from tests.service.webhook_receiver import Receiver

LOOPBACK = Networks.parse("127.0.0.0/8")
NOWHERE = Networks()
PATIENT = 60.0
IMPATIENT = 0.5


async def sent(receiver: Receiver, sender: Sender) -> Answer:
    return await sender.send(Target.parse(receiver.url, LOOPBACK), {"webhook-id": "m"}, b"{}")


async def test_a_message_arrives_whole() -> None:
    async with Receiver() as receiver:
        secret, old = new_secret(), new_secret()
        headers = signed_headers([secret, old], "msg", 1_700_000_000, b'{"a":1}')
        target = Target.parse(receiver.url, LOOPBACK)
        answer = await Sender(LOOPBACK, seconds=PATIENT).send(target, headers, b'{"a":1}')
    assert answer == Answer(204)
    assert answer.taken
    (request,) = receiver.received
    assert request.line == "POST /hook?of=us HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.body == b'{"a":1}'
    assert request.is_signed_by(secret)
    assert request.is_signed_by(old)
    assert not request.is_signed_by(new_secret())


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks' own libraries."""
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nbody", Answer(200)),
        (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n", Answer(202)),
        (b"HTTP/1.0 500 \r\n\r\n", Answer(500, "answered 500")),
        (
            b"HTTP/1.1 429 Slow\r\nretry-after: 120\r\n\r\n",
            Answer(429, "answered 429", retry_after=120),
        ),
        (
            b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n\r\n",
            Answer(302, "redirects, which is not followed"),
        ),
        (b"220 mail.example.com ESMTP\r\n\r\n", Answer(problem="answered no HTTP/1.1")),
        (b"HTTP/1.1 200 OK\r\n", Answer(problem="answered no HTTP/1.1")),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000, Answer(problem="answered no HTTP/1.1")),
        (b"HTTP/1.1 100 C\r\n\r\n" * 9, Answer(problem="answered no HTTP/1.1")),
    ],
)
async def test_an_answer_is_told_by_its_head(answer: bytes, expected: Answer) -> None:
    async with Receiver([answer]) as receiver:
        assert await sent(receiver, Sender(LOOPBACK, seconds=PATIENT)) == expected
    assert len(receiver.received) == 1


async def test_silence_and_absence_end() -> None:
    async with Receiver([None]) as receiver:
        silent = await sent(receiver, Sender(LOOPBACK, seconds=IMPATIENT))
    assert silent == Answer(problem="did not answer in time")
    absent = await sent(Receiver(port=free_port()), Sender(LOOPBACK, seconds=PATIENT))
    assert absent == Answer(problem="cannot be reached")


def server_tls(authority: Authority, host: str) -> ssl.SSLContext:
    pair = authority.issue("receiver", host=host)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


async def test_tls_is_held_to_authority_and_name(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    untrusted = Answer(problem="has a certificate that is not trusted for its name")
    async with Receiver(tls=server_tls(authority, "127.0.0.1")) as receiver:
        trusting = Sender(LOOPBACK, authority.file, PATIENT)
        assert await sent(receiver, trusting) == Answer(204)
        assert await sent(receiver, Sender(LOOPBACK, seconds=PATIENT)) == untrusted
    async with Receiver(tls=server_tls(authority, "127.0.0.2")) as receiver:
        assert await sent(receiver, trusting) == untrusted


async def test_a_receiver_without_tls_is_not_sent_to() -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        target = Target.parse(f"https://127.0.0.1:{port}/", LOOPBACK)
        answer = await Sender(LOOPBACK, seconds=PATIENT).send(target, {}, b"{}")
    assert answer == Answer(problem="speaks no TLS that is safe")


async def test_a_name_that_leads_inside_is_not_connected_to() -> None:
    async with Receiver() as receiver:
        target = Target("localhost", receiver.port, tls=False, path="/")
        answer = await Sender(NOWHERE, seconds=PATIENT).send(target, {}, b"{}")
    assert answer == Answer(problem="has an address that is not public")
    assert receiver.received == []


async def test_one_address_inside_is_enough_to_refuse_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolved(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", ("93.184.215.14", 443)), (0, 0, 0, "", ("10.0.0.1", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    target = Target.parse("https://example.com/", NOWHERE)
    answer = await Sender(NOWHERE, seconds=PATIENT).send(target, {}, b"{}")
    assert answer == Answer(problem="has an address that is not public")


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),  # noqa: S104  # an address to refuse
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not NOWHERE.admits(ipaddress.ip_address(address))


def test_what_is_public_or_allowed_is_admitted() -> None:
    for address in ("93.184.215.14", "8.8.8.8", "2606:4700::1111"):
        assert NOWHERE.admits(ipaddress.ip_address(address))
    inside = Networks.parse("10.2.0.0/16, fd00::/8")
    assert inside.admits(ipaddress.ip_address("10.2.3.4"))
    assert inside.admits(ipaddress.ip_address("::ffff:10.2.3.4"))
    assert inside.admits(ipaddress.ip_address("fd12::1"))
    assert not inside.admits(ipaddress.ip_address("10.3.0.1"))
    with pytest.raises(ValueError, match="host bits"):
        Networks.parse("10.2.0.1/16")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/", "https://"),
        ("http://127.0.0.1/", "not public"),
        ("ftp://example.com/", "https://"),
        ("https://10.0.0.1/", "not public"),
        ("https://[::1]/", "not public"),
        ("https://[::ffff:169.254.169.254]/", "not public"),
        ("https://user:word@example.com/", "user"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:0/", "URL"),
        ("https://example.com:99999/", "URL"),
        ("https://exa mple.com/", "URL"),
        ("https://example.com/\r\nx: y", "URL"),
        ("https://example.com\\@evil.example/", "URL"),
        ("https://bücher.example/", "URL"),
        ("https:///path", "URL"),
        ("", "URL"),
    ],
)
def test_a_url_that_cannot_be_sent_to_is_refused(url: str, words: str) -> None:
    with pytest.raises(FieldInvalid, match=words):
        Target.parse(url, NOWHERE)


def test_a_url_is_taken_apart() -> None:
    target = Target.parse("https://Example.com?x=1", NOWHERE)
    assert target == Target("example.com", 443, tls=True, path="/?x=1")
    assert target.authority == "example.com"
    assert Target.parse("https://example.com:8443/a", NOWHERE).authority == "example.com:8443"
    assert Target.parse("http://localhost:8000/", LOOPBACK).tls is False
    with pytest.raises(FieldInvalid, match="https://"):
        Target.parse("http://example.com/", LOOPBACK)


def test_pauses_grow_and_end_after_three_days() -> None:
    failed, age = Answer(problem="x"), timedelta()
    pauses: list[timedelta] = []
    while (wait := pause(len(pauses) + 1, failed, age)) is not None:
        pauses.append(wait)
        age += wait
    assert pauses[0] < timedelta(seconds=7)
    assert GIVEN_UP_AFTER - timedelta(hours=8) < age <= GIVEN_UP_AFTER
    assert 14 < len(pauses) < 30
    asked = pause(1, Answer(503, "x", retry_after=600), timedelta())
    assert asked is not None
    assert asked >= timedelta(minutes=10)
    assert pause(1, Answer(410, "answered 410"), timedelta()) is None
