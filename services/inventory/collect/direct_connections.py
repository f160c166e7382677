"""Connections of Direct Connect: whether what runs over them is encrypted.

Keys of BGP, which AWS tells with the interfaces, are dropped as soon as they are read.
"""

from collections.abc import Iterable
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.direct_connect_pb2 import DirectConnection
from secmesh.inventory.v1.vpn_pb2 import VpnConnection
from services.inventory.collect import vpn_connections
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, Truth, all_of, any_of
from services.inventory.collect.source import Source, Sources

LIST = "directconnect:DescribeConnections"
INTERFACES = "directconnect:DescribeVirtualInterfaces"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, INTERFACES))
PAGE = 100
GONE = ("deleting", "deleted", "rejected")
VPN = "vpn"
FIELDS = frozenset(DirectConnection.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the connections of one region."""
    listed = reader.items(LIST, "connections", page_size=PAGE, listing=True)
    if isinstance(listed, Unread):
        return Collected([], listed)
    listed = [each for each in listed if each.get("connectionState") not in GONE]
    if not listed:
        return Collected([])
    interfaces = reader.picked(INTERFACES, "virtualInterfaces", without_keys, page_size=PAGE)
    account = reader.account
    place = f"arn:{account.partition}:directconnect:{reader.region}"
    drafts = [connection_draft(each, place, account.cloud_account_id) for each in listed]
    for draft in drafts:
        fill_interfaces(draft, interfaces)
    return Collected(drafts)


def without_keys(interface: Response) -> Response:
    """Keep of each BGP peer only whether it has a key."""
    peers = [bool(peer.get("authKey")) for peer in interface.get("bgpPeers") or ()]
    kept = {
        key: value
        for key, value in interface.items()
        if key not in ("authKey", "customerRouterConfig", "bgpPeers")
    }
    return {**kept, "bgpPeers": peers or [bool(interface.get("authKey"))]}


def connection_draft(
    connection: Response, place: str, cloud_account_id: str
) -> Draft[DirectConnection]:
    """Map one connection; ``place`` begins its ARN."""
    body = DirectConnection(
        connection_id=connection["connectionId"],
        connection_name=connection.get("connectionName", ""),
        state=connection.get("connectionState", ""),
        bandwidth=connection.get("bandwidth", ""),
        location=connection.get("location", ""),
        partner=connection.get("partnerName") or None,
        lag_id=connection.get("lagId") or None,
        macsec_capable=connection.get("macSecCapable", False),
        encryption_mode=connection.get("encryptionMode") or None,
        port_encryption_status=connection.get("portEncryptionStatus") or None,
        macsec_key_count=sum(
            key.get("state") == "associated" for key in connection.get("macSecKeys") or ()
        ),
        logical_redundancy=connection.get("hasLogicalRedundancy", "unknown"),
        tags={tag["key"]: tag.get("value", "") for tag in connection.get("tags") or ()},
    )
    owner = connection.get("ownerAccount") or cloud_account_id
    arn = f"{place}:{owner}:dxcon/{body.connection_id}"
    return Draft(native_id=body.connection_id, arn=arn, body=body)


def fill_interfaces(
    draft: Draft[DirectConnection], interfaces: Iterable[Response] | Unread
) -> None:
    """Fill what runs over a connection."""
    if isinstance(interfaces, Unread):
        draft.miss(interfaces, "virtual_interfaces")
        return
    own = [
        each
        for each in interfaces
        if each.get("connectionId") in (draft.body.connection_id, draft.body.lag_id)
        and each.get("virtualInterfaceState") not in GONE
    ]
    for each in sorted(own, key=lambda interface: str(interface["virtualInterfaceId"])):
        draft.body.virtual_interfaces.add(
            virtual_interface_id=each["virtualInterfaceId"],
            type=each.get("virtualInterfaceType", ""),
            state=each.get("virtualInterfaceState", ""),
            vlan=each.get("vlan", 0),
            bgp_authenticated=all(each["bgpPeers"]),
            direct_connect_gateway_id=each.get("directConnectGatewayId") or None,
            virtual_gateway_id=each.get("virtualGatewayId") or None,
        )


def fill_overlay(drafts: list[Draft[Any]], sources: Sources) -> None:
    """Tell of each connection whether a VPN runs over it."""
    for draft in drafts:
        draft.decide("vpn_overlay", overlaid(draft, sources[VPN]))


def overlaid(connection: Draft[DirectConnection], vpns: Source) -> Truth:
    """True if a VPN connection goes by a gateway that one of the interfaces leads to."""
    unread = connection.unread.get("virtual_interfaces")
    gateways = {each.direct_connect_gateway_id for each in connection.body.virtual_interfaces}
    gateways.discard("")
    if unread is None and not gateways:
        return False
    found = any_of(_runs_by(vpn, gateways) for vpn in vpns.drafts)
    if found is True:
        return True
    # A gateway serves all regions; where no VPN was listed there may be one.
    region = connection.arn.split(":")[3]
    elsewhere = next(iter(vpns.gaps.values()), None) or vpns.gap(region, vpn_connections.LIST)
    return unread or (found if isinstance(found, Unread) else elsewhere) or False


def _runs_by(vpn: Draft[VpnConnection], gateways: set[str]) -> Truth:
    carried: Truth = vpn.unread.get("direct_connect_gateway_id") or (
        vpn.body.direct_connect_gateway_id in gateways
    )
    return all_of((carried, vpn.body.tunnels_up > 0))


COLLECTOR = Collector(
    "direct_connect",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
