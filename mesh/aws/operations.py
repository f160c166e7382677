"""Operations of AWS: the IAM action each needs and the errors that are facts.

An operation is written ``service:Operation`` with the service's name in botocore.
"""

# Operations whose IAM action has another name. Source: AWS Service
# Authorization Reference, "Actions, resources, and condition keys for Amazon S3".
_ACTIONS = {
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:GetBucketReplication": "s3:GetReplicationConfiguration",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3control:GetPublicAccessBlock": "s3:GetAccountPublicAccessBlock",
}

# Services whose IAM prefix is not their name in botocore.
_PREFIXES = {
    "accessanalyzer": "access-analyzer",
    "efs": "elasticfilesystem",
    "elb": "elasticloadbalancing",
    "elbv2": "elasticloadbalancing",
    "opensearch": "es",
    "s3control": "s3",
    "sso-admin": "sso",
}

_BACKUP_GONE = frozenset({"ResourceNotFoundException"})
_FILE_SYSTEM_GONE = frozenset({"FileSystemNotFound"})

# Services whose reads all need one IAM action. Source: AWS Service Authorization Reference,
# "Actions, resources, and condition keys for Amazon API Gateway Management".
_ONE_ACTION = {"apigateway": "apigateway:GET", "apigatewayv2": "apigateway:GET"}

# Services that refuse every call while they are off, with a code that says something else.
# Source: Amazon Macie API Reference, whose GetMacieSession is refused with this message.
_OFF_MESSAGES = {"macie2": "macie is not enabled"}

_ACL_GONE = frozenset({"WAFNonexistentItemException"})
_ANALYZER_GONE = frozenset({"ResourceNotFoundException"})
_API_GONE = frozenset({"NotFoundException"})
_BALANCER_GONE = frozenset({"LoadBalancerNotFound"})
_CERTIFICATE_GONE = frozenset({"ResourceNotFoundException"})
_KEY_GONE = frozenset({"NotFoundException"})
_FUNCTION_GONE = frozenset({"ResourceNotFoundException"})
_INSTANCE_SNAPSHOT_GONE = frozenset({"DBSnapshotNotFound", "DBSnapshotNotFoundFault"})
_CLUSTER_SNAPSHOT_GONE = frozenset({"DBClusterSnapshotNotFoundFault"})
_NO_PARAMETER_GROUP = frozenset({"DBParameterGroupNotFound"})
_CLUSTER_GONE = frozenset({"ResourceNotFoundException"})
_REPOSITORY_GONE = frozenset({"RepositoryNotFoundException"})
_BUS_GONE = frozenset({"ResourceNotFoundException"})
_PERMISSION_SET_GONE = frozenset({"ResourceNotFoundException"})
_QUEUE_GONE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_TOPIC_GONE = frozenset({"NotFound", "NotFoundException"})
_TABLE_GONE = frozenset({"ResourceNotFoundException", "TableNotFoundException"})
_ZONE_GONE = frozenset({"NoSuchHostedZone"})

# Errors that say "not configured" or "not there". Source: the Errors section of
# each operation in the API references of the services.
_ABSENT = {
    "accessanalyzer:GetFindingsStatistics": _ANALYZER_GONE,
    "accessanalyzer:ListFindings": _ANALYZER_GONE,
    "account:GetAlternateContact": frozenset({"ResourceNotFoundException"}),
    "acm:DescribeCertificate": _CERTIFICATE_GONE,
    "acm:ListTagsForCertificate": _CERTIFICATE_GONE,
    "backup:GetBackupPlan": _BACKUP_GONE,
    "backup:GetBackupSelection": _BACKUP_GONE,
    "backup:GetBackupVaultAccessPolicy": _BACKUP_GONE,
    "backup:ListBackupSelections": _BACKUP_GONE,
    "backup:ListRecoveryPointsByBackupVault": _BACKUP_GONE,
    "backup:ListTags": _BACKUP_GONE,
    "apigateway:GetAuthorizers": _API_GONE,
    "apigateway:GetResources": _API_GONE,
    "apigateway:GetStages": _API_GONE,
    "apigatewayv2:GetAuthorizers": _API_GONE,
    "apigatewayv2:GetRoutes": _API_GONE,
    "apigatewayv2:GetStages": _API_GONE,
    "cloudfront:GetDistribution": frozenset({"NoSuchDistribution"}),
    "cloudfront:ListTagsForResource": frozenset({"NoSuchResource"}),
    "cloudtrail:GetInsightSelectors": frozenset(
        {"InsightNotEnabledException", "TrailNotFoundException"}
    ),
    "cloudtrail:GetEventSelectors": frozenset({"TrailNotFoundException"}),
    "cloudtrail:GetTrailStatus": frozenset({"TrailNotFoundException"}),
    "controltower:GetLandingZone": frozenset({"ResourceNotFoundException"}),
    "codepipeline:GetPipeline": frozenset({"PipelineNotFoundException"}),
    "codepipeline:ListTagsForResource": frozenset({"ResourceNotFoundException"}),
    "detective:DescribeOrganizationConfiguration": frozenset({"ValidationException"}),
    "dynamodb:DescribeContinuousBackups": _TABLE_GONE,
    "dynamodb:DescribeTable": _TABLE_GONE,
    "dynamodb:DescribeTimeToLive": _TABLE_GONE,
    "dynamodb:GetResourcePolicy": _TABLE_GONE | {"PolicyNotFoundException"},
    "dynamodb:ListTagsOfResource": _TABLE_GONE,
    "ec2:DescribeVpcAttribute": frozenset({"InvalidVpcID.NotFound"}),
    "ec2:GetManagedPrefixListEntries": frozenset({"InvalidPrefixListID.NotFound"}),
    "elasticache:ListTagsForResource": frozenset(
        {"CacheClusterNotFound", "ReplicationGroupNotFoundFault"}
    ),
    "elb:DescribeLoadBalancerAttributes": _BALANCER_GONE,
    "elb:DescribeLoadBalancerPolicies": _BALANCER_GONE,
    "elbv2:DescribeListeners": _BALANCER_GONE,
    "elbv2:DescribeLoadBalancerAttributes": _BALANCER_GONE,
    "efs:DescribeBackupPolicy": _FILE_SYSTEM_GONE | {"PolicyNotFound"},
    "efs:DescribeFileSystemPolicy": _FILE_SYSTEM_GONE | {"PolicyNotFound"},
    "efs:DescribeLifecycleConfiguration": _FILE_SYSTEM_GONE,
    "efs:DescribeMountTargetSecurityGroups": frozenset(
        {"IncorrectMountTargetState", "MountTargetNotFound"}
    ),
    "efs:DescribeMountTargets": _FILE_SYSTEM_GONE,
    "efs:DescribeReplicationConfigurations": frozenset({"ReplicationNotFound"}),
    "ecr:GetLifecyclePolicy": _REPOSITORY_GONE | {"LifecyclePolicyNotFoundException"},
    "ecr:GetRepositoryPolicy": _REPOSITORY_GONE | {"RepositoryPolicyNotFoundException"},
    "ecr:ListTagsForResource": _REPOSITORY_GONE,
    "ecs:DescribeServices": frozenset({"ClusterNotFoundException"}),
    "ecs:ListServices": frozenset({"ClusterNotFoundException"}),
    "eks:DescribeAddon": _CLUSTER_GONE,
    "eks:DescribeCluster": _CLUSTER_GONE,
    "eks:DescribeNodegroup": _CLUSTER_GONE,
    "eks:ListAccessEntries": _CLUSTER_GONE | {"InvalidRequestException"},
    "eks:ListAddons": _CLUSTER_GONE,
    "eks:ListFargateProfiles": _CLUSTER_GONE,
    "eks:ListNodegroups": _CLUSTER_GONE,
    "eks:ListPodIdentityAssociations": _CLUSTER_GONE,
    "events:DescribeEventBus": _BUS_GONE,
    "events:ListRules": _BUS_GONE,
    "events:ListTagsForResource": _BUS_GONE,
    "events:ListTargetsByRule": _BUS_GONE,
    # Who does not administer the organization, and who asks for a detector that went away.
    "guardduty:DescribeOrganizationConfiguration": frozenset({"BadRequestException"}),
    "guardduty:GetDetector": frozenset({"BadRequestException"}),
    "iam:GetAccountPasswordPolicy": frozenset({"NoSuchEntity"}),
    "iam:GetCredentialReport": frozenset({"ReportNotPresent", "ReportExpired", "ReportInProgress"}),
    "iam:ListMFADevices": frozenset({"NoSuchEntity"}),
    "kms:DescribeKey": _KEY_GONE,
    "kms:GetKeyPolicy": _KEY_GONE,
    "kms:GetKeyRotationStatus": _KEY_GONE,
    "kms:ListGrants": _KEY_GONE,
    "kms:ListResourceTags": _KEY_GONE,
    "lambda:GetFunctionCodeSigningConfig": _FUNCTION_GONE,
    "lambda:GetFunctionConcurrency": _FUNCTION_GONE,
    "lambda:GetFunctionUrlConfig": _FUNCTION_GONE,
    "lambda:GetPolicy": _FUNCTION_GONE,
    "lambda:ListTags": _FUNCTION_GONE,
    "macie2:DescribeClassificationJob": frozenset({"ResourceNotFoundException"}),
    "macie2:GetAdministratorAccount": frozenset({"ResourceNotFoundException"}),
    "organizations:DescribeOrganization": frozenset({"AWSOrganizationsNotInUseException"}),
    "organizations:DescribePolicy": frozenset({"PolicyNotFoundException"}),
    # Organizational units and accounts that went away while the tree of them was walked.
    "organizations:ListAccountsForParent": frozenset({"ParentNotFoundException"}),
    "organizations:ListOrganizationalUnitsForParent": frozenset({"ParentNotFoundException"}),
    "organizations:ListParents": frozenset({"ChildNotFoundException"}),
    "organizations:ListTargetsForPolicy": frozenset({"PolicyNotFoundException"}),
    "rds:DescribeDBClusterParameters": _NO_PARAMETER_GROUP,
    "rds:DescribeDBClusterSnapshotAttributes": _CLUSTER_SNAPSHOT_GONE,
    "rds:DescribeDBParameters": _NO_PARAMETER_GROUP,
    "rds:DescribeDBSnapshotAttributes": _INSTANCE_SNAPSHOT_GONE,
    "opensearch:ListTags": frozenset({"ResourceNotFoundException"}),
    "redshift:DescribeLoggingStatus": frozenset({"ClusterNotFound"}),
    "route53:GetDNSSEC": _ZONE_GONE,
    "route53:GetHostedZone": _ZONE_GONE,
    "route53:ListResourceRecordSets": _ZONE_GONE,
    "route53:ListTagsForResources": _ZONE_GONE,
    "s3:GetBucketEncryption": frozenset({"ServerSideEncryptionConfigurationNotFoundError"}),
    "s3:GetBucketLifecycleConfiguration": frozenset({"NoSuchLifecycleConfiguration"}),
    "s3:GetBucketOwnershipControls": frozenset({"OwnershipControlsNotFoundError"}),
    "s3:GetBucketPolicy": frozenset({"NoSuchBucketPolicy"}),
    "s3:GetBucketPolicyStatus": frozenset({"NoSuchBucketPolicy"}),
    "s3:GetBucketReplication": frozenset({"ReplicationConfigurationNotFoundError"}),
    "s3:GetBucketTagging": frozenset({"NoSuchTagSet"}),
    "s3:GetObjectLockConfiguration": frozenset({"ObjectLockConfigurationNotFoundError"}),
    "s3:GetPublicAccessBlock": frozenset({"NoSuchPublicAccessBlockConfiguration"}),
    "secretsmanager:GetResourcePolicy": frozenset({"ResourceNotFoundException"}),
    "s3control:GetPublicAccessBlock": frozenset({"NoSuchPublicAccessBlockConfiguration"}),
    "wafv2:GetWebACLForResource": frozenset({"WAFNonexistentItemException"}),
    "securityhub:DescribeHub": frozenset({"InvalidAccessException", "ResourceNotFoundException"}),
    "securityhub:DescribeOrganizationConfiguration": frozenset({"InvalidAccessException"}),
    "securityhub:DescribeStandardsControls": frozenset({"ResourceNotFoundException"}),
    "securityhub:GetAdministratorAccount": frozenset({"ResourceNotFoundException"}),
    "sns:GetTopicAttributes": _TOPIC_GONE,
    "sns:ListSubscriptionsByTopic": _TOPIC_GONE,
    "sqs:GetQueueAttributes": _QUEUE_GONE,
    "sso-admin:DescribeInstanceAccessControlAttributeConfiguration": frozenset(
        {"ResourceNotFoundException"}
    ),
    "sso-admin:DescribePermissionSet": _PERMISSION_SET_GONE,
    "sso-admin:GetInlinePolicyForPermissionSet": _PERMISSION_SET_GONE,
    "sso-admin:GetPermissionsBoundaryForPermissionSet": _PERMISSION_SET_GONE,
    "sso-admin:ListAccountAssignments": _PERMISSION_SET_GONE,
    "sso-admin:ListAccountsForProvisionedPermissionSet": _PERMISSION_SET_GONE,
    "sso-admin:ListCustomerManagedPolicyReferencesInPermissionSet": _PERMISSION_SET_GONE,
    "sso-admin:ListManagedPoliciesInPermissionSet": _PERMISSION_SET_GONE,
    "wafv2:GetWebACL": _ACL_GONE,
    # Not every region has every sort of resource that a web ACL may guard.
    "wafv2:ListResourcesForWebACL": _ACL_GONE | {"WAFInvalidParameterException"},
    "wafv2:ListTagsForResource": _ACL_GONE,
}

# The bucket itself went away between its listing and this read.
BUCKET_GONE = "NoSuchBucket"


def split(operation: str) -> tuple[str, str]:
    """Give service and operation name."""
    service, _, name = operation.partition(":")
    return service, name


def action(operation: str) -> str:
    """Give the IAM action that an operation needs; none for no operation."""
    if not operation:
        return ""
    service, name = split(operation)
    named = _ACTIONS.get(operation) or _ONE_ACTION.get(service)
    return named or f"{_PREFIXES.get(service, service)}:{name}"


def is_absence(operation: str, code: str, message: str = "") -> bool:
    """Tell whether an error of this operation states a fact, by its code or its message."""
    if code == BUCKET_GONE and operation.startswith("s3:"):
        return True
    off = _OFF_MESSAGES.get(split(operation)[0])
    if off is not None and off in message.lower():
        return True
    return code in _ABSENT.get(operation, frozenset())
