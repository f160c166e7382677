"""Second factors are in the hands of MfaService alone, each tenant's by itself."""

from typing import Any

import grpc
import pytest

from mesh.identifiers import new_uuid
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from secmesh.security.v1 import mfa_device_pb2 as mfa
from secmesh.security.v1 import mfa_service_pb2 as pb
from secmesh.security.v1.record_ingest_pb2 import IngestRecordsRequest
from secmesh.security.v1.record_write_pb2 import (
    BatchWriteRecordsRequest,
    CreateRecordRequest,
    UpdateRecordRequest,
)
from services.security.mfa import totp
from tests.service.mfa_world import Factors, Generator
from tests.service.security_world import copy_of, refused


def device_of(status: int = mfa.MFA_DEVICE_STATUS_ACTIVE, **fields: Any) -> CreateRecordRequest:
    request = CreateRecordRequest(parent="tenants/acme/mfa_devices", record_id=new_uuid())
    body = request.record.mfa_device
    body.name, body.status = "planted", status  # type: ignore[assignment]  # an enum's number
    for name, value in fields.items():
        setattr(body, name, value)
    return request


def test_no_writer_of_records_makes_a_second_factor(factors: Factors) -> None:
    user = factors.user()
    secret = totp.new_secret(totp.Settings())
    phone, key = mfa.MFA_DEVICE_TYPE_TOTP, mfa.MFA_DEVICE_TYPE_WEBAUTHN_ROAMING
    generator = device_of(user_id=user, device_type=phone)
    secretive = device_of(user_id=user, device_type=key, totp_secret=secret)
    code = CreateRecordRequest(parent="tenants/acme/mfa_backup_codes", record_id=new_uuid())
    body = code.record.mfa_backup_code
    body.user_id, body.batch_id, body.code_hash = user, "mine", "guess"
    body.status = mfa.BACKUP_CODE_STATUS_UNUSED
    for request in (generator, secretive, code):
        error = refused(factors.world.stub.CreateRecord, request)
        assert (error.reason, error.violations[0].reason) == ("FIELD_INVALID", "NOT_ALLOWED")
        batch = BatchWriteRecordsRequest(parent="tenants/acme")
        batch.writes.add(create=request)
        assert refused(factors.world.stub.BatchWriteRecords, batch).reason == "FIELD_INVALID"
        ingest = IngestRecordsRequest(parent="tenants/acme")
        ingest.items.add(sequence=1, record=request.record)
        ingest.items[0].record.name = f"{request.parent}/{request.record_id}"
        *_, answer, _ = factors.world.stub.IngestRecords(iter([ingest]))
        assert "FIELD_INVALID" in str(answer.results[0].error)
    body.status = mfa.BACKUP_CODE_STATUS_USED
    used = factors.world.stub.CreateRecord(code)
    used.mfa_backup_code.status = mfa.BACKUP_CODE_STATUS_UNUSED
    error = refused(factors.world.stub.UpdateRecord, UpdateRecordRequest(record=used))
    assert error.violations[0].field == "record.mfa_backup_code.status"
    guess = pb.UseBackupCodeRequest(parent=user, code="guess")
    assert refused(factors.stub.UseBackupCode, guess).reason == "MFA_CODE_REFUSED"
    other = factors.world.stub.CreateRecord(device_of(user_id=user, device_type=key))
    other.mfa_device.device_type = phone
    error = refused(factors.world.stub.UpdateRecord, UpdateRecordRequest(record=other))
    assert error.violations[0].field == "record.mfa_device.device_type"
    verify = pb.VerifyTotpRequest(name=other.name, code="123456")
    assert refused(factors.stub.VerifyTotp, verify).reason == "FIELD_INVALID"


def test_nobody_takes_back_what_was_counted(factors: Factors) -> None:
    known = factors.world.stub.GetRecord(GetRecordRequest(name=factors.user()))
    record = copy_of(known)
    record.user.display_name = "Ann Other"
    record.user.failed_login_count = 3
    record.user.locked_until.seconds = 1
    changed = factors.world.stub.UpdateRecord(UpdateRecordRequest(record=record))
    assert changed.user.display_name == "Ann Other"
    for field in ("failed_login_count", "locked_until"):
        assert changed.user.HasField(field) == known.user.HasField(field)


@pytest.mark.parametrize(
    "change",
    [
        {"totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"},
        {"status": mfa.MFA_DEVICE_STATUS_DISABLED},
        {"otp_digits": 8},
        {"device_type": mfa.MFA_DEVICE_TYPE_SMS},
    ],
    ids=lambda change: next(iter(change)),
)
def test_no_writer_of_records_changes_a_generator(factors: Factors, change: dict[str, Any]) -> None:
    made = factors.generator()
    record = factors.read(made.name)
    wanted = copy_of(record)
    for name, value in change.items():
        setattr(wanted.mfa_device, name, value)
    error = refused(factors.world.stub.UpdateRecord, UpdateRecordRequest(record=wanted))
    assert error.violations[0].field == f"record.mfa_device.{next(iter(change))}"
    assert factors.read(made.name) == record
    record.mfa_device.name = "old phone"
    record.mfa_device.last_otp_step = 1
    record.mfa_device.failed_attempts = 0
    renamed = factors.world.stub.UpdateRecord(UpdateRecordRequest(record=record))
    assert renamed.mfa_device.name == "old phone"
    assert renamed.mfa_device.last_otp_step > 1, "what is output only counts for nothing"
    factors.verify(made, made.next())


def test_another_tenants_factors_do_not_exist(factors: Factors) -> None:
    made = factors.generator()
    strange = factors.stub_of("beta", "admin")
    code = factors.codes(made.user)[0]
    for method, request in requests_about(made, code).items():
        error = refused(getattr(strange, method), request)
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
        nothing = Generator("tenants/acme/mfa_devices/none", "tenants/acme/users/none", "")
        own = refused(getattr(factors.stub, method), requests_about(nothing, code)[method])
        assert own.reason == "RESOURCE_NOT_FOUND"
        about = f"{made.name if 'devices' in error.message else made.user}"
        assert error.message == f"{about} does not exist"
        assert own.message.endswith("/none does not exist")
    assert factors.read(made.user).user.failed_login_count == 0


def requests_about(made: Generator, code: str) -> dict[str, Any]:
    """Give a valid request of every method of the service."""
    user = made.user
    return {
        "EnrollTotp": pb.EnrollTotpRequest(parent=user, display_name="phone"),
        "ConfirmTotp": pb.ConfirmTotpRequest(name=made.name, code="123456"),
        "VerifyTotp": pb.VerifyTotpRequest(name=made.name, code="123456"),
        "CreateBackupCodes": pb.CreateBackupCodesRequest(parent=user),
        "UseBackupCode": pb.UseBackupCodeRequest(parent=user, code=code),
        "RevokeDevice": pb.RevokeDeviceRequest(name=made.name),
    }


def test_each_act_needs_its_permission(factors: Factors) -> None:
    made = factors.generator()
    code = factors.codes(made.user)[0]
    operator = factors.stub_of("acme", "operator")
    needed = {}
    for method, request in requests_about(made, code).items():
        needed[method] = refused(getattr(operator, method), request).metadata["permission"]
    assert needed == {
        "EnrollTotp": "security.mfa_devices.enroll",
        "ConfirmTotp": "security.mfa_devices.enroll",
        "VerifyTotp": "security.mfa_devices.verify",
        "CreateBackupCodes": "security.mfa_backup_codes.issue",
        "UseBackupCode": "security.mfa_backup_codes.use",
        "RevokeDevice": "security.mfa_devices.revoke",
    }
    door = factors.stub_of("acme", permissions=("security.mfa_devices.verify",))
    door.VerifyTotp(pb.VerifyTotpRequest(name=made.name, code=made.next()))


@pytest.mark.parametrize(
    ("method", "fields", "wrong"),
    [
        ("VerifyTotp", {"code": "12345"}, "code"),
        ("VerifyTotp", {"code": "12345a"}, "code"),
        ("VerifyTotp", {"code": "١٢٣٤٥٦"}, "code"),
        ("VerifyTotp", {"source_ip": "somewhere"}, "source_ip"),
        ("VerifyTotp", {"name": "tenants/acme/users/u"}, "name"),
        ("EnrollTotp", {"display_name": ""}, "display_name"),
        ("EnrollTotp", {"issuer": "a:b"}, "issuer"),
        ("EnrollTotp", {"otp_digits": 9}, "otp_digits"),
        ("EnrollTotp", {"otp_period_seconds": 5}, "otp_period_seconds"),
        ("EnrollTotp", {"otp_algorithm": 9}, "otp_algorithm"),
        ("EnrollTotp", {"parent": "tenants/acme/mfa_devices/d"}, "parent"),
        ("UseBackupCode", {"code": ""}, "code"),
        ("UseBackupCode", {"code": "x" * 65}, "code"),
    ],
)
def test_bad_input_is_named(
    factors: Factors, method: str, fields: dict[str, Any], wrong: str
) -> None:
    made = Generator(
        "tenants/acme/mfa_devices/d",
        "tenants/acme/users/u",
        "",
    )
    request = requests_about(made, "AAAA")[method]
    for name, value in fields.items():
        setattr(request, name, value)
    error = refused(getattr(factors.stub, method), request)
    assert error.reason == "FIELD_INVALID"
    assert [each.field for each in error.violations] == [wrong]
    for value in fields.values():
        assert not value or str(value) not in error.message or len(str(value)) == 1
