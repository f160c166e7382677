"""Credentials of other systems stay with the host that they were given for."""

from typing import Any

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.errors import FieldInvalid
from mesh.records.writing import RECORD
from services.security.workflows.calling import INTEGRATIONS

_SECRETS = ("token", "password", "client_secret")


class IntegrationGuard:
    """Refuses to send what nobody can read to whomever a writer of the record names."""

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are integrations."""
        return kind.collection == INTEGRATIONS

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:
        """Raises FieldInvalid."""
        field = kind.body_field or ""
        if old is None or not new.HasField(field):
            return
        before: Any = getattr(old, field)
        body: Any = getattr(new, field)
        if _place(before.base_url) == _place(body.base_url):
            return
        had, has = before.credentials, body.credentials
        for name in _SECRETS:
            if has.HasField(name) and getattr(had, name) == getattr(has, name):
                path = f"{RECORD}.{field}.credentials.{name}"
                problem = "stays with the host that it was given for: give another, or none"
                raise FieldInvalid.of(path, problem, "NOT_ALLOWED")


def _place(url: str) -> object:
    """Give what a base URL leads to; the text itself if it is no URL."""
    import httpx

    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        return url
    return found.scheme, found.host, found.port
