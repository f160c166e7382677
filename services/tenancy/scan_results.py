"""Scan results as items."""

from secmesh.tenancy.v1.scan_result_pb2 import ScanResult
from services.tenancy.clock import MICROSECONDS
from services.tenancy.retention import timestamp
from services.tenancy.scheduling.executions import HISTORY
from services.tenancy.store.conditions import Missing
from services.tenancy.store.items import ItemCodec
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Key, Put
from services.tenancy.store.tables import EXPIRES_AT

CODEC = ItemCodec(ScanResult)
_PARTS = 3


def result_name(tenant: str, account: str, ended: int, execution_id: str) -> str:
    """Give the name of the result of an execution; ``ended`` in microseconds."""
    return f"tenants/{tenant}/scanResults/{account}.{ended // 1000:013d}.{execution_id}"


def result_key(tenant: str, identity: str) -> Key | None:
    """Give the key of the result of an id; None if it is none."""
    parts = identity.split(".")
    if len(parts) != _PARTS or not parts[1].isdecimal():
        return None
    return TenantScope(tenant).scan_result(parts[0], int(parts[1]) * 1000, parts[2])


def published(result: ScanResult, tenant: str, execution_id: str, ended: int) -> tuple[str, Put]:
    """Name a result that has its account and execution; give the name and what writes it."""
    scope = TenantScope(tenant)
    result.name = result_name(tenant, result.account_id, ended, execution_id)
    result.create_time.CopyFrom(timestamp(ended))
    result.expire_time.CopyFrom(timestamp(ended + HISTORY))
    item = CODEC.item(result) | scope.scan_result_indexes(execution_id, 0, ended)
    item[EXPIRES_AT] = (ended + HISTORY) // MICROSECONDS
    key = scope.scan_result(result.account_id, ended, execution_id)
    return result.name, Put(key, item, Missing())
