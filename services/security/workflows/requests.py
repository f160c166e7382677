"""Requests of steps to other systems, signed as their integration says."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any

from secmesh.security.v1.vocabulary_operation_pb2 import IntegrationAuthType, IntegrationStatus
from services.security.workflows.egress import Answer, EgressRefused, Outgoing
from services.security.workflows.json_values import read_json

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_OWN = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "idempotency-key",
        "proxy-authorization",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
        "x-signature-256",
    }
)
"""Headers that the service sets itself, or nobody."""


def check_path(path: str) -> str:
    """Give what is wrong with a path under a base URL; empty if nothing is."""
    parts = path.partition("?")[0].lower().replace("%2e", ".").replace("%2f", "/").split("/")
    if not _PATH.fullmatch(path) or ".." in parts:
        return "path must begin with / and stay under the integration's base URL"
    return ""


def check_headers(headers: Mapping[str, str]) -> str:
    """Give what is wrong with headers; empty if nothing is."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not value.isprintable() or not value.isascii():
            return f"header {name!r} cannot be sent"
        if name.lower() in _OWN:
            return f"header {name!r} is not for steps to set"
    return ""


def outgoing(
    integration: Any, method: str, path: str, headers: Mapping[str, str], body: Any, key: str
) -> Outgoing:
    """Write a request to an integration; EgressRefused if it is not to be called.

    ``key`` names the request, so that the other system can tell a repetition.
    """
    if (
        not integration.is_enabled
        or integration.status == IntegrationStatus.INTEGRATION_STATUS_DISABLED
    ):
        raise EgressRefused("the integration is switched off")
    import httpx

    try:
        base = httpx.URL(integration.base_url)
    except httpx.InvalidURL:
        raise EgressRefused("the integration's base_url is no URL") from None
    if not base.host or base.userinfo or base.query or base.fragment:
        raise EgressRefused("the integration's base_url must be scheme, host and path alone")
    content = b"" if body is None else json.dumps(body).encode()
    sent = {**headers, "Idempotency-Key": key, **_proof(integration, content)}
    if content:
        sent.setdefault("Content-Type", "application/json")
    return Outgoing(method, f"{str(base).rstrip('/')}{path}", sent, content)


def _proof(integration: Any, content: bytes) -> dict[str, str]:
    """Give the headers that prove who calls; EgressRefused for ways that are not served."""
    held, kind = integration.credentials, IntegrationAuthType
    match integration.auth_type:
        case kind.INTEGRATION_AUTH_TYPE_NONE:
            return {}
        case kind.INTEGRATION_AUTH_TYPE_API_KEY:
            return {"X-Api-Key": held.token}
        case kind.INTEGRATION_AUTH_TYPE_BEARER:
            return {"Authorization": f"Bearer {held.token}"}
        case kind.INTEGRATION_AUTH_TYPE_BASIC:
            pair = base64.b64encode(f"{held.username}:{held.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        case kind.INTEGRATION_AUTH_TYPE_HMAC:
            digest = hmac.new(held.client_secret.encode(), content, hashlib.sha256).hexdigest()
            return {"X-Signature-256": f"sha256={digest}"}
    name = IntegrationAuthType.Name(integration.auth_type)
    raise EgressRefused(f"integrations are not called by {name}")


def told(answer: Answer) -> dict[str, Any]:
    """Give what later steps read of an answer."""
    text = answer.content.decode(errors="replace").replace("\0", "")
    body: Any = text
    if answer.content_type.partition(";")[0].strip().endswith("json"):
        try:
            body = read_json(text)
        except ValueError:
            body = text
    return {"status": answer.status, "body": body}
