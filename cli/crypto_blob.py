"""`secmesh crypto verify-blob`: a sealed value held against the documented format, offline.

It shares no code with the service: headers and contexts are read here as docs/CRYPTO.md says, and
layers are opened by the implementation of Cobblestone-256 in the library `cryptography`.
"""

import base64
import binascii
import struct
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from cli.connection import UsageProblem, connection_of
from cli.exit_codes import ExitCode
from cli.output import talk, write_rows

_HEADER = struct.Struct(">2sBBBBHII")
_SUITES = {0x01: "field", 0x02: "nested", 0x03: "stream", 0x10: "token"}
_TIERS = {0x01: 2, 0x02: 3, 0x03: 2, 0x10: 2}
_NESTED, _TOKEN = 0x02, 0x10
_LAYER = 24 + 32 + 16
_CHUNK, _TAG = 16_384, 16
_KEY_BYTES = 32
_STDIN = "-"


class BlobRefused(Exception):
    """A value that is not as the format says, or does not open."""


@dataclass(frozen=True)
class Header:
    """What a sealed value says of itself."""

    suite: int
    tier: int
    padded: bool
    field_number: int
    key_version: int
    app_key_version: int
    packed: bytes

    @property
    def inner(self) -> bytes:
        """The header in the context of the inner layer: without the user's key version."""
        return self.packed[:8] + bytes(4) + self.packed[12:]


@dataclass(frozen=True)
class Place:
    """Where a value belongs."""

    environment: str
    tenant: str
    user: uuid.UUID
    table: str
    field: str

    def context(self, label: bytes, header: bytes) -> bytes:
        """Write what the keys of a layer are derived with."""
        texts = (self.environment.encode(), self.tenant.encode(), self.user.bytes)
        return _prefixed(label, *texts, self.table.encode(), self.field.encode(), header)


def register(app: typer.Typer) -> None:
    """Add the command to those of people's data."""
    app.command("verify-blob")(verify_blob)


def verify_blob(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="File with the value, base64 or raw; - for stdin.")],
    key_file: Annotated[
        Path | None,
        typer.Option(help="File with the user's key, of a token its key: base64 of 32 bytes."),
    ] = None,
    app_keys: Annotated[
        Path | None, typer.Option(help="File of app keys, as the sealer has it.")
    ] = None,
    environment: Annotated[str, typer.Option(help="Environment of the service.")] = "",
    tenant: Annotated[str, typer.Option(help="Tenant that it belongs to.")] = "",
    user: Annotated[str, typer.Option(help="User that it belongs to, a UUID.")] = "",
    table: Annotated[str, typer.Option(help="Table that it lies in.")] = "users",
    field: Annotated[str, typer.Option(help="Field that it is a value of.")] = "",
) -> None:
    """Check the form of a sealed value and, with its keys and place, that it opens.

    The value itself is never shown. Exits with 0 if all that could be checked is right, else 1.
    """
    blob = _content(file)
    try:
        header = read_header(blob)
        verified = "form"
        if key_file is not None:
            place = _place(environment, tenant, user, table, field, header)
            app_key = None if app_keys is None else _app_key(app_keys, header, place.tenant)
            verified = opened(blob, header, place, _key(key_file), app_key)
    except BlobRefused as problem:
        talk.print(f"refused: {problem}")
        raise typer.Exit(ExitCode.REFUSED) from None
    row = {
        "suite": _SUITES[header.suite],
        "tier": header.tier,
        "padded": header.padded,
        "field_number": header.field_number,
        "key_version": header.key_version,
        "app_key_version": header.app_key_version,
        "bytes": len(blob),
        "verified": verified,
    }
    write_rows([row], connection_of(context).output)


def read_header(blob: bytes) -> Header:
    """Read and check what needs no key. Raises BlobRefused."""
    if len(blob) < _HEADER.size:
        raise BlobRefused("shorter than a header")
    magic, form, suite, tier, flags, number, version, app = _HEADER.unpack_from(blob)
    if magic != b"SM" or form != 1:
        raise BlobRefused("no sealed value of a known format")
    if _TIERS.get(suite) != tier or flags & ~1 or not number or not version:
        raise BlobRefused("the header contradicts itself")
    if bool(app) != (suite == _NESTED):
        raise BlobRefused("the version of the app key contradicts the suite")
    body = len(blob) - _HEADER.size
    layers = 2 * _LAYER if suite == _NESTED else _TAG if suite == _TOKEN else _LAYER
    whole = suite == _TOKEN or (body - _LAYER + _TAG) % (_CHUNK + _TAG) >= _TAG
    if body < layers or not whole:
        raise BlobRefused("the value was cut")
    return Header(suite, tier, bool(flags), number, version, app, blob[: _HEADER.size])


def opened(blob: bytes, header: Header, place: Place, key: bytes, app_key: bytes | None) -> str:
    """Open every layer that there are keys for and say which. Raises BlobRefused."""
    body = blob[_HEADER.size :]
    if header.suite == _TOKEN:
        return _token_opened(body, header, place, key)
    layer = _layer(key, body, place.context(b"secmesh/pii/1", header.packed))
    if header.suite == _NESTED:
        if app_key is None:
            return "outer layer"
        layer = _layer(app_key, layer, place.context(b"secmesh/pii/1/inner", header.inner))
    if header.padded and not layer.rstrip(b"\x00").endswith(b"\x80"):
        raise BlobRefused("it opens, and its padding is missing")
    return "both layers" if header.suite == _NESTED else "value"


def _layer(key: bytes, sealed: bytes, context: bytes) -> bytes:
    decryptor = Cobblestone256Decryptor(key, context)
    try:
        return decryptor.update(sealed) + decryptor.finalize()
    except InvalidTag:
        raise BlobRefused("it does not open: another key or place, or it was changed") from None


def _token_opened(body: bytes, header: Header, place: Place, key: bytes) -> str:
    label = b"secmesh/token/1"
    cipher = AESSIV(HKDFExpand(SHA512(), 64, label).derive(key))
    texts = (place.environment, place.tenant, place.table, place.field)
    bound = _prefixed(label, *(text.encode() for text in texts), header.packed)
    try:
        cipher.decrypt(body, [bound])
    except InvalidTag:
        raise BlobRefused("it does not open: another key or place, or it was changed") from None
    return "token"


def _prefixed(*items: bytes) -> bytes:
    return b"".join(len(item).to_bytes(2, "big") + item for item in items)


def _place(
    environment: str, tenant: str, user: str, table: str, field: str, header: Header
) -> Place:
    needed = {"--environment": environment, "--tenant": tenant, "--field": field}
    if header.suite != _TOKEN:
        needed["--user"] = user
    if missing := [option for option, value in needed.items() if not value]:
        raise UsageProblem(f"a key needs the place of the value, too: {', '.join(missing)}")
    try:
        who = uuid.UUID(user or str(uuid.UUID(int=0)))
    except ValueError:
        raise UsageProblem("--user is no UUID") from None
    return Place(environment, tenant.removeprefix("tenants/"), who, table, field)


def _content(file: str) -> bytes:
    """Read a value, raw or as base64 (RFC 4648)."""
    try:
        data = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    except OSError as error:
        raise UsageProblem(f"{file} cannot be read: {error.strerror}") from None
    if data.startswith(b"SM"):
        return data
    try:
        return base64.b64decode(data.strip(), validate=True)
    except binascii.Error:
        return data


def _app_key(file: Path, header: Header, tenant: str) -> bytes | None:
    """Derive the tenant's app key from the root key of the version that the value names."""
    if header.suite != _NESTED:
        return None
    lines = (line.split() for line in _lines(file))
    found = [words[-1] for words in lines if words[:1] == [f"v{header.app_key_version}"]]
    if not found:
        raise BlobRefused(f"{file} holds no version {header.app_key_version} of the app key")
    bound = _prefixed(b"secmesh/tak/1", tenant.encode())
    return HKDFExpand(SHA512(), _KEY_BYTES, bound).derive(_decoded(file, found[0]))


def _key(file: Path) -> bytes:
    return _decoded(file, " ".join(_lines(file)))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("ascii").splitlines()
    except (OSError, UnicodeError):
        raise UsageProblem(f"{file} is no readable file of keys") from None


def _decoded(file: Path, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise UsageProblem(f"{file} holds no key of 32 bytes in base64")
    return key
