"""The issuers' public keys, for Envoy to fetch: keys rotate without a restart."""

import asyncio
from collections.abc import Mapping

from mesh.errors import DependencyUnavailable
from mesh.identity.jwks import KeySource
from mesh.identity.token import ISSUER_KEYS


class KeySet:
    """The key set of one issuer as Envoy gets it."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._flight: asyncio.Future[None] | None = None

    async def content(self) -> bytes:
        """Give the set as it is now (RFC 7517).

        Envoy asks each second: nobody waits for an issuer as long as there is a set that may be
        believed. Raises DependencyUnavailable if there is none.
        """
        source = self._source
        if source.stale():
            await self._refreshed()
        if not source.in_force:
            raise DependencyUnavailable(ISSUER_KEYS)
        return source.document()

    async def _refreshed(self) -> None:
        flight = self._flight
        if flight is None or flight.done():
            work = asyncio.to_thread(self._source.refresh)
            flight = self._flight = asyncio.ensure_future(work)
        if not (self._source.is_url and self._source.in_force):
            await asyncio.shield(flight)


class KeySets:
    """The key sets of all issuers whose tokens are believed.

    Args:
        first: Issuer whose keys are meant where none is named.
        sources: Key set by issuer.
    """

    def __init__(self, first: str, sources: Mapping[str, KeySource]) -> None:
        self._first = first
        self._sets = {issuer: KeySet(source) for issuer, source in sources.items()}

    def of(self, issuer: str = "") -> KeySet | None:
        """Give the key set of an issuer; None of one that is not believed."""
        return self._sets.get(issuer or self._first)
