"""Every collector, declared once and checked against the contract at start-up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mesh.aws.reader import Reader
from mesh.contract.catalogue import Catalogue, CatalogueError
from secmesh.inventory.v1.record_pb2 import Record
from services.inventory.collect import (
    access_keys,
    account_metadata,
    cloudtrail_trails,
    derive,
    dynamodb_tables,
    iam_password_policy,
    iam_policies,
    iam_roles,
    iam_users,
    kms_keys,
    lambda_functions,
    rds_instances,
    rds_reach,
    rds_snapshots,
    s3_account_settings,
    s3_buckets,
    security_groups,
    subnets,
    vpcs,
)
from services.inventory.collect.derive import GLOBAL, Sources
from services.inventory.collect.draft import Collected, Draft


class Scope(Enum):
    """How often a collection is read in one run."""

    GLOBAL = "global"
    """Once for the account."""
    REGIONAL = "regional"
    """Once in each region of the run."""


def _in_region(record: Record, region: str, _regions: tuple[str, ...]) -> bool:
    return record.region == region


def _anywhere(_record: Record, _region: str, _regions: tuple[str, ...]) -> bool:
    return True


def _trail_is_owned(record: Record, region: str, regions: tuple[str, ...]) -> bool:
    """A trail whose home is not read is seen as the shadow of a multi-region trail only."""
    if record.region == region:
        return True
    shadows = record.cloudtrail_trail.is_multi_region
    return shadows and cloudtrail_trails.is_owned(record.region, region, regions)


@dataclass(frozen=True)
class Collector:
    """How one collection is read."""

    collection: str
    scope: Scope
    collect: Callable[[Reader], Collected]
    fields: frozenset[str]
    """Fields of the body that it fills or marks: all of them."""
    operations: frozenset[str]
    """Every operation it may call; the reader refuses others, and policies are made of them."""
    listings: tuple[str, ...] = ()
    """Operations that list its resources; none if the account is the one resource."""
    owns: Callable[[Record, str, tuple[str, ...]], bool] = _anywhere
    """Whether a stored record would be listed by the unit of (region, run's regions)."""
    heartbeats: frozenset[str] = frozenset()
    """Times that move while nothing changes; see ``versions``."""
    sources: tuple[str, ...] = ()
    """Collections that ``derive`` looks at, read before this one is written."""
    derive: Callable[[list[Draft[Any]], Sources], None] | None = None

    def regions(self, run_regions: tuple[str, ...]) -> tuple[str, ...]:
        """Give the region of each of its units."""
        return (GLOBAL,) if self.scope is Scope.GLOBAL else run_regions


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


REGISTRY = Registry(
    {
        collector.collection: collector
        for collector in (
            Collector(
                "iam_users",
                Scope.GLOBAL,
                iam_users.collect,
                iam_users.FIELDS,
                iam_users.OPERATIONS,
                listings=iam_users.LISTINGS,
            ),
            Collector(
                "access_keys",
                Scope.GLOBAL,
                access_keys.collect,
                access_keys.FIELDS,
                access_keys.OPERATIONS,
                listings=access_keys.LISTINGS,
                heartbeats=frozenset({"last_used"}),
            ),
            Collector(
                "iam_roles",
                Scope.GLOBAL,
                iam_roles.collect,
                iam_roles.FIELDS,
                iam_roles.OPERATIONS,
                listings=iam_roles.LISTINGS,
                heartbeats=frozenset({"last_used"}),
            ),
            Collector(
                "iam_policies",
                Scope.GLOBAL,
                iam_policies.collect,
                iam_policies.FIELDS,
                iam_policies.OPERATIONS,
                listings=iam_policies.LISTINGS,
            ),
            Collector(
                "iam_password_policy",
                Scope.GLOBAL,
                iam_password_policy.collect,
                iam_password_policy.FIELDS,
                iam_password_policy.OPERATIONS,
            ),
            Collector(
                "account_metadata",
                Scope.GLOBAL,
                account_metadata.collect,
                account_metadata.FIELDS,
                account_metadata.OPERATIONS,
            ),
            Collector(
                "s3_account_settings",
                Scope.GLOBAL,
                s3_account_settings.collect,
                s3_account_settings.FIELDS,
                s3_account_settings.OPERATIONS,
            ),
            Collector(
                derive.BUCKETS,
                Scope.GLOBAL,
                s3_buckets.collect,
                s3_buckets.FIELDS,
                s3_buckets.OPERATIONS,
                listings=s3_buckets.LISTINGS,
                sources=(derive.TRAILS,),
                derive=derive.fill_data_events,
            ),
            Collector(
                rds_reach.GROUPS,
                Scope.REGIONAL,
                security_groups.collect,
                security_groups.FIELDS,
                security_groups.OPERATIONS,
                listings=security_groups.LISTINGS,
                owns=_in_region,
            ),
            Collector(
                "kms_keys",
                Scope.REGIONAL,
                kms_keys.collect,
                kms_keys.FIELDS,
                kms_keys.OPERATIONS,
                listings=kms_keys.LISTINGS,
                owns=_in_region,
            ),
            Collector(
                "dynamodb_tables",
                Scope.REGIONAL,
                dynamodb_tables.collect,
                dynamodb_tables.FIELDS,
                dynamodb_tables.OPERATIONS,
                listings=dynamodb_tables.LISTINGS,
                owns=_in_region,
            ),
            Collector(
                "rds_instances",
                Scope.REGIONAL,
                rds_instances.collect,
                rds_instances.FIELDS,
                rds_instances.OPERATIONS,
                listings=rds_instances.LISTINGS,
                owns=_in_region,
                sources=(rds_reach.GROUPS,),
                derive=rds_reach.fill_public,
            ),
            Collector(
                "rds_snapshots",
                Scope.REGIONAL,
                rds_snapshots.collect,
                rds_snapshots.FIELDS,
                rds_snapshots.OPERATIONS,
                listings=rds_snapshots.LISTINGS,
                owns=_in_region,
            ),
            Collector(
                "lambda",
                Scope.REGIONAL,
                lambda_functions.collect,
                lambda_functions.FIELDS,
                lambda_functions.OPERATIONS,
                listings=lambda_functions.LISTINGS,
                owns=_in_region,
            ),
            Collector(
                "vpc",
                Scope.REGIONAL,
                vpcs.collect,
                vpcs.FIELDS,
                vpcs.OPERATIONS,
                listings=vpcs.LISTINGS,
                owns=_in_region,
            ),
            Collector(
                "subnets",
                Scope.REGIONAL,
                subnets.collect,
                subnets.FIELDS,
                subnets.OPERATIONS,
                listings=subnets.LISTINGS,
                owns=_in_region,
            ),
            Collector(
                derive.TRAILS,
                Scope.REGIONAL,
                cloudtrail_trails.collect,
                cloudtrail_trails.FIELDS,
                cloudtrail_trails.OPERATIONS,
                listings=cloudtrail_trails.LISTINGS,
                owns=_trail_is_owned,
                heartbeats=frozenset(cloudtrail_trails.DELIVERY_FIELDS),
                sources=(derive.BUCKETS, derive.TRAILS),
                derive=derive.fill_log_buckets,
            ),
        )
    }
)
