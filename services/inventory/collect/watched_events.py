"""Events of CloudTrail that somebody should hear of, in classes.

Source: CIS Amazon Web Services Foundations Benchmark v3.0.0, 4.3 to 4.5, 4.10, 4.11, 4.13 and 4.14;
those of EC2-Classic, which is no more, are left out.
"""

from typing import Any

from services.inventory.collect.filter_pattern import Predicate, matcher

Event = dict[str, Any]


def _call(service: str, name: str) -> Event:
    return {
        "eventVersion": "1.11",
        "eventType": "AwsApiCall",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "aws-cli/2.0",
        "managementEvent": True,
        "readOnly": name.startswith(("Describe", "Get", "List")),
        "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/someone/me"},
    }


def _calls(service: str, names: str) -> tuple[Event, ...]:
    return tuple(_call(service, name) for name in names.split())


ORDINARY = _call("ec2", "DescribeInstances")
"""An event that nobody need hear of."""
CLASSES: dict[str, tuple[Event, ...]] = {
    "root-use": (_call("s3", "ListBuckets") | {"userIdentity": {"type": "Root"}},),
    "iam-changes": _calls(
        "iam",
        "DeleteGroupPolicy DeleteRolePolicy DeleteUserPolicy PutGroupPolicy PutRolePolicy "
        "PutUserPolicy CreatePolicy DeletePolicy CreatePolicyVersion DeletePolicyVersion "
        "AttachRolePolicy DetachRolePolicy AttachUserPolicy DetachUserPolicy AttachGroupPolicy "
        "DetachGroupPolicy",
    ),
    "cloudtrail-changes": _calls(
        "cloudtrail", "CreateTrail UpdateTrail DeleteTrail StartLogging StopLogging"
    ),
    "security-group-changes": _calls(
        "ec2",
        "AuthorizeSecurityGroupIngress AuthorizeSecurityGroupEgress RevokeSecurityGroupIngress "
        "RevokeSecurityGroupEgress CreateSecurityGroup DeleteSecurityGroup",
    ),
    "network-acl-changes": _calls(
        "ec2",
        "CreateNetworkAcl CreateNetworkAclEntry DeleteNetworkAcl DeleteNetworkAclEntry "
        "ReplaceNetworkAclEntry ReplaceNetworkAclAssociation",
    ),
    "route-changes": _calls(
        "ec2",
        "CreateRoute CreateRouteTable ReplaceRoute ReplaceRouteTableAssociation DeleteRouteTable "
        "DeleteRoute DisassociateRouteTable",
    ),
    "vpc-changes": _calls(
        "ec2",
        "CreateVpc DeleteVpc ModifyVpcAttribute AcceptVpcPeeringConnection "
        "CreateVpcPeeringConnection DeleteVpcPeeringConnection RejectVpcPeeringConnection",
    ),
}


def watcher(pattern: str) -> Predicate | None:
    """Give what tells which events a pattern picks out; None if it picks out every one."""
    found = matcher(pattern)
    return None if found(ORDINARY) else found


def classes_of(picks: Predicate) -> list[str]:
    """Give the classes of which at least one event is picked out."""
    return [name for name, events in CLASSES.items() if any(map(picks, events))]
