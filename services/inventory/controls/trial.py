"""What a control says of the records that were collected, now or at a moment of the past."""

from collections.abc import Sequence
from datetime import UTC, datetime

from mesh.contract.storage import MICROSECONDS
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE
from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.compliance.coverage import Coverage
from services.inventory.compliance.evaluation import Evaluation
from services.inventory.compliance.evidence_store import EvidenceStore


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
        now = datetime.now(UTC) if moment is None else _moment(moment)
        evaluation = Evaluation(evidence, coverage, now, now - DEFAULT_MAX_AGE, tuple(accounts))
        return await evaluation.run(check, check.defaults())


def _moment(micros: int) -> datetime:
    seconds, rest = divmod(micros, MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
