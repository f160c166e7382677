"""Machines of the sample account and their disks, some well kept and some not."""

from typing import Any

IMAGE = "ami-0123456789abcdef0"
TOKENS = {"HttpTokens": "required", "HttpEndpoint": "enabled"}


def make_machines(ec2: Any, key: str) -> None:
    """Make instances in the network of the security groups, which must be there."""
    named = [{"Name": "group-name", "Values": ["web", "database"]}]
    listed = ec2.describe_security_groups(Filters=named)["SecurityGroups"]
    groups = {str(group["GroupName"]): str(group["GroupId"]) for group in listed}
    own = [{"Name": "vpc-id", "Values": [listed[0]["VpcId"]]}]
    subnet = ec2.describe_subnets(Filters=own)["Subnets"][0]["SubnetId"]
    workers = _template(ec2, "workers", {"MetadataOptions": {"HttpTokens": "required"}})
    legacy = _template(ec2, "legacy", {"MetadataOptions": {"HttpTokens": "optional"}})

    def machine(name: str, group: str, public: bool, **more: Any) -> str:
        card = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [groups[group]]}
        made = ec2.run_instances(
            ImageId=IMAGE,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            NetworkInterfaces=[{**card, "AssociatePublicIpAddress": public}],
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}
            ],
            **more,
        )
        return str(made["Instances"][0]["InstanceId"])

    kept = _disk({"Encrypted": True, "KmsKeyId": key})
    machine(
        "ledger",
        "database",
        False,
        MetadataOptions=TOKENS,
        LaunchTemplate=workers,
        BlockDeviceMappings=kept,
        Monitoring={"Enabled": True},
        EbsOptimized=True,
    )
    machine("web", "web", True, MetadataOptions=TOKENS, BlockDeviceMappings=kept)
    plain = _disk({"Encrypted": False})
    machine("forgotten", "database", False, LaunchTemplate=legacy, BlockDeviceMappings=plain)
    gone = machine("gone", "web", True, BlockDeviceMappings=plain)
    ec2.terminate_instances(InstanceIds=[gone])
    ec2.create_volume(AvailabilityZone="us-east-1a", Size=20, VolumeType="gp3")


def _template(ec2: Any, name: str, data: dict[str, Any]) -> dict[str, str]:
    made = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    return {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"}


def _disk(told: dict[str, Any]) -> list[dict[str, Any]]:
    more = {"VolumeSize": 8, "VolumeType": "gp3", "DeleteOnTermination": True}
    return [{"DeviceName": "/dev/sda1", "Ebs": {**more, **told}}]
