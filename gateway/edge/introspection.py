"""gRPC health and reflection of the gateway as a whole, on the edge's gRPC port."""

from collections.abc import Iterable, Mapping

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.contracts import Deployable
from gateway.edge.health import SERVING, HealthProbe

_NAMES = health_pb2.HealthCheckResponse
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
REFLECTION = f"/{reflection.SERVICE_NAME}/ServerReflectionInfo"


class GatewayHealth(health_pb2_grpc.HealthServicer):
    """Answers for every service behind the gateway: by its gRPC name, or all by the empty one."""

    def __init__(self, services: Iterable[Deployable], probe: HealthProbe) -> None:
        self._deployables: Mapping[str, str] = {
            name: service.name for service in services for name in service.catalogue.services
        }
        self._probe = probe

    async def Check(  # noqa: N802 (the name is the contract's)
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ],
    ) -> health_pb2.HealthCheckResponse:
        """Give the status; NOT_FOUND for a service that is not behind this gateway."""
        if request.service and request.service not in self._deployables:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        statuses = await self._probe.statuses()
        if request.service:
            asked = [statuses[self._deployables[request.service]]]
        else:
            asked = list(statuses.values())
        serving = all(status == SERVING for status in asked)
        return _NAMES(status=_NAMES.SERVING if serving else _NAMES.NOT_SERVING)


def add_introspection(
    server: grpc.aio.Server, services: Iterable[Deployable], probe: HealthProbe
) -> None:
    """Serve health, and the contracts of the services by reflection."""
    listed = tuple(services)
    health_pb2_grpc.add_HealthServicer_to_server(GatewayHealth(listed, probe), server)
    names = [name for service in listed for name in service.catalogue.services]
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
