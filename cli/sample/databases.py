"""Databases of the sample account: one well kept, one that everyone reaches, and a cluster."""

from typing import Any

PARTNER = "210987654321"
_LOGIN = {
    "MasterUsername": "operator",
    "MasterUserPassword": "Correct-Horse-7-Battery",  # of databases that exist in memory only
}
_SIZE = {"DBInstanceClass": "db.t3.micro", "AllocatedStorage": 20}


def make_databases(rds: Any, ec2: Any, key: str) -> None:
    """Make instances, a cluster of two and snapshots; the network must be there."""
    network = _network(ec2)
    rds.create_db_subnet_group(
        DBSubnetGroupName="data",
        DBSubnetGroupDescription="Where databases live",
        SubnetIds=[network["subnet"]],
    )
    _instances(rds, network, key)
    _cluster(rds, network, key)
    _snapshots(rds)


def _network(ec2: Any) -> dict[str, str]:
    """Let the network of the security groups out, and find what is in it."""
    named = [{"Name": "group-name", "Values": ["database", "database-open"]}]
    groups = ec2.describe_security_groups(Filters=named)["SecurityGroups"]
    network = {str(group["GroupName"]): str(group["GroupId"]) for group in groups}
    own = [{"Name": "vpc-id", "Values": [groups[0]["VpcId"]]}]
    network["subnet"] = str(ec2.describe_subnets(Filters=own)["Subnets"][0]["SubnetId"])
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=groups[0]["VpcId"])
    table = ec2.describe_route_tables(Filters=own)["RouteTables"][0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    return network


def _parameters(value: str) -> list[dict[str, str]]:
    force = {"ParameterName": "rds.force_ssl", "ParameterValue": value, "ApplyMethod": "immediate"}
    return [force]


def _instances(rds: Any, network: dict[str, str], key: str) -> None:
    for name, value in (("tls-only", "1"), ("tls-optional", "0")):
        rds.create_db_parameter_group(
            DBParameterGroupName=name, DBParameterGroupFamily="postgres16", Description=name
        )
        rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=_parameters(value))
    postgres: dict[str, Any] = {"Engine": "postgres", "Port": 5432, **_LOGIN, **_SIZE}
    rds.create_db_instance(
        DBInstanceIdentifier="ledger",
        MultiAZ=True,
        StorageEncrypted=True,
        KmsKeyId=key,
        BackupRetentionPeriod=14,
        DeletionProtection=True,
        AutoMinorVersionUpgrade=True,
        CopyTagsToSnapshot=True,
        EnableIAMDatabaseAuthentication=True,
        EnableCloudwatchLogsExports=["postgresql"],
        DBSubnetGroupName="data",
        DBParameterGroupName="tls-only",
        VpcSecurityGroupIds=[network["database"]],
        Tags=[{"Key": "owner", "Value": "finance"}],
        **postgres,
    )
    rds.create_db_instance(
        DBInstanceIdentifier="reports",
        PubliclyAccessible=True,
        BackupRetentionPeriod=1,
        AutoMinorVersionUpgrade=False,
        DBSubnetGroupName="data",
        DBParameterGroupName="tls-optional",
        VpcSecurityGroupIds=[network["database-open"]],
        **postgres,
    )


def _cluster(rds: Any, network: dict[str, str], key: str) -> None:
    rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName="shop",
        DBParameterGroupFamily="aurora-postgresql16",
        Description="shop",
    )
    rds.modify_db_cluster_parameter_group(
        DBClusterParameterGroupName="shop", Parameters=_parameters("1")
    )
    rds.create_db_cluster(
        DBClusterIdentifier="shop",
        Engine="aurora-postgresql",
        StorageEncrypted=True,
        KmsKeyId=key,
        BackupRetentionPeriod=7,
        DeletionProtection=True,
        DBClusterParameterGroupName="shop",
        DBSubnetGroupName="data",
        VpcSecurityGroupIds=[network["database"]],
        **_LOGIN,
    )
    for name, zone in (("shop-1", "us-east-1a"), ("shop-2", "us-east-1b")):
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBClusterIdentifier="shop",
            Engine="aurora-postgresql",
            DBInstanceClass="db.r6g.large",
            AvailabilityZone=zone,
            StorageEncrypted=True,
        )


def _snapshots(rds: Any) -> None:
    for name, source in (("ledger-2026", "ledger"), ("reports-for-all", "reports")):
        rds.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=source)
    shared = {"AttributeName": "restore"}
    rds.modify_db_snapshot_attribute(
        DBSnapshotIdentifier="ledger-2026", ValuesToAdd=[PARTNER], **shared
    )
    rds.modify_db_snapshot_attribute(
        DBSnapshotIdentifier="reports-for-all", ValuesToAdd=["all"], **shared
    )
    rds.create_db_cluster_snapshot(
        DBClusterSnapshotIdentifier="shop-2026", DBClusterIdentifier="shop"
    )
