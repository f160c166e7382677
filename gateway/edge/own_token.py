"""The token by which the edge itself calls the tenancy service."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from mesh.identity.keys import sign_token

SUBJECT = "gateway-edge"
TENANT = "gateway"
"""A token names a tenant; with this permission alone it opens nothing of one so called."""
PERMISSION = "platform.api_keys.resolve"
LIFETIME = timedelta(minutes=5)
RENEWED_SECONDS = 240.0


class OwnToken:
    """Signs a token that lets nothing be done but ask about API keys; renews it in time.

    Args:
        signing: Folder of the signing key.
        clock: Seconds that only grow.
    """

    def __init__(self, signing: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._signing = signing
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0

    def __call__(self) -> str:
        """Give the token. Raises OSError or ValueError if the folder holds no key."""
        now = self._clock()
        if not self._token or now >= self._renew_at:
            self._token = sign_token(
                self._signing,
                subject=SUBJECT,
                tenant=TENANT,
                permissions=[PERMISSION],
                lifetime=LIFETIME,
            )
            self._renew_at = now + RENEWED_SECONDS
        return self._token
