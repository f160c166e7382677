"""The work of an execution as its executor sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from secmesh.tenancy.v1.schedule_pb2 import Schedule
from services.tenancy.store.port import Action

ACCOUNT_GONE: Final = "ACCOUNT_GONE"
"""Reason of work whose account is deleted: no later run of its schedule can do better."""


@dataclass(frozen=True)
class Assignment:
    """What is to be done under a lease."""

    tenant: str
    schedule_id: str
    execution_id: str
    account_id: str
    fire: int
    """Nominal time of the occurrence, in microseconds."""
    fence: int
    """What is written must carry it: an executor that lost its lease has an older one."""
    key: str
    """Idempotency key: the same when a lost executor's work is taken up, another after an error."""
    schedule: Schedule
    """As it is when the attempt begins."""


@dataclass(frozen=True)
class Published:
    """What work came to. It is visible once the execution's end is written, and only then."""

    result: str
    """Name of the scan result; empty if there is none."""
    actions: Sequence[Action] = ()
    """Written in the one transaction that ends the execution; one whose condition does not hold
    is left out of it."""


class WorkFailed(Exception):
    """Work that ended without a result; the message holds no data of tenants but ids."""

    def __init__(self, reason: str, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        """As an ErrorInfo has it, such as ``DEPENDENCY_UNAVAILABLE``."""
        self.message = message
        self.final = final
        """Whether no further attempt can do better."""


class Work(Protocol):
    """Does what an execution is for."""

    async def run(self, assignment: Assignment) -> Published:
        """Do it; WorkFailed. Cancelled when the lease is lost, or the execution cancelled.

        Whatever it does beside its answer may happen more than once, under one ``key``.
        """

    async def abort(self, assignment: Assignment) -> None:
        """End what goes on elsewhere for it, since somebody cancelled the execution."""
