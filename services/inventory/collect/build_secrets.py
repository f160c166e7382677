"""Credentials in addresses of a build's source, and what its commands do.

Source: AWS Security Hub user guide, CodeBuild.1.
"""

import re
from urllib.parse import parse_qs, urlsplit, urlunsplit

from services.inventory.collect.credential_shapes import carries_credential

_TOKEN_USER = re.compile(r"[0-9a-f]{40}|x-token-auth|x-access-token|oauth2")
_TOKENS = frozenset({"access_token", "oauth_token", "private_token", "token"})
_IMAGE_TOOLS = re.compile(
    r"(?:^|[\s;&|'\"/])(?:docker(?:-compose)?|buildah|podman|kaniko|buildx|buildctl|dockerd)\b"
)


def has_credentials(address: str) -> bool:
    """Tell whether an address carries a password or a token; one that is none carries nothing."""
    try:
        parts = urlsplit(address)
        user, password = parts.username, parts.password
    except ValueError:
        return "@" in address
    # A user alone is none, unless a token stands in the user's place.
    named = password is not None or _TOKEN_USER.fullmatch(user or "") is not None
    return named or carries_credential(address) or not _TOKENS.isdisjoint(parse_qs(parts.query))


def without_credentials(address: str) -> str:
    """Give an address without user, password, query and fragment."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if not parts.scheme or not parts.netloc:
        return address
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


def builds_images(commands: str) -> bool:
    """Tell whether build commands call a tool that builds container images."""
    return _IMAGE_TOOLS.search(commands) is not None
