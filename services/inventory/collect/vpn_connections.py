"""Site-to-Site VPN connections: whether their tunnels are up, and what they still admit.

Pre-shared keys, which AWS tells with the options, are dropped as soon as they are read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.vpn_pb2 import VpnConnection
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map

LIST = "ec2:DescribeVpnConnections"
GATEWAYS = "ec2:DescribeCustomerGateways"
ATTACHMENTS = "ec2:DescribeTransitGatewayAttachments"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, GATEWAYS, ATTACHMENTS))
PAGE = 1000
AVAILABLE = "available"
GONE = ("deleting", "deleted")
"""AWS shows connections for some time after their end."""
UP = "UP"
OVER_DIRECT_CONNECT = "direct-connect-gateway"
FIELDS = frozenset(VpnConnection.DESCRIPTOR.fields_by_name)
_SECRETS = ("CustomerGatewayConfiguration", "PreSharedKeyArn")
_PRE_SHARED_KEY = "PreSharedKey"

# What an option admits that nothing was chosen for. Source: AWS Site-to-Site VPN User Guide,
# "Tunnel options for your AWS Site-to-Site VPN connection".
_ALL_VERSIONS = ("ikev1", "ikev2")
_ALL_INTEGRITY = ("SHA1", "SHA2-256", "SHA2-384", "SHA2-512")
_ALL_GROUPS = (2, 5, *range(14, 25))
# Not fit for government use. Source: NIST SP 800-77 rev. 1, sections 3.2 and 3.3. It admits
# AES with 128 bits.
_WEAK_VERSION, _WEAK_INTEGRITY, _WEAK_GROUPS = "ikev1", "SHA1", (2, 5)

Found = Mapping[str, str] | Unread
"""A fact by an id."""


def collect(reader: Reader) -> Collected:
    """Read the connections of one region."""
    listed = reader.picked(LIST, "VpnConnections", without_keys)
    reader.ledger.is_listing(LIST)
    if isinstance(listed, Unread):
        return Collected([], listed)
    listed = [each for each in listed if each.get("State") not in GONE]
    if not listed:
        return Collected([])
    addresses = _addresses(reader)
    carriers = _carriers(reader, listed)
    account = reader.account
    place = f"arn:{account.partition}:ec2:{reader.region}:{account.cloud_account_id}"
    return Collected([connection_draft(each, place, addresses, carriers) for each in listed])


def without_keys(connection: Response) -> Response:
    """Drop what holds pre-shared keys."""
    options: Any = dict(connection.get("Options") or {})
    options["TunnelOptions"] = [
        {key: value for key, value in tunnel.items() if key != _PRE_SHARED_KEY}
        for tunnel in options.get("TunnelOptions") or ()
    ]
    kept = {key: value for key, value in connection.items() if key not in _SECRETS}
    return {**kept, "Options": options}


def _addresses(reader: Reader) -> Found:
    found = reader.items(GATEWAYS, "CustomerGateways")
    if isinstance(found, Unread):
        return found
    return {str(each["CustomerGatewayId"]): str(each.get("IpAddress") or "") for each in found}


def _carriers(reader: Reader, listed: Iterable[Response]) -> Found:
    """Give the Direct Connect gateway of each attachment that carries a connection."""
    if not any(map(_transport, listed)):
        return {}
    own = [{"Name": "resource-type", "Values": [OVER_DIRECT_CONNECT]}]
    found = reader.items(ATTACHMENTS, "TransitGatewayAttachments", page_size=PAGE, Filters=own)
    if isinstance(found, Unread):
        return found
    return {str(each["TransitGatewayAttachmentId"]): str(each["ResourceId"]) for each in found}


def _transport(connection: Response) -> str:
    options: Any = connection.get("Options") or {}
    return str(options.get("TransportTransitGatewayAttachmentId") or "")


def connection_draft(
    connection: Response, place: str, addresses: Found, carriers: Found
) -> Draft[VpnConnection]:
    """Map one connection; ``place`` begins its ARN."""
    options: Any = connection.get("Options") or {}
    states = {each.get("OutsideIpAddress"): each for each in connection.get("VgwTelemetry") or ()}
    body = VpnConnection(
        vpn_connection_id=connection["VpnConnectionId"],
        state=connection.get("State", ""),
        vpn_type=connection.get("Type", ""),
        customer_gateway_id=connection.get("CustomerGatewayId") or None,
        vpn_gateway_id=connection.get("VpnGatewayId") or None,
        transit_gateway_id=connection.get("TransitGatewayId") or None,
        static_routes_only=options.get("StaticRoutesOnly", False),
        routes=sorted(
            each["DestinationCidrBlock"]
            for each in connection.get("Routes") or ()
            if each.get("State") not in GONE
        ),
        tunnels=[
            _tunnel(each, states.get(each.get("OutsideIpAddress")) or {})
            for each in options["TunnelOptions"]
        ],
        tags=tag_map(connection.get("Tags") or ()),
    )
    if body.state == AVAILABLE:
        body.tunnels_up = sum(tunnel.status == UP for tunnel in body.tunnels)
    body.weak_options.extend(sorted(weak_options(body.tunnels)))
    arn = f"{place}:vpn-connection/{body.vpn_connection_id}"
    draft = Draft(native_id=body.vpn_connection_id, arn=arn, body=body)
    _fill_found(draft, "customer_address", addresses, body.customer_gateway_id)
    _fill_found(draft, "direct_connect_gateway_id", carriers, _transport(connection))
    return draft


def _fill_found(draft: Draft[VpnConnection], field: str, found: Found, key: str) -> None:
    if not key:
        return
    if isinstance(found, Unread):
        draft.miss(found, field)
    elif value := found.get(key):
        setattr(draft.body, field, value)


def _tunnel(options: Response, telemetry: Response) -> VpnConnection.Tunnel:
    log: Any = (options.get("LogOptions") or {}).get("CloudWatchLogOptions") or {}
    return VpnConnection.Tunnel(
        outside_address=options.get("OutsideIpAddress") or "",
        status=telemetry.get("Status") or "",
        ike_versions=_values(options, "IkeVersions"),
        phase1_encryption=_values(options, "Phase1EncryptionAlgorithms"),
        phase2_encryption=_values(options, "Phase2EncryptionAlgorithms"),
        phase1_integrity=_values(options, "Phase1IntegrityAlgorithms"),
        phase2_integrity=_values(options, "Phase2IntegrityAlgorithms"),
        phase1_groups=_values(options, "Phase1DHGroupNumbers"),
        phase2_groups=_values(options, "Phase2DHGroupNumbers"),
        logged=bool(log.get("LogEnabled")),
        certificate_arn=telemetry.get("CertificateArn") or None,
    )


def _values(options: Response, key: str) -> list[Any]:
    return sorted(each["Value"] for each in options.get(key) or ())


def weak_options(tunnels: Iterable[VpnConnection.Tunnel]) -> set[str]:
    """Give what tunnels admit and should not; what nothing was chosen for admits all."""
    found: set[str] = set()
    for tunnel in tunnels:
        if _WEAK_VERSION in (tunnel.ike_versions or _ALL_VERSIONS):
            found.add(_WEAK_VERSION)
        for integrity in (tunnel.phase1_integrity, tunnel.phase2_integrity):
            if _WEAK_INTEGRITY in (integrity or _ALL_INTEGRITY):
                found.add(_WEAK_INTEGRITY)
        for groups in (tunnel.phase1_groups, tunnel.phase2_groups):
            found |= {f"DH{each}" for each in groups or _ALL_GROUPS if each in _WEAK_GROUPS}
    return found


COLLECTOR = Collector(
    "vpn",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
