"""Parameters of database engines that let in connections with TLS only.

Source: Amazon RDS User Guide and Amazon Aurora User Guide, "Using SSL/TLS to encrypt a
connection", of each engine. Oracle and Db2 ask for TLS in other ways than a parameter.
"""

from dataclasses import dataclass
from typing import Any

from mesh.aws.reader import Reader, Response, Unread

INSTANCE_PARAMETERS = "rds:DescribeDBParameters"
CLUSTER_PARAMETERS = "rds:DescribeDBClusterParameters"
PAGE = 100
_ON = frozenset({"1", "on", "true"})


@dataclass(frozen=True)
class TlsRule:
    """The parameter of an engine, and whose group holds it."""

    parameter: str
    of_cluster: bool = False


@dataclass(frozen=True)
class Group:
    """A parameter group; unread if what names it could not be read."""

    name: str = ""
    unread: Unread | None = None


_FORCE, _REQUIRE = "rds.force_ssl", "require_secure_transport"
_RULES = {
    "aurora-mysql": TlsRule(_REQUIRE, of_cluster=True),
    "aurora-postgresql": TlsRule(_FORCE, of_cluster=True),
    "mariadb": TlsRule(_REQUIRE),
    "mysql": TlsRule(_REQUIRE),
    "postgres": TlsRule(_FORCE),
}
_SQL_SERVER = "sqlserver-"


def rule_of(engine: str) -> TlsRule | None:
    """Give the rule of an engine; None if no parameter decides."""
    if engine.startswith(_SQL_SERVER):
        return TlsRule(_FORCE)
    return _RULES.get(engine)


def group_of(instance: Response, rule: TlsRule, clusters: Any) -> Group:
    """Give the parameter group that a rule looks into."""
    if not rule.of_cluster:
        groups = instance.get("DBParameterGroups", ())
        return Group(next((str(each["DBParameterGroupName"]) for each in groups), ""))
    if isinstance(clusters, Unread):
        return Group(unread=clusters)
    cluster = clusters.get(instance.get("DBClusterIdentifier"), {})
    return Group(str(cluster.get("DBClusterParameterGroup", "")))


def required(reader: Reader, rule: TlsRule, group: Group) -> bool | Unread | None:
    """Tell whether a group demands TLS; None if it does not know the parameter."""
    if group.unread is not None:
        return group.unread
    if not group.name:
        return None
    operation = CLUSTER_PARAMETERS if rule.of_cluster else INSTANCE_PARAMETERS
    named = "DBClusterParameterGroupName" if rule.of_cluster else "DBParameterGroupName"
    found = reader.picked(
        operation,
        "Parameters",
        lambda each: (each.get("ParameterName"), str(each.get("ParameterValue", ""))),
        page_size=PAGE,
        resource=group.name,
        Filters=[{"Name": "parameter-name", "Values": [rule.parameter]}],
        **{named: group.name},
    )
    if isinstance(found, Unread):
        return found
    values = [value.lower() for name, value in found if name == rule.parameter]
    return any(value in _ON for value in values) if values else None
