"""Settings of the mail server that reports go by."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from mesh.server.postgres_settings import PostgresSettings
from services.security.analytics.mail import MailServer


class MailSettings(PostgresSettings):
    """Without a host nothing is sent."""

    smtp_host: str = Field(
        "", description="mail server that scheduled reports are handed to; empty for none"
    )
    smtp_port: int = Field(587, ge=1, le=65_535, description="its port")
    smtp_tls: Literal["starttls", "implicit"] = Field(
        "starttls", description="how TLS begins, without which nothing is sent: starttls, implicit"
    )
    smtp_ca: Path | None = Field(
        None, description="authorities of its certificate; empty for those of the system"
    )
    smtp_user: str = Field("", description="name to sign in with; empty for none")
    smtp_password_file: Path | None = Field(None, description="file of the password for it")
    smtp_from: str = Field("", description="address that reports come from; needed with a host")
    report_domains: str = Field(
        "",
        description="domains of addresses that reports may go to, separated by commas; empty for "
        "none",
    )
    report_days: int = Field(
        90, ge=1, le=3650, description="how long documents of scheduled reports are kept"
    )

    @model_validator(mode="after")
    def _mail_is_whole(self) -> Self:
        if self.smtp_host and "@" not in self.smtp_from:
            raise ValueError("smtp_host needs smtp_from, the address that reports come from")
        if bool(self.smtp_user) != bool(self.smtp_password_file):
            raise ValueError("smtp_user and smtp_password_file need each other")
        return self

    @property
    def mail_server(self) -> MailServer:
        """The mail server."""
        domains = (each.strip().lower() for each in self.report_domains.split(","))
        return MailServer(
            host=self.smtp_host,
            port=self.smtp_port,
            tls=self.smtp_tls,
            authorities=self.smtp_ca,
            user=self.smtp_user,
            password_file=self.smtp_password_file,
            sender=self.smtp_from,
            domains=frozenset(filter(None, domains)),
        )
