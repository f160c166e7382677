"""Where a channel leads, and whether a token may travel there."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from secmesh_client.loopback import is_loopback

HTTPS_PORT = 443
HTTP_PORT = 80


@dataclass(frozen=True)
class Tls:
    """How to meet a server over TLS. Files are PEM."""

    ca: Path | None = None
    """Certificates of the authorities to trust; else those that gRPC brings."""
    certificate: Path | None = None
    """The client's own certificate chain, for mTLS."""
    key: Path | None = None
    """The private key of ``certificate``."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises ValueError if one of certificate and key is missing, OSError."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("mTLS takes a certificate and its key")
        return grpc.ssl_channel_credentials(
            *(path.read_bytes() if path else None for path in (self.ca, self.key, self.certificate))
        )


def resolve(target: str, tls: Tls | None) -> tuple[str, grpc.ChannelCredentials | None]:
    """Give gRPC's name for a target, and the credentials that its scheme or ``tls`` ask for.

    A target is ``https://HOST[:PORT]``, ``http://HOST[:PORT]`` or a name of gRPC such as
    ``HOST:PORT``, ``unix:PATH``. Raises ValueError if it is none of them.
    """
    if not target.startswith(("http://", "https://")):
        return target, tls.credentials() if tls is not None else None
    url = urlsplit(target)
    if not url.hostname or url.path.rstrip("/") or url.query or url.fragment or url.username:
        raise ValueError("a target's URL is http://HOST:PORT or https://HOST:PORT")
    secure = url.scheme == "https"
    if tls is not None and not secure:
        raise ValueError("tls and http:// contradict each other")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    port = url.port or (HTTPS_PORT if secure else HTTP_PORT)
    return f"{host}:{port}", (tls or Tls()).credentials() if secure else None


def require_safe_target(
    target: str, credentials: grpc.ChannelCredentials | None, *, allow_plaintext: bool
) -> None:
    """Refuse to send a token over the network in the clear. Raises ValueError."""
    if credentials is not None or allow_plaintext or target.startswith("unix:"):
        return
    address = target.removeprefix("dns:").lstrip("/").removeprefix("ipv4:").removeprefix("ipv6:")
    if not is_loopback(address.rpartition(":")[0]):
        raise ValueError(f"{target} is not on loopback: use TLS, or allow_plaintext")
