"""Documents sent by mail: over TLS alone, to the domains that the operator names alone."""

import asyncio
import contextlib
import hashlib
import re
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

_SECONDS = 30.0
"""Longest that one answer of the mail server may take."""
_LONGEST_REASON = 300
_PERMANENT = 500
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63})"
)
"""An address as HTML's forms take it, the domain as a group."""


class MailServer(BaseModel):
    """Where mail is handed in; without a host nothing is sent."""

    model_config = ConfigDict(frozen=True)

    host: str = ""
    port: int = 587
    tls: Literal["starttls", "implicit"] = "starttls"
    authorities: Path | None = None
    """File of the authorities of its certificate; None for those of the system."""
    user: str = ""
    password_file: Path | None = None
    sender: str = ""
    domains: frozenset[str] = frozenset()
    """Where documents may go."""


@dataclass(frozen=True)
class Letter:
    """One document on its way to one address."""

    run: str
    """Name of the run that made it: sent again, the message has the same id."""
    recipient: str
    title: str
    document: bytes
    media_type: str
    extension: str
    moment: datetime
    """When the document was made."""


@dataclass(frozen=True)
class Outcome:
    """What became of a letter; it is delivered if nothing is said against it."""

    reason: str = ""
    again: bool = False
    """Whether it is worth another try."""


DELIVERED = Outcome()


class Post(Protocol):
    """A way to send documents to people."""

    def obstacle(self, recipient: str) -> str:
        """Tell why nothing can be sent to an address; empty if it can be tried."""

    async def send(self, letters: Sequence[Letter]) -> Sequence[Outcome]:
        """Send letters, and give what became of each."""


class Mail:
    """Sends over SMTP (RFC 5321) with TLS, each letter to its one recipient."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    def obstacle(self, recipient: str) -> str:
        """Tell why nothing can be sent to an address; empty if it can be tried."""
        if not self._server.host:
            return "no mail server is configured"
        address = _ADDRESS.fullmatch(recipient)
        if address is None:
            return "is no address of mail"
        if address[1].lower() not in self._server.domains:
            return "reports may not go to this domain"
        return ""

    async def send(self, letters: Sequence[Letter]) -> Sequence[Outcome]:
        """Send letters over one connection, in a thread of its own."""
        return await asyncio.to_thread(self._send, letters)

    def _send(self, letters: Sequence[Letter]) -> Sequence[Outcome]:
        done: list[Outcome] = []
        try:
            with self._session() as session:
                for letter in letters:
                    done.append(self._hand_in(session, letter))  # noqa: PERF401  # errors end it
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # What was not handed in yet may be with the next connection.
            return [*done, *[Outcome(_said(error), again=True)] * (len(letters) - len(done))]
        return done

    @contextlib.contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        server = self._server
        trusted = ssl.create_default_context(cafile=server.authorities)
        own = server.sender.rpartition("@")[2]
        if server.tls == "implicit":
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, own, timeout=_SECONDS, context=trusted
            )
        else:
            session = smtplib.SMTP(server.host, server.port, own, timeout=_SECONDS)
        with session:
            if server.tls == "starttls":
                session.starttls(context=trusted)
            if server.user and server.password_file is not None:
                password = server.password_file.read_text(encoding="utf-8").strip()
                session.login(server.user, password)
            yield session

    def _hand_in(self, session: smtplib.SMTP, letter: Letter) -> Outcome:
        try:
            session.send_message(self._message(letter), self._server.sender, [letter.recipient])
        except smtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[letter.recipient]
            return Outcome(_answer(code, text), again=code < _PERMANENT)
        except smtplib.SMTPServerDisconnected:
            raise
        except smtplib.SMTPResponseException as error:
            again = error.smtp_code < _PERMANENT
            return Outcome(_answer(error.smtp_code, error.smtp_error), again=again)
        return DELIVERED

    def _message(self, letter: Letter) -> EmailMessage:
        message, run = EmailMessage(), letter.run.rpartition("/")[2]
        to = hashlib.sha256(letter.recipient.encode()).hexdigest()[:16]
        message["From"] = self._server.sender
        message["To"] = letter.recipient
        message["Subject"] = " ".join(letter.title.split())
        message["Date"] = format_datetime(letter.moment)
        message["Message-ID"] = f"<{run}.{to}@{self._server.sender.rpartition('@')[2]}>"
        # RFC 3834: nobody's vacation answers it.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(f"The report of {letter.moment:%Y-%m-%d %H:%M} UTC is attached.\n")
        kind, _, rest = letter.media_type.partition(";")[0].partition("/")
        name = f"report.{letter.extension}"
        message.add_attachment(letter.document, maintype=kind, subtype=rest, filename=name)
        return message


def _answer(code: int, text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return _plain(f"the mail server answers {code} {shown}")


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return _answer(error.smtp_code, error.smtp_error)
    return _plain(f"the mail server cannot be reached: {type(error).__name__}: {error}")


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:_LONGEST_REASON]
