"""What operations about secrets, certificates and their use tell; see ``collect_losses``."""

from services.inventory.collect import acm_certificates, load_balancers, secrets_manager

LOST: dict[str, dict[str, set[str]]] = {
    "secretsmanager:ListSecrets": {},
    "secretsmanager:GetResourcePolicy": {"secretsmanager": set(secrets_manager.POLICY_FIELDS)},
    "acm:ListCertificates": {},
    "acm:DescribeCertificate": {"acm_certificates": set(acm_certificates.DESCRIBED_FIELDS)},
    "acm:ListTagsForCertificate": {"acm_certificates": {"tags"}},
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
    "wafv2:GetWebACLForResource": {"load_balancers": {"web_acl"}},
}
