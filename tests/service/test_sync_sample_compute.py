"""What a sync shows of the sample account's containers and machines, good and bad."""

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_canned import PAGE
from secmesh.inventory.v1.sync_pb2 import Sync
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


async def test_clusters_services_and_tasks_of_the_sample(collecting: World) -> None:
    await collecting.sync("ecs_clusters", "ecs_services", "ecs_task_definitions")
    clusters = by(await collecting.rows("ecs_clusters"), "cluster_name")
    shop, lab = body_of(clusters["shop"]), body_of(clusters["lab"])
    assert (shop.container_insights, lab.container_insights) == ("enabled", "disabled")
    assert (shop.exec_logging, shop.exec_log_encrypted) == ("OVERRIDE", True)
    assert shop.exec_kms_key_id
    assert shop.capacity_providers == ["FARGATE", "FARGATE_SPOT"]
    assert shop.tags == {"team": "shop"}
    assert not lab.HasField("exec_logging")
    services = {
        (body_of(each).cluster_arn.rpartition("/")[2], body_of(each).service_name): body_of(each)
        for each in (await collecting.rows("ecs_services")).values()
    }
    told = {name: each.assign_public_ip for name, each in services.items() if each.subnets}
    assert told == {("shop", "web"): False, ("lab", "web"): True}
    assert not services["lab", "agent"].HasField("assign_public_ip")
    assert services["shop", "web"].task_definition.endswith(":task-definition/web:2")
    tasks = by(await collecting.rows("ecs_task_definitions"), "family")
    assert having(tasks, "host_pid") == having(tasks, "credential_variables") == {"agent"}
    web, agent = body_of(tasks["web"]), body_of(tasks["agent"])
    assert web.revision == 2
    assert web.containers[0].environment_names == ["DATABASE_HOST"]
    assert web.containers[0].readonly_root
    assert not web.containers[0].root_user
    assert agent.containers[0].root_user
    assert agent.containers[0].privileged
    (found,) = agent.credential_variables
    assert (found.variable_name, found.looks_like) == ("AWS_ACCESS_KEY_ID", "aws-access-key-id")
    assert "AKIAIOSFODNN7EXAMPLE" not in str(tasks["agent"])


async def test_repositories_of_the_sample(collecting: World) -> None:
    await collecting.sync("ecr_repositories")
    rows = by(await collecting.rows("ecr_repositories"), "repository_name")
    assert having(rows, "policy_public") == {"open"}
    assert having(rows, "lifecycle_policy") == having(rows, "scan_on_push") == {"web"}
    web, partner = body_of(rows["web"]), body_of(rows["tools/partner"])
    assert (web.scan_type, web.scan_frequency) == ("ENHANCED", "CONTINUOUS_SCAN")
    assert (web.encryption, web.tag_mutability) == ("KMS", "IMMUTABLE")
    assert web.kms_key_id
    assert web.tags == {"team": "shop"}
    assert (partner.encryption, partner.scan_frequency) == ("AES256", "MANUAL")
    assert partner.shared_with == ["210987654321"]
    assert not partner.HasField("kms_key_id")
    assert rows["open"].arn == "arn:aws:ecr:us-east-1:123456789012:repository/open"


async def test_machines_of_the_sample(collecting: World) -> None:
    await collecting.sync("ec2_instances", "security_groups")
    found = await collecting.rows("ec2_instances")
    rows = {body_of(each).tags["Name"]: each for each in found.values()}
    # The terminated one is not among them.
    assert rows.keys() == {"ledger", "web", "forgotten"}
    assert having(rows, "public_ips") == having(rows, "exposed") == {"web"}
    assert having(rows, "launch_template_id") == {"ledger", "forgotten"}
    tokens = {
        name: (body_of(each).http_tokens, body_of(each).template_http_tokens)
        for name, each in rows.items()
    }
    assert tokens == {
        "ledger": ("required", "required"),
        "web": ("required", ""),
        "forgotten": ("optional", "optional"),
    }
    ledger = body_of(rows["ledger"])
    assert (ledger.monitoring, ledger.ebs_optimized, ledger.state) == (True, True, "running")
    assert len(ledger.security_groups) == 1
    assert ledger.vpc_id
    assert rows["ledger"].arn == (
        f"arn:aws:ec2:us-east-1:123456789012:instance/{ledger.instance_id}"
    )


async def test_disks_of_the_sample(collecting: World) -> None:
    await collecting.sync("ebs_volumes", "ebs_snapshots", "ebs_settings")
    volumes = [body_of(each) for each in (await collecting.rows("ebs_volumes")).values()]
    told = sorted((each.attached, each.encrypted) for each in volumes)
    assert told == [(False, False), (True, False), (True, True), (True, True)]
    assert all(each.kms_key_id for each in volumes if each.encrypted)
    assert {each.size for each in volumes} == {8, 20}
    snapshots = by(await collecting.rows("ebs_snapshots"), "snapshot_id")
    assert having(snapshots, "public") == {"snap-0cccccccccccccccc"}
    assert having(snapshots, "encrypted") == {"snap-0aaaaaaaaaaaaaaaa"}
    kept = snapshots["snap-0aaaaaaaaaaaaaaaa"]
    assert kept.arn == "arn:aws:ec2:us-east-1::snapshot/snap-0aaaaaaaaaaaaaaaa"
    assert body_of(kept).tags == {"owner": "finance"}
    ((settings, region),) = [
        (body_of(each), each.region) for each in (await collecting.rows("ebs_settings")).values()
    ]
    assert region == "us-east-1"
    assert not settings.default_encryption
    assert (settings.default_kms_key_id, settings.snapshot_block) == ("alias/aws/ebs", "unblocked")


async def test_small_pages_tell_the_same(collecting: World, aws: AwsEndpoint) -> None:
    kinds = ("ebs_snapshots", "eks_clusters")
    await collecting.sync(*kinds)
    before = {kind: await collecting.rows(kind) for kind in kinds}
    aws.canned.page = 1
    try:
        again = await collecting.sync(*kinds)
    finally:
        aws.canned.page = PAGE
    assert (again.state, again.progress.rows_written) == (Sync.STATE_SUCCEEDED, 0)
    assert {kind: await collecting.rows(kind) for kind in kinds} == before
