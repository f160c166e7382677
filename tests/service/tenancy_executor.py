"""An executor in a process of its own: ``python -m tests.service.tenancy_executor SECONDS``."""

import asyncio
import sys

from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from services.tenancy.assembly import open_parts
from services.tenancy.clock import SystemClock
from services.tenancy.replica_commands import run_executor
from services.tenancy.scan_results import published
from services.tenancy.scheduling.executions import execution_name
from services.tenancy.scheduling.work import Assignment, Published
from services.tenancy.settings import TenancySettings


class Waiting:
    """Waits, and publishes a result."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run(self, assignment: Assignment) -> Published:
        await asyncio.sleep(self._seconds)
        name = execution_name(assignment.tenant, assignment.schedule_id, assignment.execution_id)
        result = ScanResult(
            account_id=assignment.account_id, execution=name, fence=assignment.fence
        )
        now = SystemClock().now()
        made, action = published(result, assignment.tenant, assignment.execution_id, now)
        return Published(made, [action])

    async def abort(self, _assignment: Assignment) -> None:
        """Nothing goes on elsewhere."""


async def _main() -> None:
    await run_executor(open_parts(TenancySettings()), Waiting(float(sys.argv[1])))


if __name__ == "__main__":
    asyncio.run(_main())
