"""What operations of services that govern an account alone tell; see ``collect_losses``."""

from services.inventory.collect import config_recorders, config_rules, guardduty, security_hub

CONSOLE_USERS = {"sso": {"console_users"}}

LOST: dict[str, dict[str, set[str]]] = {
    "sso-admin:ListInstances": {},
    "sso-admin:DescribeInstanceAccessControlAttributeConfiguration": {
        "sso": {"access_control_attributes"}
    },
    "identitystore:ListUsers": {"sso": {"users"}},
    "identitystore:ListGroups": {"sso": {"groups"}},
    "sso-admin:ListPermissionSets": {},
    "sso-admin:DescribePermissionSet": {
        "permission_sets": {
            *("permission_set_name", "description", "creation_date", "session_minutes"),
            "break_glass",
        }
    },
    "sso-admin:ListManagedPoliciesInPermissionSet": {
        "permission_sets": {"managed_policies", "permits_everything"}
    },
    "sso-admin:ListCustomerManagedPolicyReferencesInPermissionSet": {
        "permission_sets": {"customer_policies"}
    },
    "sso-admin:GetInlinePolicyForPermissionSet": {
        "permission_sets": {"inline_policy", "permits_everything"}
    },
    "sso-admin:GetPermissionsBoundaryForPermissionSet": {
        "permission_sets": {"permissions_boundary"}
    },
    "sso-admin:ListAccountsForProvisionedPermissionSet": {
        "permission_sets": {"provisioned_accounts", "assignments"}
    },
    "sso-admin:ListAccountAssignments": {"permission_sets": {"assignments"}},
    "config:DescribeConfigRules": {},
    "config:DescribeComplianceByConfigRule": {"config_rules": set(config_rules.COMPLIANCE_FIELDS)},
    "config:DescribeConfigurationRecorders": {},
    "config:DescribeConfigurationRecorderStatus": {
        "config_recorders": {*config_recorders.STATUS_FIELDS, "global_types_recorded"}
    },
    "config:DescribeDeliveryChannels": {"config_recorders": set(config_recorders.CHANNEL_FIELDS)},
    "config:DescribeDeliveryChannelStatus": {
        "config_recorders": set(config_recorders.DELIVERY_FIELDS)
    },
    "config:DescribeRetentionConfigurations": {"config_recorders": {"retention_days"}},
    "config:DescribeConformancePacks": {},
    "config:DescribeConformancePackStatus": {
        "config_conformance_packs": {"status", "status_reason", "updated"}
    },
    "config:ListConformancePackComplianceScores": {
        "config_conformance_packs": {"compliance_score"}
    },
    "config:GetConformancePackComplianceSummary": {
        "config_conformance_packs": {"compliance_status"}
    },
    "config:DescribeConformancePackCompliance": {"config_conformance_packs": {"rules"}},
    "guardduty:ListDetectors": {},
    "guardduty:GetDetector": {"guardduty": set(guardduty.DETAIL_FIELDS)},
    "guardduty:GetAdministratorAccount": {"guardduty": set(guardduty.ADMINISTRATOR_FIELDS)},
    "guardduty:ListMembers": {"guardduty": {"members"}},
    "guardduty:ListPublishingDestinations": {"guardduty": {"publishing_destinations"}},
    "guardduty:ListFilters": {"guardduty": {"filters"}},
    "guardduty:GetFindingsStatistics": {"guardduty": set(guardduty.COUNTS)},
    "guardduty:ListFindings": {"guardduty": {"oldest_high_finding"}},
    "guardduty:GetFindings": {"guardduty": {"oldest_high_finding"}},
    "guardduty:DescribeOrganizationConfiguration": {
        "guardduty": set(guardduty.ORGANIZATION_FIELDS)
    },
    "securityhub:DescribeHub": {},
    "securityhub:GetEnabledStandards": {"security_hub": {"standards", "disabled_controls"}},
    "securityhub:DescribeStandardsControls": {"security_hub": {"disabled_controls"}},
    "securityhub:ListFindingAggregators": {"security_hub": {"finding_aggregator"}},
    "securityhub:ListEnabledProductsForImport": {"security_hub": {"products"}},
    "securityhub:ListMembers": {"security_hub": {"members"}},
    "securityhub:GetAdministratorAccount": {"security_hub": set(security_hub.ADMINISTRATOR_FIELDS)},
    "securityhub:DescribeOrganizationConfiguration": {
        "security_hub": set(security_hub.ORGANIZATION_FIELDS)
    },
}
