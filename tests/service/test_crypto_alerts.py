"""The alert rules about people's data read metrics that the crypto service tells."""

from pathlib import Path

from mesh.telemetry.prometheus import enable_metrics, exposition
from tests.databases import crypto_database
from tests.service.crypto_audit_store import AuditDatabase
from tests.service.crypto_world import crypto_world
from tests.service.metric_samples import samples
from tests.service.test_alerts import assert_told


async def test_rules_name_metrics_that_are_told_before_anything_happened(tmp_path: Path) -> None:
    enable_metrics()
    with crypto_database() as access:
        audit = AuditDatabase(access)
        await audit.checkpointer().look()
        async with crypto_world(access, tmp_path) as world:
            await world.rotation.schedule.look()
        for engine in audit.engines:
            await engine.dispose()
    told = exposition().decode()
    assert_told("secmesh-crypto", told)
    # An increase from nothing is none to Prometheus: each reason is there with 0.
    reasons = {labels["reason"] for labels, _ in samples(told, "secmesh_crypto_audit_alerts_total")}
    assert reasons >= {"FAILED_DECRYPTIONS", "HONEYTOKEN_TOUCHED"}
