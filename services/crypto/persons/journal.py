"""Tells the audit what a call does to persons, done or refused."""

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Sequence

from mesh.errors import Refusal
from mesh.server.call import current_call
from services.crypto.audit.entry import Access, Audit, Operation
from services.crypto.suite.header import Tier

Touched = tuple[tuple[str, int], ...]
"""Names and tiers of fields."""


class Journal:
    """What one call does to persons of one tenant."""

    def __init__(self, audit: Audit, tenant: str, operation: Operation, purpose: str = "") -> None:
        self._audit = audit
        self._tenant = tenant
        self._operation = operation
        self._purpose = purpose
        self._started = time.perf_counter_ns()

    async def record(self, touched: Iterable[tuple[str, Touched]]) -> None:
        """Return once it is kept for good that fields of persons, by id, were touched."""
        await self.record_all([(user, fields, "") for user, fields in touched])

    async def record_all(self, touched: Sequence[tuple[str, Touched, str]]) -> None:
        """Record the same with the reason of each refusal, empty where it was done."""
        call = current_call()
        microseconds = (time.perf_counter_ns() - self._started) // 1000
        await self._audit.record(
            [
                Access(
                    tenant=self._tenant,
                    operation=self._operation,
                    principal=call.caller.subject,
                    request_id=call.request_id,
                    user_id=uuid.UUID(user).bytes if user else b"",
                    fields=fields,
                    purpose=self._purpose,
                    success=not code,
                    error_code=code,
                    duration_us=microseconds,
                )
                for user, fields, code in touched
            ]
        )

    @contextlib.asynccontextmanager
    async def refusals(self, users: Collection[str], touched: Touched = ()) -> AsyncIterator[None]:
        """Record what is refused within the block as well, before the caller learns of it."""
        try:
            yield
        except Refusal as refusal:
            code = refusal.reason.name
            await self.record_all([(user, touched, code) for user in users or [""]])
            raise


def touched_of(tiers: Iterable[tuple[str, Tier]]) -> Touched:
    """Give fields as an entry names them."""
    return tuple((name, int(tier)) for name, tier in sorted(tiers))
