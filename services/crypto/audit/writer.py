"""Records what the service does: one chain for each boot of a process, durable before answers.

What is told while a COPY is under way goes with the next one, so that one transaction serves many
calls. Whoever waits goes on when the transaction with its entries is committed.

When a connection ends before the database said whether it took a batch, the writer begins a chain
of its own, which names the one before, and writes the same entries there once more: nothing that
was answered can be missing, and what is there twice has the same ``entry_id``.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opentelemetry import metrics

from mesh.errors import DependencyUnavailable
from services.crypto.audit.append_store import AppendInDoubt, AppendRefused, AppendStore
from services.crypto.audit.chain import EVERY_TENANT, Chain, entry_of
from services.crypto.audit.entry import FIELD_NAME, Access, Entry, Operation
from services.crypto.audit.note import Signer
from services.crypto.audit.sealing import Stored
from services.crypto.audit.statements import NOTHING
from services.crypto.audit.subjects import Subjects

LINGER_SECONDS = 0.005
"""How long the first of a batch waits for others."""
BATCH = 200
"""Entries that do not wait for more."""
LARGEST_BATCH = 2000
WAITING = 50_000
"""Entries that wait at most; more are refused at once."""
_TRIES = 2
_LONGEST_TEXT = 4096
_NAME = re.compile(FIELD_NAME)
_TIERS = range(1, 4)
_LOG = logging.getLogger(__name__)
_ENTRIES = metrics.get_meter("secmesh.crypto").create_counter(
    "secmesh.crypto.audit.entries", description="audit entries that this process made durable"
)
Clock = Callable[[], int]
"""Gives microseconds since 1970."""


def now() -> int:
    """Give the present, in microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass
class _Group:
    """Entries of one call, and what it waits for."""

    entries: list[Entry]
    """Without their writer and number."""
    done: asyncio.Future[None]


class AuditWriter:
    """The chain of this process (``entry.Audit``)."""

    def __init__(
        self,
        store: AppendStore,
        subjects: Subjects,
        signer: Signer,
        origin: str,
        clock: Clock = now,
    ) -> None:
        self._store = store
        self._subjects = subjects
        self._signer = signer
        self._origin = origin
        self._clock = clock
        self._last = 0
        self._chain: Chain | None = None
        self._follows = NOTHING
        self._waiting: deque[_Group] = deque()
        self._count = 0
        self._wanted = asyncio.Event()
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take entries from now on, until ``close``."""
        self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Write what still waits, and the end of the chain."""
        if self._task is None:
            return
        if self._chain is not None:
            stop = Access(EVERY_TENANT, Operation.STOP_WRITER, "system", "")
            try:
                await self.record([stop])
            except DependencyUnavailable:
                _LOG.warning("the audit's chain ends without its last entry")
        task, self._task = self._task, None
        task.cancel()
        await asyncio.wait({task})
        self._refuse(self._taken(WAITING), "the process ends")

    async def record(self, accesses: Sequence[Access]) -> None:
        """Return when all are durable; DependencyUnavailable if they may not be.

        Raises ValueError for what no entry can hold, such as a text with a NUL.
        """
        if not accesses:
            return
        _require_storable(accesses)
        if self._ended or self._count + len(accesses) > WAITING:
            raise DependencyUnavailable("audit")
        group = _Group(self._made(accesses), asyncio.get_running_loop().create_future())
        self._waiting.append(group)
        self._count += len(accesses)
        self._wanted.set()
        if self._count >= BATCH:
            self._enough.set()
        await group.done

    @property
    def _ended(self) -> bool:
        return self._task is None or self._task.done()

    def _made(self, accesses: Sequence[Access]) -> list[Entry]:
        # Clocks are set back at times; a chain does not go back in time.
        self._last = max(self._last, self._clock())
        return [self._entry(access) for access in accesses]

    def _entry(self, access: Access) -> Entry:
        user = access.user_id
        subject = self._subjects.of(access.tenant, user) if user else b""
        return entry_of(access, subject, self._last)

    async def _for_ever(self) -> None:
        while True:
            await self._wanted.wait()
            if self._count < BATCH:
                try:
                    async with asyncio.timeout(LINGER_SECONDS):
                        await self._enough.wait()
                except TimeoutError:
                    pass
            groups = self._taken(LARGEST_BATCH)
            try:
                await self._write(groups)
            except (AppendRefused, AppendInDoubt) as error:
                _LOG.exception("entries of the audit could not be written")
                self._refuse(groups, str(error))
            except BaseException:
                self._refuse(groups, "the process ends")
                raise

    def _taken(self, most: int) -> list[_Group]:
        """Take what waits: whole groups, at least one."""
        taken: list[_Group] = []
        rows = 0
        while self._waiting and (not taken or rows + len(self._waiting[0].entries) <= most):
            taken.append(self._waiting.popleft())
            rows += len(taken[-1].entries)
        self._count -= rows
        if not self._waiting:
            self._wanted.clear()
        if self._count < BATCH:
            self._enough.clear()
        return taken

    async def _write(self, groups: Sequence[_Group]) -> None:
        entries = [entry for group in groups for entry in group.entries]
        for attempt in range(1, _TRIES + 1):
            chain, batch = await self._chained(entries)
            try:
                await self._store.append(batch)
            except AppendInDoubt:
                self._chain = None
                self._follows = chain.writer_id.hex()
                if attempt == _TRIES:
                    raise
                _LOG.warning("a batch of the audit is in doubt; it is written once more")
                continue
            self._chain = chain
            break
        _ENTRIES.add(len(entries))
        for group in groups:
            if not group.done.done():
                group.done.set_result(None)

    async def _chained(self, entries: Sequence[Entry]) -> tuple[Chain, list[Stored]]:
        """Bind entries to the chain, to a new one if there is none; nothing is decided yet."""
        if self._chain is not None:
            return self._chain.bound(entries)
        newest = await self._store.newest_checkpoint()
        chain, start = Chain.begun(
            self._origin, self._signer, newest, self._follows, entries[0].accessed_at
        )
        return chain.bound([start, *entries])

    @staticmethod
    def _refuse(groups: Sequence[_Group], why: str) -> None:
        for group in groups:
            if not group.done.done():
                refused = DependencyUnavailable("audit")
                refused.__cause__ = AppendRefused(why)
                group.done.set_exception(refused)


def _require_storable(accesses: Sequence[Access]) -> None:
    """Refuse what would fail in the database, with the entries of others."""
    for access in accesses:
        if not 0 <= access.duration_us < 2**63:
            raise ValueError("a duration is out of range")
    # What entries of one call have in common is looked at once.
    for text in {text for access in accesses for text in _texts(access)}:
        if "\0" in text or len(text) > _LONGEST_TEXT:
            raise ValueError("a text of an audit entry is too long or holds a NUL")
        text.encode()
    for name, tier in {field for access in accesses for field in access.fields}:
        if not _NAME.fullmatch(name) or tier not in _TIERS:
            raise ValueError(f"{name!r} of tier {tier} is no field")


def _texts(access: Access) -> tuple[str, ...]:
    return (
        access.tenant,
        access.principal,
        access.purpose,
        access.request_id,
        access.error_code,
        access.retention_class,
        access.details,
    )
