"""Single values sealed: encrypted, and bound to where they stand.

Form 1, written ``sealed:`` and base64url without padding (RFC 4648, 5) of

    version (1 byte, 1) | length of key id (1 byte) | key id | salt (32 bytes)
    | commitment (32 bytes) | AES-256-GCM ciphertext and tag (NIST SP 800-38D)

Context: header (version to key id), tenant, table, record id and field, each after its length as
4 bytes, big-endian. Key and commitment: 64 bytes of HKDF-SHA-256 (RFC 5869) of the master key,
with the salt, over a label and the context. A key is of one value alone, so that its nonce is
zero; the context is the additional data, too. The commitment ties a value to one key of the ring.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mesh.errors import SealBroken
from mesh.sealing.canonical import length_prefixed
from mesh.sealing.keyring import KeyRing

SEALED = "sealed:"
_VERSION = 1
_LABEL = b"secmesh sealed value"
_SALT = 32
_COMMITMENT = 32
_KEY = 32
_NONCE = bytes(12)
_LENGTH = 4
_REMEMBERED = 4096
"""Values whose sealed form is known again when they are written unchanged."""


_CODE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""The characters of base64url, by their number."""


class Beginning(NamedTuple):
    """How values begin that one key sealed, and no others."""

    text: str
    following: str
    """The characters that may come next, one of them."""


def beginning(key_id: str) -> Beginning:
    """Give how the values of a key begin: a store can tell them from others by it."""
    header = bytes([_VERSION, len(key_id)]) + key_id.encode()
    # The last character holds bits of the salt, too.
    whole, rest = divmod(len(header) * 8, 6)
    coded = base64.urlsafe_b64encode(header + bytes(3)).decode()
    span, start = 1 << (6 - rest), _CODE.index(coded[whole])
    return Beginning(SEALED + coded[:whole], _CODE[start : start + span])


class Place(NamedTuple):
    """Where a value stands."""

    tenant: str
    table: str
    record: str
    field: str


class Sealer:
    """Seals with the first key of a ring, and opens with all."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        # What is remembered tells nothing of a value: digests by a key of this process.
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def seal(self, value: bytes, place: Place) -> str:
        """Seal a value; one that was opened here lately, of the same place, as it was."""
        known = self._known.get(self._digest(value, place))
        if known is not None:
            return known
        key_id = self._keys.first
        header = bytes([_VERSION, len(key_id)]) + key_id.encode()
        salt = secrets.token_bytes(_SALT)
        context = _context(header, place)
        key, commitment = _derive(self._keys.sealing[key_id], salt, context)
        sealed = AESGCM(key).encrypt(_NONCE, value, context)
        text = base64.urlsafe_b64encode(header + salt + commitment + sealed).rstrip(b"=").decode()
        return SEALED + text

    def open(self, text: str, place: Place) -> bytes:
        """Open a value; SealBroken if it is of another place, another ring, or was changed."""
        blob = _decoded(text)
        if len(blob) < 2 or blob[0] != _VERSION:  # version and length
            raise SealBroken(place.table, place.field)
        end = 2 + blob[1]
        header, salt = blob[:end], blob[end : end + _SALT]
        stated = blob[end + _SALT : end + _SALT + _COMMITMENT]
        master = self._keys.sealing.get(header[2:].decode("ascii", "replace"))
        if master is None or len(stated) != _COMMITMENT:
            raise SealBroken(place.table, place.field)
        context = _context(header, place)
        key, commitment = _derive(master, salt, context)
        if not hmac.compare_digest(stated, commitment):
            raise SealBroken(place.table, place.field)
        try:
            value = AESGCM(key).decrypt(_NONCE, blob[end + _SALT + _COMMITMENT :], context)
        except (InvalidTag, ValueError):
            raise SealBroken(place.table, place.field) from None
        if header[2:] == self._keys.first.encode():
            self._remember(self._digest(value, place), text)
        return value

    def _digest(self, value: bytes, place: Place) -> bytes:
        return hmac.digest(self._secret, _context(value, place), hashlib.sha256)

    def _remember(self, digest: bytes, text: str) -> None:
        self._known[digest] = text
        self._known.move_to_end(digest)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _decoded(text: str) -> bytes:
    """Give the bytes of a sealed value; none if it is no such text, or is not the only one."""
    coded = text.removeprefix(SEALED)
    try:
        blob = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    again = base64.urlsafe_b64encode(blob).rstrip(b"=").decode()
    return blob if SEALED + again == text else b""


def _context(header: bytes, place: Place) -> bytes:
    return length_prefixed((header, *(part.encode() for part in place)), width=_LENGTH)


def _derive(master: bytes, salt: bytes, context: bytes) -> tuple[bytes, bytes]:
    made = HKDF(SHA256(), _KEY + _COMMITMENT, salt, _LABEL + context).derive(master)
    return made[:_KEY], made[_KEY:]
