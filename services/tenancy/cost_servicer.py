"""CostService: what tenants cost."""

from mesh.contract.names import tenant_of
from mesh.errors import ResourceNotFound
from secmesh.tenancy.v1 import cost_service_pb2 as pb
from secmesh.tenancy.v1.cost_service_pb2_grpc import CostServiceServicer
from services.tenancy.cost.aws_figures import LISTED_ON, REGION
from services.tenancy.cost.estimate import Line, Workload, lines
from services.tenancy.tenants import Tenants


class CostServicer(CostServiceServicer):
    """Between messages and arithmetic."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, tenants: Tenants, shards: int) -> None:
        """``shards`` are those of this deployment."""
        self._tenants = tenants
        self._shards = shards

    async def EstimateCost(
        self, request: pb.EstimateCostRequest, _context: object
    ) -> pb.CostEstimate:
        """Give it; ResourceNotFound."""
        tenant = tenant_of(request.name)
        if tenant is None:
            raise ResourceNotFound(request.name)
        # Asked in any case: of a tenant that there is not nothing is estimated.
        has = await self._tenants.quotas(tenant)
        workload = Workload(
            accounts=request.accounts if request.HasField("accounts") else has.accounts,
            secrets=request.secrets,
            runs_per_day=request.runs_per_day if request.HasField("runs_per_day") else 1,
            shards=request.shards or self._shards,
        )
        found = lines(workload)
        return pb.CostEstimate(
            lines=map(_line, found),
            monthly_micro_usd=sum(each.micro_usd for each in found if not each.shared),
            shared_monthly_micro_usd=sum(each.micro_usd for each in found if each.shared),
            price_region=REGION,
            price_date=LISTED_ON,
        )


def _line(line: Line) -> pb.CostLine:
    return pb.CostLine(
        item=line.price.item,
        quantity=line.quantity,
        micro_usd_per_million=line.price.micro_usd_per_million,
        monthly_micro_usd=line.micro_usd,
        shared=line.shared,
    )
