"""The file of an export: JSON lines, of which the last signs all others; docs: CRYPTO_EXPORT.md.

Each line is an object with ``type``; keys are sorted, nothing stands between tokens, and the text
is UTF-8, so that the same content has the same bytes. The signature is a note (``audit.note``) of

    secmesh export                      what it is
    secmesh.crypto/production           which service, in which environment
    user tenants/acme/users/0199...
    lines 17                            before the signature
    sha256 ab34...                      of their bytes, line breaks included
    exported_at 1763800000000000        microseconds since 1970
"""

from collections.abc import Mapping
from hashlib import sha256

import orjson

from services.crypto.audit.note import Signer
from services.crypto.audit.words import statement_text

FORM = "secmesh/export/1"
KIND = "secmesh export"
SIGNATURE = "signature"


def line_of(content: Mapping[str, object]) -> bytes:
    """Write one line."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


class BundleWriter:
    """Writes lines and signs them in the end."""

    def __init__(self, origin: str, user: str, exported_at: int) -> None:
        """``user`` is a resource name, ``exported_at`` microseconds since 1970."""
        self._origin = origin
        self._user = user
        self._exported_at = exported_at
        self._count = 0
        self._hash = sha256()

    def line(self, content: Mapping[str, object]) -> bytes:
        """Give the next line."""
        written = line_of(content)
        self._count += 1
        self._hash.update(written)
        return written

    def signature(self, signer: Signer) -> bytes:
        """Give the last line."""
        words = [
            ("user", self._user),
            ("lines", str(self._count)),
            ("sha256", self._hash.hexdigest()),
            ("exported_at", str(self._exported_at)),
        ]
        note = signer.sign(statement_text(KIND, self._origin, words))
        return line_of({"type": SIGNATURE, "note": note})
