"""API keys of the file that `secmesh keys` writes."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from gateway.edge.key_grants import Grant
from gateway.edge.key_refusals import ApiKeyExpired, ApiKeyInvalid
from mesh.errors import DependencyUnavailable
from mesh.identity.api_key import ApiKey
from mesh.identity.api_key_file import ApiKeyFile, KeyFileInvalid, KeyRecord, Stamp

_NEVER = (0, 0, 0, 0)
_LOG = logging.getLogger(__name__)


class FileKeys:
    """Finds keys in the file, which is looked at each time.

    While it cannot be read or used, no key is good: an old list might hold one that was revoked
    since.
    """

    def __init__(self, keys: ApiKeyFile) -> None:
        self._file = keys
        self._stamp: Stamp | None = _NEVER
        self._records: Mapping[str, KeyRecord] | None = None

    async def find(self, key: ApiKey) -> Grant | None:
        record = self._current().get(key.id)
        if record is None or not key.matches(record.sha256):
            return None
        if record.revoke_time is not None:
            raise ApiKeyInvalid
        if record.expire_time <= datetime.now(UTC):
            raise ApiKeyExpired
        return Grant(
            record.id,
            record.sha256,
            record.tenant,
            record.roles,
            record.permissions,
            record.expire_time,
        )

    def _current(self) -> Mapping[str, KeyRecord]:
        try:
            stamp = self._file.stamp()
            if stamp != self._stamp:
                # Before the reading: what fails now is not good because it was good before.
                self._stamp, self._records = stamp, None
                self._records = self._file.read()
        except KeyFileInvalid as error:
            _complain(error)
        except OSError as error:
            self._stamp, self._records = _NEVER, None
            _complain(error)
        if self._records is None:
            raise DependencyUnavailable("api keys")
        return self._records


def _complain(error: Exception) -> None:
    _LOG.error("API keys cannot be read; none is good", extra={"fields": {"error": str(error)}})
