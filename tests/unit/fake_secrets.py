"""Secrets Manager as it is where moto is not: stages, sizes, blocked names, 50 writes a second."""

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from services.tenancy.credentials.secrets import (
    MAX_BYTES,
    MAX_DELETION_DAYS,
    MIN_DELETION_DAYS,
    SecretExists,
    SecretFacts,
    SecretMissing,
    SecretPendingDeletion,
    SecretRejected,
    SecretsDenied,
    SecretsThrottled,
    SecretsUnavailable,
    SecretTooLarge,
    SecretValue,
    SecretVersion,
    Stage,
)

WRITES_PER_SECOND = 50
MAX_STAGES = 20
"""Of all versions of a secret together."""
_DAY = 86_400 * 1_000_000


@dataclass
class _Version:
    value: str
    created_at: int


@dataclass
class _Secret:
    tags: Mapping[str, str]
    versions: dict[str, _Version] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    deleted_at: int | None = None
    """When it will be gone, in microseconds since the epoch."""


class FakeSecrets:
    """See ``Secrets``; what goes wrong is set from outside."""

    def __init__(
        self,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        writes_per_second: int = WRITES_PER_SECOND,
    ) -> None:
        self._most = writes_per_second
        self._now = now
        self._secrets: dict[str, _Secret] = {}
        self._writes: deque[int] = deque()
        self.calls: Counter[str] = Counter()
        self.down = self.denied = False
        self.throttled = 0
        """Calls that are still refused as too many."""
        self.lost: set[str] = set()
        """Operations whose next answer is lost: done, and answered as unavailable."""
        self.chance: random.Random | None = None
        self.unsent = self.unanswered = 0.0
        """Chances of calls that never arrive, and of writes whose answer is lost."""

    async def create(
        self, name: str, value: str, *, version_id: str, tags: Mapping[str, str]
    ) -> None:
        self._begin("create", write=True)
        _require(value, version_id)
        found = self._found(name)
        if found is not None:
            if found.deleted_at is not None:
                raise SecretPendingDeletion("InvalidRequestException")
            made = found.versions.get(version_id)
            if made is None or made.value != value:
                raise SecretExists("ResourceExistsException")
        else:
            found = self._secrets[name] = _Secret(dict(tags))
            found.versions[version_id] = _Version(value, self._now())
            found.stages[Stage.CURRENT] = version_id
        self._end("create")

    async def put(self, name: str, value: str, *, version_id: str, stages: Sequence[str]) -> None:
        self._begin("put", write=True)
        _require(value, version_id)
        secret = self._usable(name)
        made = secret.versions.get(version_id)
        if made is not None and made.value != value:
            raise SecretExists("ResourceExistsException")
        if made is None:
            secret.versions[version_id] = _Version(value, self._now())
            for stage in stages:
                self._place(secret, stage, version_id)
        self._end("put")

    async def get(self, name: str, stage: str) -> SecretValue:
        self._begin("get")
        secret = self._usable(name)
        version_id = secret.stages.get(stage)
        if version_id is None:
            raise SecretMissing("ResourceNotFoundException")
        return SecretValue(version_id, secret.versions[version_id].value)

    async def move(self, name: str, stage: str, *, to: str = "", away: str = "") -> None:
        self._begin("move", write=True)
        secret = self._usable(name)
        for each in filter(None, (to, away)):
            if each not in secret.versions:
                raise SecretMissing("ResourceNotFoundException")
        holder = secret.stages.get(stage, "")
        if holder != to and holder != away:
            # A stage that is somewhere is moved by who knows where.
            raise SecretRejected("InvalidParameterException")
        if to:
            self._place(secret, stage, to)
        elif stage == Stage.CURRENT:
            raise SecretRejected("InvalidParameterException")
        else:
            secret.stages.pop(stage, None)
        self._end("move")

    async def describe(self, name: str) -> SecretFacts:
        self._begin("describe")
        secret = self._found(name)
        if secret is None:
            raise SecretMissing("ResourceNotFoundException")
        if secret.deleted_at is not None:
            return SecretFacts(dict(secret.tags), [], True)
        staged = [
            SecretVersion(version_id, stages, version.created_at)
            for version_id, version in reversed(secret.versions.items())
            if (stages := frozenset(s for s, v in secret.stages.items() if v == version_id))
        ]
        staged.sort(key=lambda version: version.created_at, reverse=True)
        return SecretFacts(dict(secret.tags), staged, False)

    async def tags(self, name: str) -> Mapping[str, str]:
        self._begin("tags")
        secret = self._found(name)
        if secret is None:
            raise SecretMissing("ResourceNotFoundException")
        return dict(secret.tags)

    async def delete(self, name: str, *, days: int) -> None:
        self._begin("delete", write=True)
        if not MIN_DELETION_DAYS <= days <= MAX_DELETION_DAYS:
            raise SecretRejected("InvalidParameterException")
        self._usable(name).deleted_at = self._now() + days * _DAY
        self._end("delete")

    async def restore(self, name: str) -> None:
        self._begin("restore", write=True)
        secret = self._found(name)
        if secret is None:
            raise SecretMissing("ResourceNotFoundException")
        secret.deleted_at = None
        self._end("restore")

    async def close(self) -> None:
        pass

    def _begin(self, operation: str, *, write: bool = False) -> None:
        self.calls[operation] += 1
        if self.down:
            raise SecretsUnavailable("InternalServiceError")
        if self.chance is not None and self.chance.random() < self.unsent:
            raise SecretsUnavailable("ConnectTimeoutError")
        if self.denied:
            raise SecretsDenied("AccessDeniedException")
        if self.throttled > 0:
            self.throttled -= 1
            raise SecretsThrottled("ThrottlingException")
        if write:
            self._count_write()

    def _count_write(self) -> None:
        now = self._now()
        while self._writes and self._writes[0] <= now - 1_000_000:
            self._writes.popleft()
        if len(self._writes) >= self._most:
            raise SecretsThrottled("ThrottlingException")
        self._writes.append(now)

    def _end(self, operation: str) -> None:
        lost = self.chance is not None and self.chance.random() < self.unanswered
        if lost or operation in self.lost:
            self.lost.discard(operation)
            raise SecretsUnavailable("ReadTimeoutError")

    def _found(self, name: str) -> _Secret | None:
        secret = self._secrets.get(name)
        gone_at = None if secret is None else secret.deleted_at
        if gone_at is not None and gone_at <= self._now():
            del self._secrets[name]
            return None
        return secret

    def _usable(self, name: str) -> _Secret:
        secret = self._found(name)
        if secret is None:
            raise SecretMissing("ResourceNotFoundException")
        if secret.deleted_at is not None:
            raise SecretPendingDeletion("InvalidRequestException")
        return secret

    def _place(self, secret: _Secret, stage: str, version_id: str) -> None:
        before = secret.stages.get(stage)
        if stage == Stage.CURRENT and before not in (None, version_id):
            secret.stages[Stage.PREVIOUS] = before
        secret.stages[stage] = version_id
        if len(secret.stages) > MAX_STAGES:
            raise SecretRejected("LimitExceededException")


def _require(value: str, version_id: str) -> None:
    if len(value.encode()) > MAX_BYTES:
        raise SecretTooLarge(f"longer than {MAX_BYTES} bytes")
    if not 32 <= len(version_id) <= 64:
        raise SecretRejected("InvalidParameterException")
