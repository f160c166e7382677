"""What each operation of a sync alone tells: the fields that are lost where it is denied."""

from services.inventory.collect import account_metadata, dynamodb_tables, kms_keys, rds_instances
from tests.service import (
    collect_losses_compute,
    collect_losses_continuity,
    collect_losses_detection,
    collect_losses_edge,
    collect_losses_events,
    collect_losses_governance,
)
from tests.service.collect_losses_events import UNALARMED

BLOCK = {
    "public_access_block",
    "block_public_acls",
    "ignore_public_acls",
    "block_public_policy",
    "restrict_public_buckets",
}
POLICY = {
    "configured",
    "minimum_length",
    "require_uppercase",
    "require_lowercase",
    "require_numbers",
    "require_symbols",
    "max_age_days",
    "reuse_prevention",
    "hard_expiry",
    "allow_users_to_change",
}
# Operation: by collection, every field that some record loses by its denial.
LOST: dict[str, dict[str, set[str]]] = {
    **collect_losses_continuity.LOST,
    **collect_losses_compute.LOST,
    **collect_losses_detection.LOST,
    **collect_losses_governance.LOST,
    **collect_losses_edge.LOST,
    **collect_losses_events.LOST,
    "iam:GetAccountAuthorizationDetails": {
        "iam_users": {
            "user_id",
            "attached_policies",
            "inline_policies",
            "groups",
            "permissions_boundary",
            "tags",
        },
        **collect_losses_governance.CONSOLE_USERS,
    },
    "iam:ListRoles": {"iam_roles": {"max_session_seconds"}},
    # The report that was made before is still there.
    "iam:GenerateCredentialReport": {},
    "iam:GetCredentialReport": {
        "iam_users": {
            "create_date",
            "password_enabled",
            "last_login",
            "password_last_changed",
            "access_keys",
            "active_access_keys",
            "oldest_active_key_rotated",
            "credential_unused_since",
            "mfa_enabled",
            "mfa_types",
        },
        **collect_losses_governance.CONSOLE_USERS,
    },
    # The users' own lists tell the same.
    "iam:ListVirtualMFADevices": {},
    "iam:ListMFADevices": {"iam_users": {"mfa_types"}},
    "iam:GetAccountPasswordPolicy": {"iam_password_policy": POLICY},
    "iam:GetAccountSummary": {
        "iam_password_policy": {"root_mfa_enabled", "root_access_keys_present"}
    },
    "iam:ListAccountAliases": {
        "account_metadata": {"alias"},
        "iam_password_policy": {"account_alias"},
    },
    "organizations:DescribeOrganization": {
        "account_metadata": {*account_metadata.ORGANIZATION_FIELDS, "scps", "delegated_admins"}
    },
    "organizations:ListPolicies": {"account_metadata": {"scps"}},
    "organizations:ListDelegatedAdministrators": {"account_metadata": {"delegated_admins"}},
    "account:GetAlternateContact": {"account_metadata": set(account_metadata.CONTACTS)},
    "ec2:DescribeRegions": {"account_metadata": {"regions_enabled"}},
    "s3control:GetPublicAccessBlock": {
        "s3_account_settings": BLOCK,
        "s3_buckets": {"public"},
        "cloudtrail_trails": {"log_bucket_public"},
    },
    "s3:ListBuckets": {
        "cloudtrail_trails": {"log_bucket_public", "log_bucket_logged"},
        "route53_records": {"dangling"},
    },
    # Without it the region is not known, so neither is whether one of its trails watches.
    "s3:GetBucketLocation": {
        "s3_buckets": {"data_events_logged"},
        "cloudtrail_trails": {"log_bucket_logged"},
    },
    "s3:GetBucketEncryption": {"s3_buckets": {"encryption", "kms_key_id", "bucket_key_enabled"}},
    "s3:GetPublicAccessBlock": {
        "s3_buckets": BLOCK | {"public"},
        "cloudtrail_trails": {"log_bucket_public"},
    },
    "s3:GetBucketPolicy": {"s3_buckets": {"policy", "https_only"}},
    "s3:GetBucketPolicyStatus": {"s3_buckets": {"policy_is_public", "public"}},
    "s3:GetBucketAcl": {
        "s3_buckets": {"acl_grants_public", "public"},
        "cloudtrail_trails": {"log_bucket_public"},
    },
    "s3:GetBucketOwnershipControls": {
        "s3_buckets": {"ownership", "public"},
        "cloudtrail_trails": {"log_bucket_public"},
    },
    "s3:GetBucketVersioning": {"s3_buckets": {"versioning", "mfa_delete"}},
    "s3:GetBucketLogging": {
        "s3_buckets": {"logging_target_bucket"},
        "cloudtrail_trails": {"log_bucket_logged"},
    },
    "s3:GetObjectLockConfiguration": {"s3_buckets": {"object_lock_mode", "retention_days"}},
    "s3:GetBucketLifecycleConfiguration": {"s3_buckets": {"expiration_days"}},
    "s3:GetBucketReplication": {"s3_buckets": {"replication_targets"}},
    "s3:GetBucketNotificationConfiguration": {"s3_buckets": {"event_targets"}},
    "s3:GetBucketTagging": {"s3_buckets": {"tags"}},
    "ec2:DescribeSecurityGroups": {
        "ec2_instances": {"exposed"},
        "rds_instances": {"public"},
        "vpc": {"default_group_closed"},
    },
    "ec2:DescribeNetworkInterfaces": {"security_groups": {"attached_enis", "unused"}},
    "ec2:GetManagedPrefixListEntries": {"security_groups": {"open_to_world"}},
    "cloudtrail:DescribeTrails": {
        "cloudwatch": UNALARMED,
        "s3_buckets": {"data_events_logged"},
    },
    "cloudtrail:GetTrailStatus": {
        "cloudwatch": UNALARMED,
        "cloudtrail_trails": {
            "is_logging",
            "latest_delivery_time",
            "latest_delivery_error",
            "latest_cloudwatch_delivery_time",
            "latest_cloudwatch_delivery_error",
        },
        "s3_buckets": {"data_events_logged"},
    },
    "cloudtrail:GetEventSelectors": {
        "cloudwatch": UNALARMED,
        "cloudtrail_trails": {
            "management_events",
            "s3_data_events",
            "lambda_data_events",
            "log_bucket_logged",
        },
        "s3_buckets": {"data_events_logged"},
    },
    "cloudtrail:GetInsightSelectors": {"cloudtrail_trails": {"insight_selectors"}},
    "cloudtrail:ListTags": {"cloudtrail_trails": {"tags"}},
    "kms:ListKeys": {},
    "kms:ListAliases": {"kms_keys": {"aliases"}},
    "kms:DescribeKey": {"kms_keys": set(kms_keys.DESCRIBED_FIELDS + kms_keys.ROTATION_FIELDS)},
    "kms:GetKeyRotationStatus": {"kms_keys": {"rotation_enabled", "rotation_period_days"}},
    "kms:GetKeyPolicy": {"kms_keys": {"policy", "policy_public", "policy_cross_account"}},
    "kms:ListGrants": {"kms_keys": {"grants"}},
    "kms:ListResourceTags": {"kms_keys": {"tags"}},
    "dynamodb:ListTables": {},
    "dynamodb:DescribeTable": {
        "dynamodb_tables": {*dynamodb_tables.DESCRIBED_FIELDS, "autoscaling"}
    },
    "dynamodb:DescribeContinuousBackups": {"dynamodb_tables": {"pitr_enabled", "retention_days"}},
    "dynamodb:DescribeTimeToLive": {"dynamodb_tables": {"ttl_attribute"}},
    "dynamodb:GetResourcePolicy": {"dynamodb_tables": {"policy", "policy_public"}},
    "dynamodb:ListTagsOfResource": {"dynamodb_tables": {"tags"}},
    "application-autoscaling:DescribeScalableTargets": {"dynamodb_tables": {"autoscaling"}},
    "ec2:DescribeVpcs": {},
    "ec2:DescribeSubnets": {},
    "ec2:DescribeFlowLogs": {"vpc": {"flow_logs", "flow_logs_active"}},
    "ec2:DescribeInternetGateways": {"vpc": {"internet_gateways"}},
    "ec2:DescribeRouteTables": {
        "rds_instances": {"routed_to_internet", "public"},
        "vpc": {"routed_to_internet"},
    },
    "ec2:DescribeNatGateways": {"vpc": {"nat_gateways"}},
    "ec2:DescribeNetworkAcls": {"vpc": {"open_network_acls"}},
    "ec2:DescribeVpcEndpoints": {"vpc": {"endpoint_services"}},
    "ec2:DescribeVpcPeeringConnections": {"vpc": {"peerings"}},
    "ec2:DescribeVpcAttribute": {"vpc": {"dns_support", "dns_hostnames"}},
    "rds:DescribeDBInstances": {},
    "rds:DescribeDBClusters": {
        "rds_instances": {*rds_instances.CLUSTER_FIELDS, "tls_parameter", "tls_required"}
    },
    "rds:DescribeDBParameters": {"rds_instances": {"tls_parameter", "tls_required"}},
    "rds:DescribeDBClusterParameters": {"rds_instances": {"tls_parameter", "tls_required"}},
    "rds:DescribeDBSnapshots": {},
    "rds:DescribeDBClusterSnapshots": {},
    "rds:DescribeDBSnapshotAttributes": {"rds_snapshots": {"public", "shared_with"}},
    "rds:DescribeDBClusterSnapshotAttributes": {"rds_snapshots": {"public", "shared_with"}},
    "lambda:ListFunctions": {},
    "lambda:GetPolicy": {"lambda": {"policy", "policy_public", "public"}},
    "lambda:GetFunctionUrlConfig": {"lambda": {"function_url_auth", "public"}},
    "lambda:GetFunctionCodeSigningConfig": {"lambda": {"code_signing_config"}},
    "lambda:GetFunctionConcurrency": {"lambda": {"reserved_concurrency"}},
    "lambda:ListTags": {"lambda": {"tags"}},
}
