"""TLS of the gateway: towards callers, and towards the services with a certificate of its own."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mesh.tls import TlsInvalid

Json = dict[str, Any]
_SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_NAME = "envoy.transport_sockets.tls"


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files as Envoy sees them; empty for none."""

    certificate: str = ""
    """Chain that callers are shown; without it they are served in the clear."""
    key: str = ""
    upstream_ca: str = ""
    """Authorities of the services' certificates; without it they are called in the clear."""
    upstream_certificate: str = ""
    """Chain that services are shown (mTLS)."""
    upstream_key: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise TlsInvalid("a certificate and its key are given together")
        if bool(self.upstream_certificate) != bool(self.upstream_key):
            raise TlsInvalid("an upstream certificate and its key are given together")
        if self.upstream_certificate and not self.upstream_ca:
            raise TlsInvalid("an upstream certificate needs the authorities of the services")


def listener_tls(tls: Tls) -> Json:
    """Give the part of the listener's filter chain, empty without a certificate."""
    if not tls.certificate:
        return {}
    context = {**_common(tls.certificate, tls.key), "alpn_protocols": ["h2", "http/1.1"]}
    return _socket("DownstreamTlsContext", {"common_tls_context": context})


def cluster_tls(tls: Tls, hosts: Sequence[str]) -> Json:
    """Give the part of a service's cluster: its certificate must name one of the hosts."""
    if not tls.upstream_ca:
        return {}
    validation = {
        "trusted_ca": {"filename": tls.upstream_ca},
        "match_typed_subject_alt_names": [_alternative_name(host) for host in hosts],
    }
    context: Json = {
        **_common(tls.upstream_certificate, tls.upstream_key),
        "alpn_protocols": ["h2"],
        "validation_context": validation,
    }
    names = [host for host in hosts if not is_ip(host)]
    sni = {"sni": names[0]} if names else {}
    return _socket("UpstreamTlsContext", {"common_tls_context": context, **sni})


def _common(certificate: str, key: str) -> Json:
    common: Json = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_2"}}
    if certificate:
        pair = {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
        common["tls_certificates"] = [pair]
    return common


def _socket(kind: str, context: Json) -> Json:
    config = {"@type": f"{_SOCKETS}.{kind}", **context}
    return {"transport_socket": {"name": _NAME, "typed_config": config}}


def _alternative_name(host: str) -> Json:
    kind = "IP_ADDRESS" if is_ip(host) else "DNS"
    return {"san_type": kind, "matcher": {"exact": host}}


def is_ip(host: str) -> bool:
    """Tell whether a host is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
