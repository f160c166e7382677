"""What operations about secrets, certificates and their use tell; see ``collect_losses``."""

from services.inventory.collect import (
    acm_certificates,
    control_tower,
    elasticache_caches,
    load_balancers,
    opensearch_domains,
    redshift_clusters,
    secrets_manager,
)

LOST: dict[str, dict[str, set[str]]] = {
    "secretsmanager:ListSecrets": {},
    "secretsmanager:GetResourcePolicy": {"secretsmanager": set(secrets_manager.POLICY_FIELDS)},
    "acm:ListCertificates": {},
    "acm:DescribeCertificate": {"acm_certificates": set(acm_certificates.DESCRIBED_FIELDS)},
    "acm:ListTagsForCertificate": {"acm_certificates": {"tags"}},
    "controltower:ListLandingZones": {},
    "controltower:GetLandingZone": {"control_tower": set(control_tower.ZONE_FIELDS)},
    "controltower:ListEnabledControls": {"control_tower": set(control_tower.CONTROL_FIELDS)},
    "controltower:ListEnabledBaselines": {"control_tower": set(control_tower.BASELINE_FIELDS)},
    "elasticache:DescribeReplicationGroups": {},
    "elasticache:DescribeCacheClusters": {"elasticache": set(elasticache_caches.MEMBER_FIELDS)},
    "elasticache:ListTagsForResource": {"elasticache": {"tags"}},
    "elb:DescribeLoadBalancers": {},
    "elb:DescribeLoadBalancerAttributes": {"load_balancers": set(load_balancers.CLASSIC_FIELDS)},
    "elb:DescribeLoadBalancerPolicies": {
        "load_balancer_listeners": {"ssl_policy", "tls_protocols"}
    },
    "elb:DescribeTags": {"load_balancers": {"tags"}},
    "elbv2:DescribeLoadBalancers": {},
    "elbv2:DescribeLoadBalancerAttributes": {
        "load_balancers": set(load_balancers.ATTRIBUTE_FIELDS)
    },
    "elbv2:DescribeListeners": {},
    "elbv2:DescribeSSLPolicies": {"load_balancer_listeners": {"tls_protocols"}},
    "elbv2:DescribeTags": {"load_balancers": {"tags"}},
    "opensearch:ListDomainNames": {},
    "opensearch:DescribeDomains": {"opensearch": set(opensearch_domains.DESCRIBED_FIELDS)},
    "opensearch:ListTags": {"opensearch": {"tags"}},
    "redshift:DescribeClusters": {},
    "redshift:DescribeLoggingStatus": {"redshift": set(redshift_clusters.LOG_FIELDS)},
    "redshift:DescribeClusterParameters": {"redshift": {"tls_required"}},
    "wafv2:GetWebACLForResource": {"load_balancers": {"web_acl"}},
}
