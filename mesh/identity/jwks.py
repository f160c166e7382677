"""Public keys of token issuers (JSON Web Key Sets, RFC 7517): from a file, over HTTPS or gRPC."""

import logging
import os
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jwt
import orjson

from mesh.loopback import is_loopback

ALGORITHMS = ("ES256", "RS256", "EdDSA")
"""Signatures that are accepted: never ``none``, never a shared secret (RFC 8725, 3.1)."""

MAX_BYTES = 1 << 20
AGE_SECONDS = 300.0
"""After which a key set that is fetched is read again."""
MAX_AGE_SECONDS = 24 * 3600.0
"""For which a key set is believed that cannot be read again, unless settings say otherwise."""
_FILE_CHECK_SECONDS = 1.0
_COOLDOWN_SECONDS = 10.0
_EMPTY_COOLDOWN_SECONDS = 1.0
"""As long as there is no set at all: who has it may just have started."""
_MIN_RSA_BITS = 2048
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
"""Members of a key that only its owner may know (RFC 7518, 6.2.2 and 6.3.2)."""

_LOG = logging.getLogger(__name__)

Keys = Mapping[str, jwt.PyJWK]


class JwksInvalid(Exception):
    """A key set cannot be used; says why."""


def parse_jwks(content: bytes) -> Keys:
    """Read the usable keys of a set by their ``kid``; keys of other kinds are passed over.

    Raises JwksInvalid if it is no key set, holds a private key or has no usable key.
    """
    return MappingProxyType({kid: key for kid, (key, _) in _usable_keys(content).items()})


def _usable_keys(content: bytes) -> Mapping[str, tuple[jwt.PyJWK, dict[str, Any]]]:
    """Read the usable keys, each with what the set says of it."""
    try:
        listed = orjson.loads(content)["keys"]
        entries = [dict(entry) for entry in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise JwksInvalid("this is no JSON Web Key Set") from error
    keys: dict[str, tuple[jwt.PyJWK, dict[str, Any]]] = {}
    for entry in entries:
        if _PRIVATE & entry.keys():
            raise JwksInvalid(f"key {entry.get('kid')!r} is a private key")
        key = _usable(entry)
        if key is None or key.key_id is None:
            continue
        if key.key_id in keys:
            raise JwksInvalid(f"two keys have the kid {key.key_id!r}")
        keys[key.key_id] = key, entry
    if not keys:
        raise JwksInvalid(f"no key with a kid for {', '.join(ALGORITHMS)}")
    return keys


def _usable(entry: dict[str, Any]) -> jwt.PyJWK | None:
    # Symmetric keys (kty oct) never pass, so HS256 cannot be verified with a public key as secret.
    if entry.get("kty") not in ("EC", "RSA", "OKP") or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(entry)
    except jwt.PyJWTError:
        return None
    if key.algorithm_name not in ALGORITHMS:
        return None
    if key.key_type == "RSA" and key.key.key_size < _MIN_RSA_BITS:
        return None
    return key


class KeySource:
    """The current key set of an issuer.

    ``where`` is a file path, looked at once a second, or an ``https`` URL (plain ``http`` only to
    loopback), read again after ``age`` seconds or for an unknown kid, as what ``fetch`` gives is.
    A set that cannot be read or used is logged and the one before stays in force, for ``max_age``
    seconds at most. Raises JwksInvalid or OSError if the first reading fails, unless the source is
    ``lenient``: then there are no keys until a token names one.
    """

    def __init__(
        self,
        where: str | Path,
        *,
        ca: Path | None = None,
        fetch: Callable[[], bytes] | None = None,
        lenient: bool = False,
        age: float = AGE_SECONDS,
        max_age: float = MAX_AGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take PEM authorities ``ca`` of the URL's server, in place of the system's."""
        text = str(where)
        self.is_url = "://" in text
        if self.is_url and fetch is None:
            _require_safe(text)
        self._where = text
        self._tls = ssl.create_default_context(cafile=ca) if ca is not None else None
        self._fetch = fetch or self._fetch_url
        self._lock = threading.Lock()
        self._age, self._max_age, self._clock = age, max_age, clock
        self._looked = 0.0
        self._read_at: float | None = None
        self._sound = False
        """Whether the file, as it was when it was read last, holds a set that can be used."""
        self._stamp: tuple[int, int, int] | None = None
        self.generation = 0
        """Grows with every new set; what was verified with an older one is void."""
        self._keys: Keys = MappingProxyType({})
        self._document = b""
        try:
            self._load()
        except (JwksInvalid, OSError, HTTPException) as error:
            if not lenient:
                raise
            self._looked = self._clock()
            fields = {"fields": {"error": type(error).__name__}}
            _LOG.warning("the key set is not there yet", extra=fields)

    @property
    def in_force(self) -> bool:
        """Whether there is a set, and one that is not too old to be believed."""
        return self._read_at is not None and self._clock() - self._read_at <= self._max_age

    def document(self) -> bytes:
        """Give the usable keys as a set, as it was read last."""
        return self._document

    def key(self, kid: str) -> jwt.PyJWK | None:
        """Give a key of the set as it was read last."""
        return self._keys.get(kid)

    def stale(self, *, unknown_kid: bool = False) -> bool:
        """Tell whether the set should be read again before it is used."""
        age = self._clock() - self._looked
        if not self.is_url:
            return age >= _FILE_CHECK_SECONDS
        if not self.in_force:
            return age >= _EMPTY_COOLDOWN_SECONDS
        # The cooldown keeps forged kids from turning every call into a fetch.
        return age >= (min(_COOLDOWN_SECONDS, self._age) if unknown_kid else self._age)

    def refresh(self, *, unknown_kid: bool = False) -> None:
        """Read the set again if it is stale. Blocks: a URL is given 5 seconds."""
        with self._lock:
            if not self.stale(unknown_kid=unknown_kid):
                return
            try:
                self._load()
            except (JwksInvalid, OSError, HTTPException) as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._looked = self._clock()
        then = "the one before stays in force" if self.in_force else "no token is verified by it"
        _LOG.error(
            f"the key set cannot be read; {then}",
            extra={"fields": {"error": type(error).__name__}},
        )

    def _load(self) -> None:
        content = self._fetch() if self.is_url else self._read()
        self._looked = now = self._clock()
        if content is not None:
            self._sound = False
            found = _usable_keys(content)
            self._keys = {kid: key for kid, (key, _) in found.items()}
            self._document = orjson.dumps({"keys": [entry for _, entry in found.values()]})
            self._sound = True
            self.generation += 1
        # A file that has not changed since it was found broken is no newer set.
        if self._sound:
            self._read_at = now

    def _read(self) -> bytes | None:
        path = Path(self._where)
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return None
            content = _limited(file.read(MAX_BYTES + 1))
        self._stamp = stamp
        return content

    def _fetch_url(self) -> bytes:
        handlers = [] if self._tls is None else [urllib.request.HTTPSHandler(context=self._tls)]
        opener = urllib.request.build_opener(_NoRedirect, *handlers)
        with opener.open(self._where, timeout=5) as response:
            return _limited(response.read(MAX_BYTES + 1))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key set lives where the settings say, nowhere else."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def _limited(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise JwksInvalid(f"the key set is larger than {MAX_BYTES} bytes")
    return content


def _require_safe(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return
    raise JwksInvalid("a key set is read from a file, over https, or over http from loopback")
