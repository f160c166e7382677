"""Page tokens: where a page ended, signed and bound to the request it belongs to."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import Message

from mesh.errors import FieldInvalid, PageTokenInvalid

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_MIN_KEY_BYTES = 16
_MAC_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Page:
    """Some resources of a list, and the token that asks for those after them."""

    items: list[Message]
    next_page_token: str
    """Empty on the last page."""


class PageTokens:
    """Writes and reads page tokens with one key."""

    def __init__(self, key: bytes) -> None:
        """Take a secret key of at least 16 bytes, the same in all processes of a service."""
        if len(key) < _MIN_KEY_BYTES:
            raise ValueError(f"a page key has at least {_MIN_KEY_BYTES} bytes")
        self._key = key

    def write(self, request: Sequence[str], position: Sequence[Any]) -> str:
        """Give the token of a position (strings, numbers, None) within a request."""
        content = orjson.dumps(position)
        return base64.urlsafe_b64encode(self._mac(request, content) + content).decode()

    def read(self, request: Sequence[str], token: str) -> list[Any]:
        """Give the position; PageTokenInvalid if it was not written for this request."""
        try:
            # Without validation the decoder skips what is not base64: two tokens, one meaning.
            raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise PageTokenInvalid from error
        mac, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(request, content)):
            raise PageTokenInvalid
        position: list[Any] = orjson.loads(content)
        return position

    def _mac(self, request: Sequence[str], content: bytes) -> bytes:
        """HMAC-SHA256 (RFC 2104) over the request and the position, lengths unambiguous."""
        digest = hashlib.sha256(orjson.dumps(list(request))).digest()
        return hmac.digest(self._key, digest + content, "sha256")


def page_limit(page_size: int) -> int:
    """Give the rows of a page; 0 asks for the default. FieldInvalid outside 0 to 1000."""
    if not 0 <= page_size <= MAX_PAGE_SIZE:
        raise FieldInvalid.of("page_size", f"must be from 0 to {MAX_PAGE_SIZE}")
    return page_size or DEFAULT_PAGE_SIZE
