"""Credentials where they do not belong: in a build's environment and in addresses of its source.

Sources: AWS Security Hub user guide, CodeBuild.1 and CodeBuild.2; IAM User Guide, "Understanding
unique ID prefixes"; the makers' own prefixes of tokens.
"""

import re
from urllib.parse import parse_qs, urlsplit, urlunsplit

_KEY_NAMES = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
_LOOKS = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{22,}"
    r"|\bglpat-[A-Za-z0-9_-]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_TOKEN_USER = re.compile(r"[0-9a-f]{40}|x-token-auth|x-access-token|oauth2")
_TOKENS = frozenset({"access_token", "oauth_token", "private_token", "token"})
_IMAGE_TOOLS = re.compile(
    r"(?:^|[\s;&|'\"/])(?:docker(?:-compose)?|buildah|podman|kaniko|buildx|buildctl|dockerd)\b"
)


def is_credential(name: str, value: str) -> bool:
    """Tell whether a variable is a credential, by its name or by the look of its value."""
    return (name.upper() in _KEY_NAMES and bool(value)) or _LOOKS.search(value) is not None


def has_credentials(address: str) -> bool:
    """Tell whether an address carries a password or a token; one that is none carries nothing."""
    try:
        parts = urlsplit(address)
        user, password = parts.username, parts.password
    except ValueError:
        return "@" in address
    # A user alone is none, unless a token stands in the user's place.
    named = password is not None or _TOKEN_USER.fullmatch(user or "") is not None
    return (
        named or _LOOKS.search(address) is not None or not _TOKENS.isdisjoint(parse_qs(parts.query))
    )


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
