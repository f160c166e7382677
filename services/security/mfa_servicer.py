"""MfaService: second factors of users."""

from mesh.contract.catalogue import Catalogue
from mesh.sql.store import Store
from secmesh.security.v1 import mfa_service_pb2 as pb
from secmesh.security.v1.mfa_service_pb2_grpc import MfaServiceServicer
from secmesh.security.v1.record_pb2 import Record
from services.security.mfa.factors import SecondFactors


class MfaServicer(MfaServiceServicer):
    """Answers with records; what a generator or a person must be told is answered once."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, catalogue: Catalogue, store: Store) -> None:
        self._factors = SecondFactors(store, catalogue)

    async def EnrollTotp(
        self, request: pb.EnrollTotpRequest, _context: object
    ) -> pb.EnrollTotpResponse:
        """Give the pending device and its secret; ResourceNotFound if there is no such user."""
        device, uri = await self._factors.enroll(request)
        return pb.EnrollTotpResponse(device=device, otpauth_uri=uri)

    async def ConfirmTotp(self, request: pb.ConfirmTotpRequest, _context: object) -> Record:
        """Give the active device; MfaCodeRefused, MfaLocked, MfaDeviceState."""
        device: Record = await self._factors.confirm(request.name, request.code)
        return device

    async def VerifyTotp(self, request: pb.VerifyTotpRequest, _context: object) -> Record:
        """Give the device; MfaCodeRefused, MfaLocked, MfaDeviceState."""
        device: Record = await self._factors.verify(request.name, request.code, request.source_ip)
        return device

    async def CreateBackupCodes(
        self, request: pb.CreateBackupCodesRequest, _context: object
    ) -> pb.CreateBackupCodesResponse:
        """Give the codes; FieldInvalid if they would have ended already."""
        codes, batch = await self._factors.create_codes(request)
        return pb.CreateBackupCodesResponse(codes=codes, batch_id=batch)

    async def UseBackupCode(self, request: pb.UseBackupCodeRequest, _context: object) -> Record:
        """Give the record of the code; MfaCodeRefused, MfaLocked."""
        code: Record = await self._factors.use_code(request.parent, request.code, request.source_ip)
        return code

    async def RevokeDevice(self, request: pb.RevokeDeviceRequest, _context: object) -> Record:
        """Give the device as it is then."""
        device: Record = await self._factors.revoke(request.name, request.justification)
        return device
