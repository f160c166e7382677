"""QualityGateService: projects judged by their gates."""

from secmesh.security.v1 import quality_gate_service_pb2 as pb
from secmesh.security.v1.quality_gate_service_pb2_grpc import QualityGateServiceServicer
from services.security.gates.gates import Gates


class QualityGateServicer(QualityGateServiceServicer):
    """Answers what a gate says of a project as it is now."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    async def EvaluateGate(
        self, request: pb.EvaluateGateRequest, _context: object
    ) -> pb.EvaluateGateResponse:
        """Judge; ResourceNotFound, QualityGateUndecided, ScanNotCurrent, FieldInvalid."""
        return await self._gates.evaluate(request)
