"""PostureService: frameworks rolled up over all that is recorded about their controls."""

from mesh.contract.catalogue import Catalogue
from mesh.errors import PermissionMissing
from mesh.server.call import current_call
from secmesh.security.v1 import posture_service_pb2 as pb
from secmesh.security.v1.posture_service_pb2_grpc import PostureServiceServicer
from services.security.posture.frameworks import POSTURES, REPORTS, Frameworks


class PostureServicer(PostureServiceServicer):
    """Answers how well a framework is met."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, catalogue: Catalogue, frameworks: Frameworks) -> None:
        self._kinds = catalogue.record_kinds
        self._frameworks = frameworks

    async def RollUpFramework(
        self, request: pb.RollUpFrameworkRequest, _context: object
    ) -> pb.FrameworkRollUp:
        """Roll up; ResourceNotFound, FieldInvalid, PermissionMissing for what is to be kept."""
        for collection in (REPORTS, POSTURES) if request.record else ():
            needed = self._kinds[collection].permission("create")
            if not current_call().caller.permits(needed):
                raise PermissionMissing(needed)
        return await self._frameworks.roll_up(request)
