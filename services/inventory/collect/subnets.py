"""Subnets, each a resource of its own."""

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.vpc_pb2 import Subnet
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map

SUBNETS = "ec2:DescribeSubnets"
LISTINGS = (SUBNETS,)
OPERATIONS = frozenset(LISTINGS)
PAGE = 1000
FIELDS = frozenset(Subnet.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the subnets of one region."""
    subnets = reader.items(SUBNETS, "Subnets", page_size=PAGE, listing=True)
    if isinstance(subnets, Unread):
        return Collected([], subnets)
    return Collected([subnet_draft(subnet) for subnet in subnets])


def subnet_draft(subnet: Response) -> Draft[Subnet]:
    """Map one subnet."""
    body = Subnet(
        subnet_id=subnet["SubnetId"],
        vpc_id=subnet["VpcId"],
        availability_zone=subnet.get("AvailabilityZone", ""),
        cidr=subnet.get("CidrBlock") or None,
        is_default=subnet.get("DefaultForAz", False),
        map_public_ip=subnet.get("MapPublicIpOnLaunch", False),
        tags=tag_map(subnet.get("Tags", ())),
    )
    return Draft(native_id=body.subnet_id, arn=subnet.get("SubnetArn", ""), body=body)


COLLECTOR = Collector(
    "subnets",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
