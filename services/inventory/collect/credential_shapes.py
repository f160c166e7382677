"""What looks like a credential among the variables of an environment.

Values are looked at where they are read and kept nowhere. Sources of the forms: AWS IAM User
Guide, "Unique identifiers"; RFC 7519 (JWT), RFC 7468 (PEM), RFC 3986 section 3.2.1 (passwords in
URLs); GitHub Docs, "About authentication"; GitLab
Docs, "Token prefixes"; Slack API, "Token types"; Stripe Docs, "API keys";
Google Cloud, "API keys"; AWS Security Hub, control ECS.8.
"""

import re
from collections.abc import Callable

Fingerprint = Callable[[str], str]
"""Gives what is kept of a credential's value (``services.inventory.collect.fingerprints``)."""
NAMED = "named"
"""What a value looks like whose name alone says that it is secret."""
_FORMS = {
    "private-key": re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"),
    "aws-access-key-id": re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    "github-token": re.compile(r"\b(?:gh[opusr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})"),
    "gitlab-token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20}"),
    "slack-token": re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10}"),
    "stripe-key": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16}"),
    "google-api-key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}"),
    "json-web-token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\."),
    "url-password": re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@${}]+@", re.IGNORECASE),
}
# Of these a name is enough (AWS Security Hub, control CodeBuild.2).
_KEY_NAMES = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
# The last words of a name: TOKEN_URL, SECRET_NAME and PASSWORD_FILE hold no secret.
_NAME = re.compile(
    r"(?:^|[_.-])(?:PASS|PASSWD|PASSWORD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|AUTH_DATA"
    r"|(?:API|ACCESS|AUTH|ENCRYPTION|PRIVATE|SECRET|SIGNING)_?KEY)$"
)
_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# A reference, a path, a switch or a small number, as a value of such a name often is.
_NO_SECRET = re.compile(
    r"\s*|arn:.*|[./~].*|https?://.*|\$.*|\{\{.*|\d{1,6}|true|false|yes|no|on|off|none|null",
    re.IGNORECASE | re.DOTALL,
)


def carries_credential(text: str) -> bool:
    """Tell whether a credential stands in some text by its form alone, wherever it is."""
    return any(pattern.search(text) for pattern in _FORMS.values())


def looks_like(name: str, value: str) -> str:
    """Tell what sort of credential a variable's value looks like; empty if it looks like none."""
    for form, pattern in _FORMS.items():
        if pattern.search(value):
            return form
    if name.upper() in _KEY_NAMES and value:
        return NAMED
    words = _WORD_BREAK.sub("_", name).upper()
    return NAMED if _NAME.search(words) and not _NO_SECRET.fullmatch(value) else ""
