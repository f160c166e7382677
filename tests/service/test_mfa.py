"""Second factors over one real server on one real PostgreSQL: what is taken, and what never is."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import RetryInfo

from mesh.records.moments import now
from mesh.sealing.keyring import read_keys
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from mesh.sql.tenancy import acting_for
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1 import mfa_device_pb2 as mfa
from secmesh.security.v1 import mfa_service_pb2 as pb
from secmesh.security.v1.iam_audit_log_pb2 import IamActivity
from secmesh.security.v1.vocabulary_operation_pb2 import OUTCOME_FAILURE, OUTCOME_SUCCESS
from secmesh_client import CallRefused
from services.security.errors import MfaCodeRefused, MfaLocked
from services.security.mfa import throttle
from services.security.mfa.factors import SecondFactors
from tests.service.mfa_world import Factors, lasting_period
from tests.service.security_world import CATALOGUE, refused

WRONG, LOCKED, STATE = "MFA_CODE_REFUSED", "MFA_LOCKED", "MFA_DEVICE_STATE"
ACTIVE, PENDING = mfa.MFA_DEVICE_STATUS_ACTIVE, mfa.MFA_DEVICE_STATUS_PENDING
REVOKED = mfa.MFA_DEVICE_STATUS_REVOKED


def why(call: Callable[[], Any]) -> str:
    """Give the reason of a refusal; ``done`` if there is none."""
    try:
        call()
    except CallRefused as error:
        return error.reason
    return "done"


def at_once(calls: list[Callable[[], Any]]) -> Counter[str]:
    """Make calls side by side, and count how they ended."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return Counter(pool.map(why, calls))


def test_a_generator_counts_once_it_proved_itself(factors: Factors) -> None:
    made = factors.enroll()
    body = factors.read(made.name).mfa_device
    assert (body.status, body.device_type) == (PENDING, mfa.MFA_DEVICE_TYPE_TOTP)
    assert (body.name, body.user_id) == ("phone", made.user)
    assert not body.HasField("totp_secret")
    assert not factors.read(made.user).user.mfa_enabled
    assert why(lambda: factors.verify(made, made.code())) == STATE
    assert why(lambda: factors.confirm(made, made.wrong())) == WRONG
    assert factors.read(made.name).mfa_device.status == PENDING
    code = made.code()
    device = factors.confirm(made, code)
    assert device == factors.read(made.name)
    assert device.mfa_device.status == ACTIVE
    assert device.mfa_device.HasField("verify_time")
    assert factors.read(made.user).user.mfa_enabled
    assert why(lambda: factors.confirm(made, made.code())) == STATE
    assert why(lambda: factors.verify(made, code)) == WRONG, "what confirmed it is taken"
    last = factors.verify(made, made.next()).mfa_device.last_otp_step
    assert last > device.mfa_device.last_otp_step


def test_who_enrolls_anew_leaves_no_secret_behind(factors: Factors) -> None:
    left = factors.enroll()
    kept = factors.generator(left.user)
    assert factors.read(left.name).mfa_device.status == REVOKED
    again = factors.enroll(left.user)
    assert factors.read(kept.name).mfa_device.status == ACTIVE
    assert factors.read(again.name).mfa_device.status == PENDING


@pytest.mark.parametrize(("steps", "expected"), [(-1, "done"), (0, "done"), (1, "done")])
def test_the_neighbours_of_the_present_step_count(
    factors: Factors, steps: int, expected: str
) -> None:
    made = factors.enroll(otp_period_seconds=lasting_period())
    assert why(lambda: factors.confirm(made, made.code(steps))) == expected


def test_codes_that_are_wrong_old_early_or_taken_are_refused_alike(factors: Factors) -> None:
    made = factors.enroll(otp_period_seconds=lasting_period())
    factors.confirm(made, made.code(-1))
    taken = made.code()
    factors.verify(made, taken)
    messages = set()
    for code in (made.wrong(), made.code(-3), made.code(3), taken):
        request = pb.VerifyTotpRequest(name=made.name, code=code)
        error = refused(factors.stub.VerifyTotp, request)
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, WRONG)
        messages.add(error.message)
    assert len(messages) == 1, "nobody learns which it was"
    assert factors.read(made.name).mfa_device.failed_attempts == 4
    factors.verify(made, made.code(1))
    assert factors.read(made.name).mfa_device.failed_attempts == 0
    assert factors.read(made.user).user.failed_login_count == 0
    assert why(lambda: factors.verify(made, made.code())) == WRONG, "an older step than the last"


def test_one_of_many_that_send_the_same_code_at_once_gets_in(factors: Factors) -> None:
    made = factors.generator()
    code = made.next()
    ended = at_once([lambda: factors.verify(made, code)] * 12)
    assert ended == {"done": 1, WRONG: throttle.FREE + 1, LOCKED: 12 - throttle.FREE - 2}


def test_who_guesses_at_once_gets_no_more_guesses(factors: Factors) -> None:
    made = factors.generator()
    others = factors.generator(made.user)
    devices = [made, others]
    wrong = [each.wrong() for each in devices]

    def guess(number: int) -> Callable[[], Any]:
        return lambda: factors.verify(devices[number % 2], wrong[number % 2])

    ended = at_once([guess(number) for number in range(24)])
    assert ended == {WRONG: throttle.FREE + 1, LOCKED: 24 - throttle.FREE - 1}
    user = factors.read(made.user).user
    assert user.failed_login_count == throttle.FREE + 1
    assert user.HasField("locked_until")
    refusal = refused(
        factors.stub.VerifyTotp, pb.VerifyTotpRequest(name=made.name, code=made.next())
    )
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, LOCKED)
    assert 0 < retry_of(refusal).total_seconds() <= throttle.FIRST
    code = factors.codes(made.user)[0]
    assert why(lambda: factors.use(made.user, code)) == LOCKED, "another factor is no way around"


def retry_of(error: CallRefused) -> timedelta:
    found = RetryInfo()
    for each in error.status.details:
        if each.Unpack(found):
            return timedelta(seconds=found.retry_delay.seconds)
    raise AssertionError("the refusal does not say when to come back")


@cache
def tables(home: Path) -> Tables:
    return Tables(CATALOGUE, isolated=True, keys=read_keys(home / "sealing.keys"))


@contextlib.asynccontextmanager
async def beside(factors: Factors, clock: list[int]) -> AsyncIterator[SecondFactors]:
    """Give the service's own logic in another process' place, with a clock of ours."""
    engine = open_engine(factors.access.application)
    store = Store(engine, tables(factors.home), page_key=b"k" * 32)
    try:
        with acting_for("acme"):
            yield SecondFactors(store, CATALOGUE, lambda: clock[0])
    finally:
        await engine.dispose()


def test_a_lock_outlasts_the_process_and_ends_by_the_clock(factors: Factors) -> None:
    made = factors.generator()
    for _ in range(throttle.FREE + 1):
        assert why(lambda: factors.verify(made, made.wrong())) == WRONG
    start = now()

    async def elsewhere() -> None:
        clock = [start]
        async with beside(factors, clock) as logic:
            with pytest.raises(MfaLocked) as locked:
                await logic.verify(made.name, made.code(moment=clock[0]))
            assert locked.value.details
            clock[0] += throttle.FIRST * 1_000_000
            with pytest.raises(MfaCodeRefused):
                await logic.verify(made.name, made.wrong(clock[0]))
            clock[0] += (throttle.FIRST * 2 - 1) * 1_000_000
            with pytest.raises(MfaLocked):
                await logic.verify(made.name, made.code(moment=clock[0]))
            clock[0] += 1_000_000
            await logic.verify(made.name, made.code(moment=clock[0]))

    asyncio.run(elsewhere())
    user = factors.read(made.user).user
    assert (user.failed_login_count, user.HasField("locked_until")) == (0, False)


def test_backup_codes_burn_one_by_one(factors: Factors) -> None:
    user = factors.user()
    codes = factors.codes(user)
    assert len({*codes}) == 10
    used = factors.use(user, codes[0].lower().replace("-", " "), source_ip="192.0.2.7")
    body = used.mfa_backup_code
    assert (body.status, body.used_ip) == (mfa.BACKUP_CODE_STATUS_USED, "192.0.2.7")
    assert body.HasField("use_time")
    assert not body.HasField("code_hash")
    assert why(lambda: factors.use(user, codes[0])) == WRONG
    ended = at_once([lambda: factors.use(user, codes[1])] * 4)
    assert ended == {"done": 1, WRONG: 3}
    assert why(lambda: factors.use(factors.user(), codes[2])) == WRONG, "a code is one user's"
    newer = factors.codes(user)
    assert why(lambda: factors.use(user, codes[3])) == WRONG, "a new set ends the old one"
    factors.use(user, newer[0])
    request = ListRecordsRequest(
        parent="tenants/acme/mfa_backup_codes", filter=f'user_id == "{user}"', page_size=100
    )
    kept = factors.world.stub.ListRecords(request).records
    counted = Counter(each.mfa_backup_code.status for each in kept)
    assert counted == {
        mfa.BACKUP_CODE_STATUS_USED: 3,
        mfa.BACKUP_CODE_STATUS_REVOKED: 8,
        mfa.BACKUP_CODE_STATUS_UNUSED: 9,
    }


def test_a_backup_code_ends_with_its_time(factors: Factors) -> None:
    user = factors.user()
    ends = Timestamp(seconds=now() // 1_000_000 + 3600)
    code, other, *_ = factors.codes(user, expire_time=ends)
    factors.use(user, code)

    async def later() -> None:
        async with beside(factors, [ends.ToMicroseconds()]) as logic:
            with pytest.raises(MfaCodeRefused):
                await logic.use_code(user, other)

    asyncio.run(later())
    ended = pb.CreateBackupCodesRequest(parent=user, expire_time=Timestamp(seconds=1))
    assert refused(factors.stub.CreateBackupCodes, ended).reason == "FIELD_INVALID"


def test_a_revoked_device_is_out_of_use_for_good(factors: Factors) -> None:
    made = factors.generator()
    request = pb.RevokeDeviceRequest(name=made.name, justification="lost")
    device = factors.stub.RevokeDevice(request)
    assert device.mfa_device.status == REVOKED
    assert not factors.read(made.user).user.mfa_enabled
    assert why(lambda: factors.verify(made, made.code())) == STATE
    assert why(lambda: factors.confirm(made, made.code())) == STATE
    assert factors.stub.RevokeDevice(request) == device


def test_every_act_stands_in_the_audit_log(factors: Factors) -> None:
    made = factors.enroll()
    factors.confirm(made, made.code())
    assert why(lambda: factors.verify(made, made.wrong(), source_ip="2001:db8::1")) == WRONG
    factors.verify(made, made.next())
    factors.stub.RevokeDevice(pb.RevokeDeviceRequest(name=made.name, justification="lost"))
    told = factors.log(made.name)
    assert [(each.operation, each.outcome) for each in told] == [
        ("mfa.enroll", OUTCOME_SUCCESS),
        ("mfa.confirm", OUTCOME_SUCCESS),
        ("mfa.verify", OUTCOME_FAILURE),
        ("mfa.verify", OUTCOME_SUCCESS),
        ("mfa.revoke", OUTCOME_SUCCESS),
    ]
    assert {(each.actor_name, each.target_type) for each in told} == {("ann", "mfa_devices")}
    assert told[2].source_ip == "2001:db8::1"
    assert told[4].activity == IamActivity.IAM_ACTIVITY_MFA_RESET
    assert told[4].status_detail == "lost"
    assert told[4].after_state["status"] == "MFA_DEVICE_STATUS_REVOKED"


def test_a_deleted_user_takes_the_factors_along(factors: Factors) -> None:
    made = factors.generator()
    factors.codes(made.user)
    factors.world.stub.DeleteRecord(DeleteRecordRequest(name=made.user))
    assert why(lambda: factors.verify(made, made.code())) == "RESOURCE_NOT_FOUND"
