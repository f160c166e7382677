"""What operations of backup, storage and link services alone tell; see ``collect_losses``."""

from services.inventory.collect import (
    backup_coverage,
    backup_plans,
    backup_vaults,
    hosted_zones,
    ssm_patch,
)

LOST: dict[str, dict[str, set[str]]] = {
    "backup:ListBackupVaults": {},
    "backup:GetBackupVaultAccessPolicy": {"backup": set(backup_vaults.POLICY_FIELDS)},
    "backup:ListTags": {"backup": {"tags"}, "backup_plans": {"tags"}},
    "backup:ListBackupPlans": {"efs_file_systems": {"in_backup_plan"}},
    "backup:GetBackupPlan": {"backup_plans": set(backup_plans.RULE_FIELDS)},
    "backup:ListBackupSelections": {
        "backup_plans": {"selections"},
        "efs_file_systems": {"in_backup_plan"},
    },
    "backup:GetBackupSelection": {
        "backup_plans": {"selections"},
        "efs_file_systems": {"in_backup_plan"},
    },
    "backup:ListRecoveryPointsByBackupVault": {},
    "backup:ListProtectedResources": {"backup_coverage": set(backup_coverage.BACKUP_FIELDS)},
    "ec2:DescribeVolumes": {},
    "efs:DescribeFileSystems": {},
    "efs:DescribeAccessPoints": {"efs_file_systems": {"access_points"}},
    "efs:DescribeReplicationConfigurations": {"efs_file_systems": {"replica_regions"}},
    "efs:DescribeBackupPolicy": {"efs_file_systems": {"automatic_backups"}},
    "efs:DescribeFileSystemPolicy": {
        "efs_file_systems": {"policy", "policy_public", "tls_required"}
    },
    "efs:DescribeLifecycleConfiguration": {"efs_file_systems": {"lifecycle"}},
    "efs:DescribeMountTargets": {"efs_file_systems": {"mount_targets"}},
    "efs:DescribeMountTargetSecurityGroups": {"efs_file_systems": {"mount_targets"}},
    "route53:ListHostedZones": {},
    "route53:GetHostedZone": {"route53": set(hosted_zones.ZONE_FIELDS)},
    "route53:GetDNSSEC": {"route53": set(hosted_zones.DNSSEC_FIELDS)},
    "route53:ListQueryLoggingConfigs": {"route53": {"query_log_group"}},
    "route53:ListTagsForResources": {"route53": {"tags"}},
    "route53:ListResourceRecordSets": {},
    "elb:DescribeLoadBalancers": {"route53_records": {"dangling"}},
    "elbv2:DescribeLoadBalancers": {"route53_records": {"dangling"}},
    "ec2:DescribeInstances": {},
    # Machines of EC2 are known without it.
    "ssm:DescribeInstanceInformation": {
        "ssm_patch": {*ssm_patch.NODE_FIELDS, *ssm_patch.PATCH_FIELDS}
    },
    "ssm:DescribeInstancePatchStates": {"ssm_patch": set(ssm_patch.PATCH_FIELDS)},
    "ec2:DescribeVpnConnections": {"direct_connect": {"vpn_overlay"}},
    "ec2:DescribeCustomerGateways": {"vpn": {"customer_address"}},
    "ec2:DescribeTransitGatewayAttachments": {
        "vpn": {"direct_connect_gateway_id"},
        "direct_connect": {"vpn_overlay"},
    },
    "directconnect:DescribeConnections": {},
    "directconnect:DescribeVirtualInterfaces": {
        "direct_connect": {"virtual_interfaces", "vpn_overlay"}
    },
}
