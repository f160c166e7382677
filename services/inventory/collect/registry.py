"""Every collector, checked against the contract at start-up."""

from dataclasses import dataclass, field, replace

from mesh.contract.catalogue import Catalogue, CatalogueError
from services.inventory.collect import (
    access_analyzer,
    access_keys,
    account_metadata,
    acm_certificates,
    alarmed_events,
    api_gateway,
    api_stages,
    backup_coverage,
    backup_plans,
    backup_selection,
    backup_vaults,
    cloudfront,
    cloudtrail_trails,
    cloudwatch,
    cloudwatch_alarms,
    codebuild,
    codepipeline,
    config_recorders,
    config_rules,
    conformance_packs,
    control_tower,
    derive,
    detective,
    direct_connections,
    dns_records,
    dns_targets,
    dynamodb_tables,
    ebs_settings,
    ebs_snapshots,
    ebs_volumes,
    ec2_instances,
    ec2_reach,
    ecr_repositories,
    ecs_clusters,
    ecs_services,
    ecs_task_definitions,
    efs_file_systems,
    eks_clusters,
    elasticache_caches,
    event_buses,
    eventbridge_rules,
    guardduty,
    hosted_zones,
    iam_password_policy,
    iam_policies,
    iam_roles,
    iam_users,
    inspector2,
    inspector2_findings,
    kms_keys,
    lambda_functions,
    load_balancer_listeners,
    load_balancers,
    log_groups,
    macie_jobs,
    macie_sessions,
    opensearch_domains,
    permission_sets,
    rds_instances,
    rds_reach,
    rds_snapshots,
    recovery_points,
    redshift_clusters,
    s3_account_settings,
    s3_buckets,
    secrets_manager,
    security_groups,
    security_hub,
    sns_sqs,
    ssm_patch,
    sso_instances,
    subnets,
    vpcs,
    vpn_connections,
    waf,
)
from services.inventory.collect.collector import Collector


@dataclass(frozen=True)
class Registry:
    """The collectors by collection."""

    collectors: dict[str, Collector] = field(default_factory=dict)

    @property
    def operations(self) -> frozenset[str]:
        """Every operation that any of them may call."""
        return frozenset().union(*(each.operations for each in self.collectors.values()))

    def check(self, catalogue: Catalogue) -> None:
        """Raise CatalogueError unless each record kind has one collector that fills it whole."""
        for collection, kind in catalogue.record_kinds.items():
            collector = self.collectors.get(collection)
            if collector is None:
                raise CatalogueError(kind.descriptor.full_name, "has no collector")
            wanted = {each.name for each in kind.descriptor.fields}
            if gap := wanted ^ collector.fields:
                raise CatalogueError(
                    f"{kind.descriptor.full_name}.{min(gap)}", "is not what its collector fills"
                )
            if undeclared := set(collector.listings) - collector.operations:
                raise CatalogueError(min(undeclared), f"lists {collection} and is not declared")
        if unknown := self.collectors.keys() - catalogue.record_kinds.keys():
            raise CatalogueError(min(unknown), "is collected and is no record kind")


COLLECTORS = (
    iam_users.COLLECTOR,
    access_keys.COLLECTOR,
    iam_roles.COLLECTOR,
    iam_policies.COLLECTOR,
    iam_password_policy.COLLECTOR,
    account_metadata.COLLECTOR,
    s3_account_settings.COLLECTOR,
    replace(s3_buckets.COLLECTOR, sources=(derive.TRAILS,), derive=derive.fill_buckets),
    security_groups.COLLECTOR,
    kms_keys.COLLECTOR,
    dynamodb_tables.COLLECTOR,
    replace(rds_instances.COLLECTOR, sources=(rds_reach.GROUPS,), derive=rds_reach.fill_public),
    rds_snapshots.COLLECTOR,
    lambda_functions.COLLECTOR,
    detective.COLLECTOR,
    secrets_manager.COLLECTOR,
    acm_certificates.COLLECTOR,
    load_balancers.COLLECTOR,
    load_balancer_listeners.COLLECTOR,
    opensearch_domains.COLLECTOR,
    redshift_clusters.COLLECTOR,
    elasticache_caches.COLLECTOR,
    control_tower.COLLECTOR,
    sso_instances.COLLECTOR,
    permission_sets.COLLECTOR,
    config_rules.COLLECTOR,
    config_recorders.COLLECTOR,
    conformance_packs.COLLECTOR,
    guardduty.COLLECTOR,
    security_hub.COLLECTOR,
    backup_vaults.COLLECTOR,
    backup_plans.COLLECTOR,
    recovery_points.COLLECTOR,
    backup_coverage.COLLECTOR,
    replace(
        efs_file_systems.COLLECTOR,
        sources=(backup_selection.COLLECTION,),
        derive=backup_selection.fill_planned,
    ),
    hosted_zones.COLLECTOR,
    replace(
        dns_records.COLLECTOR,
        sources=(derive.BUCKETS,),
        derive=dns_targets.fill_dangling,
    ),
    ssm_patch.COLLECTOR,
    vpn_connections.COLLECTOR,
    replace(
        direct_connections.COLLECTOR,
        sources=(direct_connections.VPN,),
        derive=direct_connections.fill_overlay,
    ),
    eks_clusters.COLLECTOR,
    ecs_clusters.COLLECTOR,
    ecs_services.COLLECTOR,
    ecs_task_definitions.COLLECTOR,
    ecr_repositories.COLLECTOR,
    replace(ec2_instances.COLLECTOR, sources=(ec2_reach.GROUPS,), derive=ec2_reach.fill_exposed),
    ebs_volumes.COLLECTOR,
    ebs_snapshots.COLLECTOR,
    ebs_settings.COLLECTOR,
    cloudfront.COLLECTOR,
    api_gateway.COLLECTOR,
    api_stages.COLLECTOR,
    replace(
        waf.COLLECTOR,
        sources=(waf.DISTRIBUTIONS,),
        derive=waf.fill_distributions,
        derives_again=False,
    ),
    access_analyzer.COLLECTOR,
    inspector2.COLLECTOR,
    inspector2_findings.COLLECTOR,
    macie_jobs.COLLECTOR,
    macie_sessions.COLLECTOR,
    log_groups.COLLECTOR,
    cloudwatch_alarms.COLLECTOR,
    event_buses.COLLECTOR,
    eventbridge_rules.COLLECTOR,
    codebuild.COLLECTOR,
    codepipeline.COLLECTOR,
    sns_sqs.COLLECTOR,
    replace(
        cloudwatch.COLLECTOR,
        sources=(derive.TRAILS,),
        derive=alarmed_events.fill_alarmed_events,
    ),
    vpcs.COLLECTOR,
    subnets.COLLECTOR,
    replace(
        cloudtrail_trails.COLLECTOR,
        sources=(derive.BUCKETS, derive.TRAILS),
        derive=derive.fill_log_buckets,
    ),
)

REGISTRY = Registry({each.collection: each for each in COLLECTORS})
