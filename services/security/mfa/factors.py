"""What is done to a user's second factors: each act one transaction, its audit entry within."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, Refusal
from mesh.identifiers import new_uuid
from mesh.records.moments import Clock, now
from mesh.sql.store import Store
from secmesh.security.v1 import mfa_device_pb2 as mfa
from secmesh.security.v1 import mfa_service_pb2 as pb
from secmesh.security.v1.iam_audit_log_pb2 import IamActivity
from services.security.errors import MfaDeviceState
from services.security.mfa import backup_codes, totp
from services.security.mfa.attempts import Attempts, given
from services.security.mfa.audit import Act, AuditLog
from services.security.mfa.records import CODES, DEVICES, MfaRecords


class SecondFactors:
    """Enrols, verifies and revokes; MfaLocked, MfaCodeRefused, MfaDeviceState, ResourceNotFound."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock = now) -> None:
        self._store = store
        self._records = MfaRecords(store, catalogue, clock)
        self._log = AuditLog(self._records, clock)
        self._attempts = Attempts(self._records, self._log, clock)
        self._clock = clock

    async def enroll(self, request: pb.EnrollTotpRequest) -> tuple[Any, str]:
        """Register a generator and give its record and its otpauth URI."""
        settings = totp.Settings.of(request)
        secret, tenant = totp.new_secret(settings), tenant_of(request.parent) or ""
        body = mfa.MfaDevice(
            user_id=request.parent,
            device_type=mfa.MFA_DEVICE_TYPE_TOTP,
            name=request.display_name,
            status=mfa.MFA_DEVICE_STATUS_PENDING,
            totp_secret=secret,
            otp_algorithm=settings.algorithm,
            otp_digits=settings.digits,
            otp_period_seconds=settings.period,
        )
        body.enroll_time.FromMicroseconds(self._clock())
        async with self._store.transaction() as connection:
            user = await self._records.user(connection, request.parent)
            pending = mfa.MFA_DEVICE_STATUS_PENDING
            for left in await self._records.devices_of(connection, request.parent, pending):
                if left.mfa_device.device_type == mfa.MFA_DEVICE_TYPE_TOTP:
                    await self._revoke(connection, left, "enrolled anew")
            device = await self._records.add(connection, tenant, DEVICES, body)
            await self._log.add(
                connection,
                Act(IamActivity.IAM_ACTIVITY_MFA_ENROLL, "mfa.enroll", device.name),
            )
        account = user.user.email
        return device, totp.otpauth_uri(secret, request.issuer or tenant, account, settings)

    async def confirm(self, name: str, code: str) -> Any:
        """Make a pending device active and give it; what proved it is not taken again."""
        return await self._totp(name, code, mfa.MFA_DEVICE_STATUS_PENDING, "mfa.confirm")

    async def verify(self, name: str, code: str, source_ip: str = "") -> Any:
        """Take a password of an active device and give the device."""
        return await self._totp(name, code, mfa.MFA_DEVICE_STATUS_ACTIVE, "mfa.verify", source_ip)

    async def create_codes(self, request: pb.CreateBackupCodesRequest) -> tuple[list[str], str]:
        """Make a generation of backup codes and give it with its id; older ones are revoked."""
        ends = request.HasField("expire_time")
        if ends and request.expire_time.ToMicroseconds() <= self._clock():
            raise FieldInvalid.of("expire_time", "must lie in the future")
        codes, batch = [backup_codes.new_code() for _ in range(backup_codes.COUNT)], new_uuid()
        async with self._store.transaction() as connection:
            await self._records.user(connection, request.parent)
            for left in await self._records.unused_codes(connection, request.parent):
                left.mfa_backup_code.status = mfa.BACKUP_CODE_STATUS_REVOKED
                await self._records.save(connection, left)
            for code in codes:
                body = mfa.MfaBackupCode(
                    user_id=request.parent,
                    batch_id=batch,
                    code_hash=backup_codes.normal_form(code),
                    status=mfa.BACKUP_CODE_STATUS_UNUSED,
                )
                if ends:
                    body.expire_time.CopyFrom(request.expire_time)
                await self._records.add(connection, tenant_of(request.parent) or "", CODES, body)
            enrolled = IamActivity.IAM_ACTIVITY_MFA_ENROLL
            await self._log.add(connection, Act(enrolled, "mfa.issue_backup_codes", request.parent))
        return codes, batch

    async def use_code(self, user: str, code: str, source_ip: str = "") -> Any:
        """Burn a backup code of a user and give its record."""
        text = backup_codes.normal_form(code)
        async with self._store.transaction() as connection:
            holder = await self._records.user(connection, user)

            async def take() -> Any | None:
                found = await self._records.code(connection, user, text)
                if found is None or not self._burn(found.mfa_backup_code, source_ip):
                    return None
                return await self._records.save(connection, found)

            act = Act(
                IamActivity.IAM_ACTIVITY_LOGON, "mfa.use_backup_code", user, source_ip=source_ip
            )
            answer = await self._attempts.attempt(connection, holder, take, act)
        return given(answer)

    async def revoke(self, name: str, justification: str = "") -> Any:
        """Take a device out of use and give it; one that is out of use stays as it is."""
        async with self._store.transaction() as connection:
            user, device = await self._records.device(connection, name)
            if device.mfa_device.status == mfa.MFA_DEVICE_STATUS_REVOKED:
                return self._records.shown(device)
            shown = await self._revoke(connection, device, justification)
            user.user.mfa_enabled = await self._records.has_active_device(connection, user.name)
            await self._records.save(connection, user)
            return shown

    async def _totp(
        self, name: str, code: str, status: int, operation: str, source_ip: str = ""
    ) -> Any:
        async with self._store.transaction() as connection:
            user, device = await self._records.device(connection, name)
            body = device.mfa_device
            _require(device, status)

            async def take() -> Any | None:
                moment, settings = self._clock(), totp.Settings.of(body)
                last = body.last_otp_step if body.HasField("last_otp_step") else None
                step = totp.accepted_step(body.totp_secret, code, moment, settings, last)
                if step is None:
                    body.failed_attempts += 1
                    await self._records.save(connection, device)
                    return None
                self._take_step(body, step, moment)
                return await self._records.save(connection, device)

            act = Act(IamActivity.IAM_ACTIVITY_LOGON, operation, name, source_ip=source_ip)
            answer = await self._attempts.attempt(connection, user, take, act)
            if not isinstance(answer, Refusal) and not user.user.mfa_enabled:
                user.user.mfa_enabled = True
                await self._records.save(connection, user)
        return given(answer)

    def _burn(self, body: Any, source_ip: str) -> bool:
        """Use a backup code up; False if it is used up or too old."""
        moment = self._clock()
        if body.status != mfa.BACKUP_CODE_STATUS_UNUSED:
            return False
        if body.HasField("expire_time") and body.expire_time.ToMicroseconds() <= moment:
            return False
        body.status = mfa.BACKUP_CODE_STATUS_USED
        body.use_time.FromMicroseconds(moment)
        if source_ip:
            body.used_ip = source_ip
        return True

    @staticmethod
    def _take_step(body: Any, step: int, moment: int) -> None:
        if body.status == mfa.MFA_DEVICE_STATUS_PENDING:
            body.status = mfa.MFA_DEVICE_STATUS_ACTIVE
            body.verify_time.FromMicroseconds(moment)
        body.last_otp_step = step
        body.failed_attempts = 0
        body.last_use_time.FromMicroseconds(moment)

    async def _revoke(self, connection: AsyncConnection, device: Any, why: str) -> Any:
        body = device.mfa_device
        before = mfa.MfaDeviceStatus.Name(body.status)
        body.status = mfa.MFA_DEVICE_STATUS_REVOKED
        body.ClearField("totp_secret")
        shown = await self._records.save(connection, device)
        after = mfa.MfaDeviceStatus.Name(body.status)
        reset = IamActivity.IAM_ACTIVITY_MFA_RESET
        await self._log.add(
            connection,
            Act(reset, "mfa.revoke", device.name, detail=why, before=before, after=after),
        )
        return shown


def _require(device: Any, status: int) -> None:
    """Refuse what is no generator by time, or is in another status; FieldInvalid."""
    body = device.mfa_device
    if body.device_type != mfa.MFA_DEVICE_TYPE_TOTP:
        raise FieldInvalid.of("name", "is no generator of one-time passwords by time")
    if body.status != status:
        raise MfaDeviceState(device.name, mfa.MfaDeviceStatus.Name(body.status))
