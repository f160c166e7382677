"""What a control says of the records that were collected, now or at a moment of the past.

It says what an evaluation would have said then: what an exception in force accepts is excepted.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE
from services.inventory.compliance.check_catalogue import BoundCheck, CheckCatalogue
from services.inventory.compliance.coverage import Coverage
from services.inventory.compliance.evaluation import Evaluation
from services.inventory.compliance.evidence_store import EvidenceStore
from services.inventory.exceptions.tenant_exceptions import TenantExceptions


async def tried(
    store: Store, tenant: str, check: BoundCheck, accounts: Sequence[str], moment: int | None
) -> assessment_pb2.CheckResult | None:
    """Weigh all rows of a check by its own thresholds; None if nothing had been collected.

    Args:
        moment: Microseconds since 1970, as of which it is weighed; None for now.
    """
    async with store.connection() as connection:
        evidence = EvidenceStore(store, connection, tenant, moment)
        coverage = Coverage(accounts, await evidence.units(accounts))
        if coverage.empty:
            return None
        stamp = Timestamp()
        if moment is None:
            stamp.FromDatetime(datetime.now(UTC))
        else:
            stamp.FromMicroseconds(moment)
        now = stamp.ToDatetime(UTC)
        alone = CheckCatalogue({check.id: check})
        exceptions = await TenantExceptions(store).in_force(tenant, stamp, alone, connection)
        evaluation = Evaluation(
            evidence, coverage, now, now - DEFAULT_MAX_AGE, tuple(accounts), exceptions
        )
        return await evaluation.run(check, check.defaults())
