"""Puts together what counts, and what looks at the installation."""

from collections.abc import Iterable
from typing import Any

from mesh.sql.transactions import Transactions
from secmesh.crypto.v1 import statistics_service_pb2_grpc
from services.crypto.assembly import Custody
from services.crypto.audit.entry import Audit
from services.crypto.custodian_checks import custodian_checks
from services.crypto.installation_store import Check
from services.crypto.settings import CryptoSettings
from services.crypto.statistics_servicer import StatisticsServicer


def statistics_servicer(
    settings: CryptoSettings, custody: Custody, transactions: Transactions, audit: Audit
) -> tuple[Any, Any]:
    """Give the servicer of statistics with the function that adds it to a server."""

    async def look() -> Iterable[Check]:
        return await custodian_checks(custody, settings.kms_key_id)

    servicer = StatisticsServicer(transactions, audit, look)
    return statistics_service_pb2_grpc.add_StatisticsServiceServicer_to_server, servicer
