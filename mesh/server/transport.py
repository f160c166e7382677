"""How callers reach a server: over TLS, or in the clear where that is safe or wanted."""

import grpc

from mesh.server.settings import ServerSettings
from mesh.tls import KeyPair, ServerTls, TlsInvalid


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """Give the credentials of a server, None to serve in the clear.

    Raises TlsInvalid, also for plaintext beyond loopback that nobody allowed.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is not None and key is not None:
        return ServerTls(KeyPair(certificate, key), settings.tls_client_ca).credentials()
    if certificate is not None or key is not None or settings.tls_client_ca is not None:
        raise TlsInvalid("TLS needs both a certificate (tls_certificate) and its key (tls_key)")
    if settings.is_loopback or settings.allow_plaintext:
        return None
    raise TlsInvalid(
        f"{settings.listen} is not on loopback: give tls_certificate and tls_key, or say "
        "allow_plaintext if the network is trusted"
    )
