"""Exceptions bound to the kinds of their checks, and which failures they accept.

An exception accepts a failure if its account is named (or none is) and its condition is known to be
true: what is absent or was not read is never accepted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mesh.cel.language import Condition, Environment
from secmesh.inventory.v1 import check_exception_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2
from services.inventory.compliance.check_catalogue import BoundCheck, RuleBroken, compiled
from services.inventory.compliance.truth import Truth, taken_apart


@dataclass(frozen=True)
class BoundException:
    """One exception with its condition compiled over the kind of its check."""

    message: pb.CheckException
    condition: Condition | None
    environment: Environment
    """Of the kind alone: the check's parameters are none of an exception's."""

    @property
    def name(self) -> str:
        return self.message.name

    def accepts_account(self, account: str) -> bool:
        """Tell whether an account is among those it speaks of."""
        return not self.message.cloud_account_ids or account in self.message.cloud_account_ids

    def accepts(self, record: record_pb2.Record, body: str) -> bool:
        """Tell whether it accepts a failing record, of which ``body`` names the body's field."""
        if not self.accepts_account(record.cloud_account_id):
            return False
        unread = {gap.field for gap in record.unread}
        return self.condition is None or bool(
            self.condition.matches(getattr(record, body), record, None, unread)
        )

    def unmet(self) -> str:
        """Write a CEL condition that is true of every record it does not accept, false else."""
        clauses = []
        if self.message.cloud_account_ids:
            accounts = json.dumps(sorted(self.message.cloud_account_ids))
            clauses.append(f"!(record.cloud_account_id in {accounts})")
        if self.condition is not None:
            truth = Truth(self.environment.compile)
            clauses.append(f"({truth.unmet(taken_apart(self.message.resources), value=True)})")
        return " || ".join(clauses) or "false"

    def applied(self, excepted: int = 0) -> pb.AppliedException:
        """Tell it as an evaluation found it."""
        return applied(self.message, excepted)


@dataclass(frozen=True)
class Exceptions:
    """The exceptions that an evaluation reckons with, by check."""

    by_check: Mapping[str, Sequence[BoundException]] = field(default_factory=dict)

    def of(self, check: BoundCheck) -> Sequence[BoundException]:
        """Give all of a check."""
        return self.by_check.get(check.id, ())

    def of_records(self, check: BoundCheck) -> Sequence[BoundException]:
        """Give those that accept single records."""
        found = self.of(check)
        if check.message.scope == check_pb2.CHECK_SCOPE_RESOURCE:
            return found
        return [each for each in found if each.condition is not None]

    def of_account(self, check: BoundCheck, account: str) -> BoundException | None:
        """Give one that accepts whatever a check of an account says of this one."""
        for each in self.of(check):
            if each.condition is None and each.accepts_account(account):
                return each
        return None


def bind_exception(check: BoundCheck, exception: pb.CheckException) -> BoundException:
    """Bind an exception to its check. Raises RuleBroken."""
    environment = Environment.of_kind(check.kind)
    condition = None
    if exception.resources:
        if check.message.quantifier == check_pb2.QUANTIFIER_ANY:
            raise RuleBroken(
                "resources",
                "must be empty: one record of an account is enough for this check, and none fails",
            )
        condition = compiled(environment, "resources", exception.resources)
    return BoundException(exception, condition, environment)


def has_expired(exception: pb.CheckException, moment: datetime) -> bool:
    """Tell whether the time of an exception is over."""
    return exception.expire_time.ToDatetime(UTC) <= moment


def applied(exception: pb.CheckException, excepted: int = 0) -> pb.AppliedException:
    """Tell an exception as an evaluation found it."""
    return pb.AppliedException(
        check_exception=exception.name,
        check_id=exception.check_id,
        expire_time=exception.expire_time,
        reason=exception.reason,
        reference=exception.reference,
        excepted=excepted,
    )


def by_end(found: Iterable[pb.AppliedException]) -> list[pb.AppliedException]:
    """Put exceptions in order, the first to expire first."""
    return sorted(found, key=lambda each: (each.expire_time.ToNanoseconds(), each.check_exception))
