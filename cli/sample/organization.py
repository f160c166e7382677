"""The organization that the sample account manages, and whom to call."""

import json
from typing import Any

REGIONS = ["us-east-1", "eu-west-1"]


def make_organization(organizations: Any, account: Any) -> None:
    """Make an organization that keeps to its regions, and name a security contact only."""
    organizations.create_organization(FeatureSet="ALL")
    elsewhere = {"StringNotEquals": {"aws:RequestedRegion": REGIONS}}
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": elsewhere}
    made = organizations.create_policy(
        Name="our-regions-only",
        Description="Nothing outside the regions of the plan",
        Content=json.dumps({"Version": "2012-10-17", "Statement": [deny]}),
        Type="SERVICE_CONTROL_POLICY",
    )
    (root,) = organizations.list_roots()["Roots"]
    organizations.attach_policy(PolicyId=made["Policy"]["PolicySummary"]["Id"], TargetId=root["Id"])
    account.put_alternate_contact(
        AlternateContactType="SECURITY",
        EmailAddress="security@example.com",
        Name="Security team",
        PhoneNumber="+1-555-0100",
        Title="On call",
    )
