"""What a sync shows of the sample account's containers and machines, good and bad."""

from services.inventory.collect.versions import moment
from tests.service.collect_world import World, body_of, by
from tests.service.test_sync_sample import having


async def test_clusters_of_kubernetes_of_the_sample(collecting: World) -> None:
    await collecting.sync("eks_clusters")
    rows = by(await collecting.rows("eks_clusters"), "cluster_name")
    assert rows.keys() == {"payments", "playground"}
    assert having(rows, "endpoint_public") == having(rows, "public_cidrs") == {"playground"}
    assert having(rows, "secrets_encryption_key") == {"payments"}
    kept, old = body_of(rows["payments"]), body_of(rows["playground"])
    assert kept.logging_types == ["api", "audit", "authenticator"]
    assert kept.addons[0].addon_name == "coredns"
    assert kept.addons[1].version == "v1.20.4-eksbuild.1"
    assert kept.access_entries == ["arn:aws:iam::123456789012:role/deploy"]
    assert kept.pod_identities == ["jobs/ledger"]
    assert kept.fargate_profiles == ["jobs"]
    assert kept.tags == {"team": "payments"}
    assert [each.remote_access_open for each in kept.nodegroups] == [False]
    assert [each.remote_access_open for each in old.nodegroups] == [True]
    assert rows["payments"].arn == "arn:aws:eks:us-east-1:123456789012:cluster/payments"
    read = moment(rows["payments"].valid_from)
    assert moment(old.standard_support_end) < read < moment(kept.standard_support_end)
    assert not rows["playground"].unread
