"""TLS from PEM files: servers that take renewed files by themselves, and channels to them."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

_LOG = logging.getLogger(__name__)
_Versions = tuple[tuple[int, int], ...]


class TlsInvalid(ValueError):
    """A file of the TLS settings is missing or wrong; the message names it."""


@dataclass(frozen=True)
class KeyPair:
    """A certificate chain, the leaf first, and its private key."""

    certificate: Path
    key: Path

    def load(self) -> tuple[bytes, bytes]:
        """Give the key and the chain as gRPC takes them. Raises TlsInvalid."""
        chain, key = _read(self.certificate), _read(self.key)
        leaf = _certificates(self.certificate, chain)[0]
        if leaf.not_valid_after_utc <= datetime.now(UTC):
            raise TlsInvalid(f"{self.certificate} expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
        try:
            public = load_pem_private_key(key, password=None).public_key()
        except (TypeError, ValueError):
            raise TlsInvalid(f"{self.key} is no private key in PEM without a password") from None
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if public.public_bytes(*form) != leaf.public_key().public_bytes(*form):
            raise TlsInvalid(f"{self.key} is not the key of {self.certificate}")
        return key, chain


def load_authorities(file: Path) -> bytes:
    """Give the certificates of authorities. Raises TlsInvalid."""
    data = _read(file)
    _certificates(file, data)
    return data


def client_credentials(authorities: Path, own: KeyPair | None = None) -> grpc.ChannelCredentials:
    """Trust servers whose certificate one of the authorities signed; show the own one if given.

    Raises TlsInvalid.
    """
    key, chain = own.load() if own is not None else (None, None)
    return grpc.ssl_channel_credentials(load_authorities(authorities), key, chain)


class ServerTls:
    """The files of one server. With authorities of clients every client must show a certificate.

    Files that change are read again before the next connection; while they are wrong, the
    ones before stay in force.
    """

    def __init__(self, own: KeyPair, client_authorities: Path | None = None) -> None:
        """Read the files. Raises TlsInvalid."""
        self._own = own
        self._authorities = client_authorities
        self._versions = self._look()
        self._first = self._load()

    def credentials(self) -> grpc.ServerCredentials:
        """Give what a server binds its port with."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._renewed,  # type: ignore[arg-type] # None is allowed: nothing has changed
            require_client_authentication=self._authorities is not None,
        )

    def _load(self) -> grpc.ServerCertificateConfiguration:
        trusted = None if self._authorities is None else load_authorities(self._authorities)
        return grpc.ssl_server_certificate_configuration([self._own.load()], trusted)

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Give the files' content if they have changed; gRPC asks before each connection."""
        versions = self._look()
        if versions == self._versions:
            return None
        self._versions = versions
        try:
            renewed = self._load()
        except TlsInvalid as problem:
            _LOG.error("renewed TLS files are not used", extra={"fields": {"why": str(problem)}})
            return None
        _LOG.info("TLS files read again")
        return renewed

    def _look(self) -> _Versions:
        files = (self._own.certificate, self._own.key, self._authorities)
        return tuple(_version(file) for file in files if file is not None)


def _version(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TlsInvalid(f"{file} cannot be read: {error.strerror}") from None


def _certificates(file: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise TlsInvalid(f"{file} holds no certificate in PEM") from None
