"""Reports handed to a real mail server on this machine."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from services.security.analytics.mail import DELIVERED, Letter, Mail, MailServer
from services.security.settings import SecuritySettings
from tests.certificates import Authority

MOMENT = datetime(2026, 3, 1, 6, tzinfo=UTC)
DOMAINS = frozenset({"acme.example"})


ANSWERS = {"gone": "550 no such\r user", "full": "452 mailbox full"}


class Box:
    """What a mail server took, and what it answers by the address's first part."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], Any]] = []

    async def handle_RCPT(  # noqa: N802  # the server's name for it
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if answer := ANSWERS.get(address.partition("@")[0]):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.taken.append((list(envelope.rcpt_tos), message))
        return "250 OK"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


def trusted(authority: Authority) -> ssl.SSLContext:
    pair = authority.issue("mail")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@asynccontextmanager
async def serving(
    make: Callable[[], SMTP], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def mail(port: int, authorities: Path | None, **values: Any) -> Mail:
    server = {"host": "127.0.0.1", "port": port, "authorities": authorities, **values}
    return Mail(MailServer(sender="reports@secmesh.example", domains=DOMAINS, **server))


def letter(recipient: str = "ann@acme.example", title: str = "Open issues") -> Letter:
    run = "tenants/acme/analytics_report_runs/7"
    return Letter(run, recipient, title, b'"a","b"\r\n', "text/csv; charset=utf-8", "csv", MOMENT)


async def test_a_document_arrives_whole_over_tls(authority: Authority) -> None:
    box, context = Box(), trusted(authority)
    make = lambda: SMTP(box, tls_context=context, require_starttls=True)  # noqa: E731  # a factory
    async with serving(make) as port:
        post = mail(port, authority.file)
        letters = [letter(title="Open\r\nBcc: eve@elsewhere.example"), letter("bob@acme.example")]
        assert await post.send(letters) == [DELIVERED, DELIVERED]
        assert await post.send(letters[:1]) == [DELIVERED]
    assert [to for to, _ in box.taken] == [[each.recipient] for each in [*letters, letters[0]]]
    first, second, again = (message for _, message in box.taken)
    assert first["Subject"] == "Open Bcc: eve@elsewhere.example"
    assert (first["From"], first["To"], first["Bcc"]) == (
        "reports@secmesh.example",
        "ann@acme.example",
        None,
    )
    assert first["Message-ID"] == again["Message-ID"] != second["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated"
    [attached] = first.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("report.csv", "text/csv")
    assert attached.get_content().encode() == letters[0].document


async def test_who_is_refused_for_good_is_told_from_who_may_be_taken_later(
    authority: Authority,
) -> None:
    box, context = Box(), trusted(authority)
    async with serving(lambda: SMTP(box), context) as port:
        post = mail(port, authority.file, tls="implicit")
        to = [f"{name}@acme.example" for name in ("gone", "full", "ann")]
        gone, full, ann = await post.send([letter(each) for each in to])
    assert (gone.again, full.again, ann) == (False, True, DELIVERED)
    assert "550 no such" in gone.reason
    assert gone.reason.isprintable()
    assert [each for each, _ in box.taken] == [["ann@acme.example"]]


async def test_nothing_is_sent_without_tls_or_to_a_server_that_is_not_trusted(
    authority: Authority, tmp_path: Path
) -> None:
    box, context = Box(), trusted(authority)
    (tmp_path / "other").mkdir()
    other = Authority.make(tmp_path / "other", "other")
    make = lambda: SMTP(box, tls_context=context, require_starttls=True)  # noqa: E731  # a factory
    async with serving(make) as port, serving(lambda: SMTP(box)) as plain:
        for post in (mail(port, other.file), mail(plain, authority.file), mail(port, None)):
            [outcome] = await post.send([letter()])
            assert (outcome.again, bool(outcome.reason)) == (True, True)
        closed = mail(port, authority.file)
    [outcome] = await closed.send([letter()])
    assert outcome.reason.startswith("the mail server cannot be reached")
    assert box.taken == []


async def test_a_server_that_asks_who_it_is_gets_the_password(
    authority: Authority, tmp_path: Path
) -> None:
    def known(
        _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
    ) -> AuthResult:
        right = (data.login, data.password) == (b"reports", b"right")
        return AuthResult(success=right, handled=False)

    box, context, password = Box(), trusted(authority), tmp_path / "password"

    def make() -> SMTP:
        return SMTP(
            box,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=known,
        )

    async with serving(make) as port:
        post = mail(port, authority.file, user="reports", password_file=password)
        password.write_text("wrong\n")
        [outcome] = await post.send([letter()])
        assert (outcome.again, "535" in outcome.reason) == (True, True)
        assert "wrong" not in outcome.reason
        password.write_text("right\n")
        assert await post.send([letter()]) == [DELIVERED]
        password.unlink()
        [outcome] = await post.send([letter()])
        assert outcome.again


@pytest.mark.parametrize(
    ("recipient", "obstacle"),
    [
        ("ann@acme.example", ""),
        ("ann@ACME.example", ""),
        ("ann@sub.acme.example", "reports may not go to this domain"),
        ("ann@elsewhere.example", "reports may not go to this domain"),
        ("ann@acme.example\r\nRCPT TO:<eve@acme.example>", "is no address of mail"),
        ("Ann <ann@acme.example>", "is no address of mail"),
        ("ann", "is no address of mail"),
    ],
)
def test_only_addresses_of_named_domains_get_anything(recipient: str, obstacle: str) -> None:
    assert mail(25, None).obstacle(recipient) == obstacle


def test_settings_of_a_mail_server_are_whole_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Mail(SecuritySettings().mail_server).obstacle("a@b.example") == (
        "no mail server is configured"
    )
    monkeypatch.setenv("SECMESH_SECURITY_SMTP_HOST", "mail.example")
    with pytest.raises(ValueError, match="smtp_host needs smtp_from"):
        SecuritySettings()
    monkeypatch.setenv("SECMESH_SECURITY_SMTP_FROM", "a@b.example")
    monkeypatch.setenv("SECMESH_SECURITY_SMTP_USER", "me")
    with pytest.raises(ValueError, match="need each other"):
        SecuritySettings()
