"""What operations of containers and machines alone tell; see ``collect_losses``."""

from services.inventory.collect import eks_clusters

LOST: dict[str, dict[str, set[str]]] = {
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
