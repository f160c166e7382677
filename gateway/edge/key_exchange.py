"""API keys exchanged for tokens: the edge alone holds the key that signs them."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from mesh.errors import DependencyUnavailable, Refusal, common
from mesh.identity.api_key import PREFIX, ApiKey, ApiKeyMalformed
from mesh.identity.api_key_file import ApiKeyFile, KeyFileInvalid, KeyRecord, Stamp
from mesh.identity.attempts import Attempts
from mesh.identity.keys import public_key_id, sign_token
from secmesh.rpc.v1 import error_reason_pb2 as reasons

HEADER = "x-api-key"
BEARER = "bearer "
TOKEN_LIFETIME = timedelta(minutes=5)
REUSED_FOR = timedelta(minutes=1)
"""A token serves other calls for so long; a stream, which ends with its token, has the rest."""
MAX_TOKENS = 10_000
_NEVER = (0, 0, 0, 0)
_LOG = logging.getLogger(__name__)


class ApiKeyInvalid(Refusal):
    """The same words whether the key is unknown, wrong or revoked."""

    reason = common(reasons.ERROR_REASON_API_KEY_INVALID)

    def __init__(self) -> None:
        super().__init__("the API key is not valid here")


class ApiKeyExpired(Refusal):
    reason = common(reasons.ERROR_REASON_API_KEY_EXPIRED)

    def __init__(self) -> None:
        super().__init__("the API key has expired")


class CredentialsAmbiguous(Refusal):
    reason = common(reasons.ERROR_REASON_CREDENTIALS_AMBIGUOUS)

    def __init__(self) -> None:
        super().__init__("send an API key or a token, not both")


class ApiKeysUnsupported(Refusal):
    reason = common(reasons.ERROR_REASON_API_KEYS_UNSUPPORTED)

    def __init__(self) -> None:
        super().__init__("this gateway takes no API keys; send a token of its issuer")


class AttemptsExceeded(Refusal):
    """The address has sent too many wrong keys of late."""

    reason = common(reasons.ERROR_REASON_API_KEY_ATTEMPTS_EXCEEDED)

    def __init__(self, retry_seconds: int) -> None:
        delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_seconds))
        super().__init__("too many wrong API keys came from this address", details=[delay])


class SigningKeyUnknown(ValueError):
    """Tokens made here would be believed nowhere: the issuer's key set lacks their key."""


def key_of(headers: Mapping[str, str]) -> str | None:
    """Give the API key a request carries, as it was sent, or None.

    Raises CredentialsAmbiguous if it carries anything else that says who calls.
    """
    in_header, authorization = headers.get(HEADER), headers.get("authorization")
    if in_header is not None:
        if authorization is not None:
            raise CredentialsAmbiguous
        return in_header
    scheme, rest = (authorization or "")[: len(BEARER)], (authorization or "")[len(BEARER) :]
    if scheme.lower() == BEARER and rest.startswith(PREFIX) and "," not in rest:
        return rest.strip()
    if authorization is not None and f"{BEARER}{PREFIX}" in authorization.lower():
        raise CredentialsAmbiguous
    return None


@dataclass(frozen=True)
class _Held:
    record: KeyRecord
    token: str
    renew_at: float


class KeyExchange:
    """Gives a token of at most 5 minutes for a key of the file.

    The file is looked at before each exchange. While it cannot be read or used, no key is good:
    an old list might hold one that was revoked since.

    Args:
        keys: The file of keys.
        signing: Folder of the signing key.
        attempts: Counts wrong keys by address.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        keys: ApiKeyFile,
        signing: Path,
        attempts: Attempts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._file = keys
        self._signing = signing
        self._attempts = attempts
        self._stamp: Stamp | None = _NEVER
        self._records: Mapping[str, KeyRecord] | None = None
        self._tokens: OrderedDict[str, _Held] = OrderedDict()

    def exchange(self, text: str, address: str) -> str:
        """Give a token for a key that came from an address.

        Raises ApiKeyInvalid, ApiKeyExpired, AttemptsExceeded, DependencyUnavailable.
        """
        records = self._current()
        try:
            key = ApiKey.parse(text)
        except ApiKeyMalformed:
            raise self._failed(address) from None
        record = records.get(key.id)
        held = self._tokens.get(key.id)
        proven = held is not None and held.record == record
        # Who was let in lately is not shut out by a neighbour behind the same address.
        if not proven and (wait := self._attempts.wait_seconds(address)):
            raise AttemptsExceeded(wait)
        if record is None or not key.matches(record.sha256):
            raise self._failed(address)
        # Whoever has the right secret guesses nothing: these are not counted.
        if record.revoke_time is not None:
            raise ApiKeyInvalid
        if record.expire_time <= datetime.now(UTC):
            raise ApiKeyExpired
        if held is not None and proven and self._clock() < held.renew_at:
            self._tokens.move_to_end(key.id)
            return held.token
        return self._sign(record)

    def _sign(self, record: KeyRecord) -> str:
        left = record.expire_time - datetime.now(UTC)
        lifetime = max(min(TOKEN_LIFETIME, left), timedelta(seconds=1))
        token = sign_token(
            self._signing,
            subject=f"api-key:{record.id}",
            tenant=record.tenant,
            roles=record.roles,
            permissions=record.permissions,
            lifetime=lifetime,
        )
        renew_at = self._clock() + REUSED_FOR.total_seconds()
        self._tokens[record.id] = _Held(record, token, renew_at)
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)
        return token

    def _failed(self, address: str) -> Refusal:
        """Count a wrong key; beyond the limit its answer says only that."""
        if wait := self._attempts.wait_seconds(address):
            return AttemptsExceeded(wait)
        self._attempts.note(address)
        _LOG.warning("a wrong API key was refused", extra={"fields": {"client": address}})
        return ApiKeyInvalid()

    def _current(self) -> Mapping[str, KeyRecord]:
        try:
            stamp = self._file.stamp()
            if stamp != self._stamp:
                # Before the reading: what fails now is not good because it was good before.
                self._stamp, self._records = stamp, None
                self._records = self._file.read()
                self._forget_changed(self._records)
        except KeyFileInvalid as error:
            _complain(error)
        except OSError as error:
            self._stamp, self._records = _NEVER, None
            _complain(error)
        if self._records is None:
            raise DependencyUnavailable("api keys")
        return self._records

    def _forget_changed(self, records: Mapping[str, KeyRecord]) -> None:
        for key_id, held in tuple(self._tokens.items()):
            if records.get(key_id) != held.record:
                del self._tokens[key_id]


def _complain(error: Exception) -> None:
    _LOG.error("API keys cannot be read; none is good", extra={"fields": {"error": str(error)}})


def require_known(signing: Path, key_set: bytes) -> None:
    """Refuse a signing key whose public half the key set lacks.

    Raises SigningKeyUnknown, or OSError or ValueError if the folder holds no key.
    """
    known = {key.get("kid") for key in orjson.loads(key_set)["keys"]}
    if public_key_id(signing) not in known:
        raise SigningKeyUnknown(
            "the key that signs for API keys is not in the key set, so its tokens would be refused"
        )
