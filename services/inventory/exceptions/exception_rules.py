"""What an exception must be, and what may be done with it: pure."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.errors import EtagMismatch, FieldInvalid
from secmesh.inventory.v1.check_exception_pb2 import CheckException
from services.inventory.compliance.check_catalogue import CheckCatalogue, RuleBroken
from services.inventory.compliance.exceptions import bind_exception, has_expired
from services.inventory.errors import ApproverIsRequester, ExceptionSettled

LONGEST = timedelta(days=366)
"""From the proposal to the end."""
FIELD = "check_exception"
_ETAGS = {
    CheckException.STATE_PROPOSED: "v1",
    CheckException.STATE_APPROVED: "v2",
    CheckException.STATE_REVOKED: "v3",
}
"""Nothing else of an exception ever changes."""
_LAST_SECOND = 253_402_300_799
"""The end of year 9999, the last that google.protobuf.Timestamp knows."""


def proposed(
    given: CheckException, name: str, requester: str, checks: CheckCatalogue, now: datetime
) -> CheckException:
    """Give an exception as it is stored; FieldInvalid says what is wrong."""
    made = CheckException(
        name=name,
        check_id=given.check_id,
        resources=given.resources.strip(),
        cloud_account_ids=sorted(given.cloud_account_ids),
        reason=given.reason.strip(),
        reference=given.reference.strip(),
        expire_time=given.expire_time,
        state=CheckException.STATE_PROPOSED,
        requester=requester,
        create_time=_stamp(now),
        etag=_ETAGS[CheckException.STATE_PROPOSED],
    )
    if not made.reason:
        raise FieldInvalid.of(f"{FIELD}.reason", "must say why")
    _require_date(given, now)
    check = checks.checks.get(made.check_id)
    if check is None:
        raise FieldInvalid.of(f"{FIELD}.check_id", f"there is no check {made.check_id!r}")
    try:
        bind_exception(check, made)
    except RuleBroken as broken:
        raise FieldInvalid.of(f"{FIELD}.{broken.field}", str(broken)) from None
    return made


def approved(
    known: CheckException, approver: str, etag: str, now: datetime
) -> CheckException | None:
    """Give an exception as its approval leaves it; None if that person approved it before.

    Raises EtagMismatch, ExceptionSettled, ApproverIsRequester.
    """
    state = state_at(known, now)
    if state == CheckException.STATE_APPROVED and known.approver == approver:
        return None
    _require_etag(known, etag)
    if state != CheckException.STATE_PROPOSED:
        raise ExceptionSettled(known.name, state_word(state))
    if known.requester == approver:
        raise ApproverIsRequester(known.name)
    made = _next(known, CheckException.STATE_APPROVED)
    made.approver = approver
    made.approve_time.CopyFrom(_stamp(now))
    return made


def revoked(known: CheckException, revoker: str, etag: str, now: datetime) -> CheckException | None:
    """Give an exception as it is without force; None if it is revoked. Raises EtagMismatch."""
    if known.state == CheckException.STATE_REVOKED:
        return None
    _require_etag(known, etag)
    made = _next(known, CheckException.STATE_REVOKED)
    made.revoker = revoker
    made.revoke_time.CopyFrom(_stamp(now))
    return made


def shown(exception: CheckException, now: datetime) -> CheckException:
    """Give an exception with the state that follows from the time."""
    made = CheckException()
    made.CopyFrom(exception)
    made.state = state_at(exception, now)
    return made


def state_at(exception: CheckException, now: datetime) -> CheckException.State.ValueType:
    """Give the state of an exception at a moment."""
    if exception.state != CheckException.STATE_REVOKED and has_expired(exception, now):
        return CheckException.STATE_EXPIRED
    return exception.state


def state_word(state: CheckException.State.ValueType) -> str:
    """Give a state as people write it."""
    return CheckException.State.Name(state).removeprefix("STATE_").lower()


def _next(known: CheckException, state: CheckException.State.ValueType) -> CheckException:
    made = CheckException()
    made.CopyFrom(known)
    made.state = state
    made.etag = _ETAGS[state]
    return made


def _require_date(given: CheckException, now: datetime) -> None:
    field = f"{FIELD}.expire_time"
    if not given.HasField("expire_time"):
        raise FieldInvalid.of(field, "must say when it ends")
    stamp = given.expire_time
    if not 0 <= stamp.seconds <= _LAST_SECOND or not 0 <= stamp.nanos < 1_000_000_000:
        raise FieldInvalid.of(field, "must lie ahead")
    end = stamp.ToDatetime(UTC)
    if end <= now:
        raise FieldInvalid.of(field, "must lie ahead")
    if end > now + LONGEST:
        raise FieldInvalid.of(field, f"must not lie more than {LONGEST.days} days ahead")


def _require_etag(known: CheckException, etag: str) -> None:
    if etag and etag != known.etag:
        raise EtagMismatch(known.name)


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
