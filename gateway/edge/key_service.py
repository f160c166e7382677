"""API keys that the tenancy service keeps: it is asked, and its answers are good for seconds."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from gateway.edge.key_grants import Grant
from gateway.edge.key_refusals import ApiKeyExpired, ApiKeyInvalid
from mesh.errors import DependencyUnavailable
from mesh.identity.api_key import ApiKey
from secmesh.tenancy.v1 import api_key_service_pb2 as pb
from secmesh_client import CallRefused

SECONDS = 20.0
"""How long a good answer is used, unless settings say otherwise."""
MOST_SECONDS = 30.0
BAD_SECONDS = 5.0
"""How long any other answer is used at most."""
ASK_SECONDS = 3.0
"""Longest wait for an answer; Envoy waits 5 seconds for ours."""
MAX_ANSWERS = 10_000
"""Good answers kept, and as many others: whoever tries keys out drives no good one away."""
MAX_ASKED = 256
"""Questions under way at a time; more keys are not judged then."""
_LOG = logging.getLogger(__name__)
_Place = tuple[str, str]


class Resolver(Protocol):
    """The one method of ApiKeyService that is asked."""

    def ResolveApiKey(  # noqa: N802 (the name is the contract's)
        self, request: pb.ResolveApiKeyRequest, *, timeout: float
    ) -> Awaitable[pb.ResolveApiKeyResponse]: ...


@dataclass(frozen=True)
class _Answer:
    verdict: int
    grant: Grant | None
    ends_at: float


class ServiceKeys:
    """Finds keys by asking the tenancy service, which never sees the key itself.

    An answer counts from when it was asked for, so that a key that is revoked stops within
    ``seconds``. When nobody answers, keys go on until their answers end and no longer.

    Args:
        resolver: Stub of ApiKeyService.
        seconds: How long a good answer is used, at most 30.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        resolver: Resolver,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._seconds = min(seconds, MOST_SECONDS)
        self._clock = clock
        self._good: OrderedDict[_Place, _Answer] = OrderedDict()
        self._bad: OrderedDict[_Place, _Answer] = OrderedDict()
        self._asked: dict[_Place, asyncio.Task[_Answer]] = {}

    async def find(self, key: ApiKey) -> Grant | None:
        place = (key.id, key.digest())
        answer = self._good.get(place) or self._bad.get(place)
        if answer is None or self._clock() >= answer.ends_at:
            # Shielded, since others may wait for the same answer when one of them leaves.
            answer = await asyncio.shield(self._question(place))
        return _judged(answer)

    def _question(self, place: _Place) -> asyncio.Task[_Answer]:
        """Give the question about a key that is under way, or begin one."""
        task = self._asked.get(place)
        if task is None:
            if len(self._asked) >= MAX_ASKED:
                raise DependencyUnavailable("tenancy")
            task = asyncio.create_task(self._ask(place))
            self._asked[place] = task
            task.add_done_callback(lambda done: self._end(place, done))
        return task

    def _end(self, place: _Place, done: "asyncio.Task[_Answer]") -> None:
        del self._asked[place]
        if not done.cancelled():
            done.exception()  # seen, even if all who waited have left

    async def _ask(self, place: _Place) -> _Answer:
        key_id, sha256 = place
        asked_at = self._clock()
        request = pb.ResolveApiKeyRequest(key_id=key_id, secret_sha256=sha256)
        try:
            response = await self._resolver.ResolveApiKey(request, timeout=ASK_SECONDS)
        except (CallRefused, OSError, ValueError) as error:
            # Our own token may be what is refused: the caller cannot mend that either.
            fields = {"fields": {"error": type(error).__name__, "reason": _reason(error)}}
            _LOG.error("the tenancy service does not tell about API keys", extra=fields)
            raise DependencyUnavailable("tenancy") from None
        return self._keep(place, response, asked_at)

    def _keep(self, place: _Place, response: pb.ResolveApiKeyResponse, asked_at: float) -> _Answer:
        good = response.verdict == pb.API_KEY_VERDICT_GOOD
        seconds = self._seconds if good else min(BAD_SECONDS, self._seconds)
        grant = _grant(place, response) if good else None
        answer = _Answer(response.verdict, grant, asked_at + seconds)
        kept, other = (self._good, self._bad) if good else (self._bad, self._good)
        other.pop(place, None)
        kept[place] = answer
        kept.move_to_end(place)
        if len(kept) > MAX_ANSWERS:
            kept.popitem(last=False)
        return answer


def _grant(place: _Place, response: pb.ResolveApiKeyResponse) -> Grant:
    key_id, sha256 = place
    told = response.api_key
    return Grant(
        key_id,
        sha256,
        told.name.split("/")[1],
        tuple(told.roles),
        tuple(told.permissions),
        told.expire_time.ToDatetime(UTC),
        tuple(told.methods),
    )


def _judged(answer: _Answer) -> Grant | None:
    if answer.grant is not None:
        if answer.grant.expire_time <= datetime.now(UTC):
            raise ApiKeyExpired
        return answer.grant
    if answer.verdict == pb.API_KEY_VERDICT_EXPIRED:
        raise ApiKeyExpired
    if answer.verdict == pb.API_KEY_VERDICT_UNKNOWN:
        return None
    raise ApiKeyInvalid


def _reason(error: Exception) -> str:
    if isinstance(error, CallRefused):
        return error.reason or error.code.name
    return str(error)
