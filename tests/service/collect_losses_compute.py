"""What operations of containers and machines alone tell; see ``collect_losses``."""

from services.inventory.collect import (
    ecs_clusters,
    ecs_services,
    ecs_task_definitions,
    eks_clusters,
)

LOST: dict[str, dict[str, set[str]]] = {
    "ec2:DescribeVolumes": {},
    "ec2:DescribeSnapshots": {},
    "ec2:GetSnapshotBlockPublicAccessState": {
        "ebs_settings": {"snapshot_block", "snapshot_block_managed_by"},
        "ebs_snapshots": {"public"},
    },
    "ec2:GetEbsEncryptionByDefault": {"ebs_settings": {"default_encryption"}},
    "ec2:GetEbsDefaultKmsKeyId": {"ebs_settings": {"default_kms_key_id"}},
    "ec2:DescribeInstances": {},
    "ec2:DescribeLaunchTemplateVersions": {"ec2_instances": {"template_http_tokens"}},
    "ecr:DescribeRepositories": {},
    "ecr:GetRegistryScanningConfiguration": {"ecr_repositories": {"scan_type"}},
    "ecr:BatchGetRepositoryScanningConfiguration": {
        "ecr_repositories": {"scan_frequency", "scan_on_push"}
    },
    "ecr:GetRepositoryPolicy": {"ecr_repositories": {"policy", "policy_public", "shared_with"}},
    "ecr:GetLifecyclePolicy": {"ecr_repositories": {"lifecycle_policy"}},
    "ecr:ListTagsForResource": {"ecr_repositories": {"tags"}},
    "ecs:ListClusters": {},
    "ecs:DescribeClusters": {"ecs_clusters": set(ecs_clusters.DESCRIBED_FIELDS)},
    "ecs:ListServices": {},
    "ecs:DescribeServices": {"ecs_services": set(ecs_services.DESCRIBED_FIELDS)},
    "ecs:ListTaskDefinitionFamilies": {},
    "ecs:DescribeTaskDefinition": {
        "ecs_task_definitions": set(ecs_task_definitions.DESCRIBED_FIELDS)
    },
    "eks:ListClusters": {},
    "eks:DescribeClusterVersions": {"eks_clusters": {"standard_support_end"}},
    "eks:DescribeCluster": {
        "eks_clusters": {*eks_clusters.DESCRIBED_FIELDS, "standard_support_end"}
    },
    "eks:ListNodegroups": {"eks_clusters": {"nodegroups"}},
    "eks:DescribeNodegroup": {"eks_clusters": {"nodegroups"}},
    "eks:ListFargateProfiles": {"eks_clusters": {"fargate_profiles"}},
    "eks:ListAddons": {"eks_clusters": {"addons"}},
    "eks:DescribeAddon": {"eks_clusters": {"addons"}},
    "eks:ListAccessEntries": {"eks_clusters": {"access_entries"}},
    "eks:ListPodIdentityAssociations": {"eks_clusters": {"pod_identities"}},
}
