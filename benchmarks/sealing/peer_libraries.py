"""Libraries that seal values, one turn at a time; run by the python of the peers' environment.

A line ``PEER encrypt|decrypt`` on standard input asks for a turn, a JSON line answers with the
values and the CPU seconds it took. It imports nothing of this project, which is not installed
there. No peer is asked for what it lacks: each has its keys in memory, calls no KMS, is in no
server, and keeps no audit.
"""

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

CONTEXT = {"tenant": "acme", "table": "customers", "field": "note"}
BOUND = json.dumps(CONTEXT).ljust(96).encode()
"""What a value is bound to: about as many bytes as ours."""
VALUE = os.urandom(64)


class Peer(NamedTuple):
    """One library, ready."""

    turn: int
    """Values of one turn."""
    encrypt: Callable[[bytes], bytes]
    decrypt: Callable[[bytes], bytes]


def aes_gcm() -> Peer:
    """cryptography's AES-256-GCM with one key: what nothing in Python is faster than."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = AESGCM(os.urandom(32))

    def encrypt(value: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + key.encrypt(nonce, value, BOUND)

    return Peer(200_000, encrypt, lambda sealed: key.decrypt(sealed[:12], sealed[12:], BOUND))


def fernet() -> Peer:
    """cryptography's Fernet, which binds a value to nothing."""
    from cryptography.fernet import Fernet

    key = Fernet(base64.urlsafe_b64encode(os.urandom(32)))
    return Peer(30_000, key.encrypt, key.decrypt)


def tink_aead() -> Peer:
    """Tink's AES256_GCM, whose keys do not commit."""
    tink, aead = import_module("tink"), import_module("tink.aead")
    aead.register()
    handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    key = handle.primitive(aead.Aead)
    return Peer(
        150_000,
        lambda value: key.encrypt(value, BOUND),
        lambda sealed: key.decrypt(sealed, BOUND),
    )


def encryption_sdk() -> Peer:
    """AWS Encryption SDK: committing, unsigned, data keys cached, one context for all values.

    Its cache hits only where contexts are equal: one of the user's as well would make it slower.
    """
    sdk, names = (
        import_module("aws_encryption_sdk"),
        import_module("aws_encryption_sdk.identifiers"),
    )
    wrapping_keys = import_module("aws_encryption_sdk.internal.crypto.wrapping_keys")
    raw = import_module("aws_encryption_sdk.key_providers.raw")
    wrapping = wrapping_keys.WrappingKey(
        names.WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
        os.urandom(32),
        names.EncryptionKeyType.SYMMETRIC,
    )
    materials = sdk.CachingCryptoMaterialsManager(
        cache=sdk.LocalCryptoMaterialsCache(1000),
        master_key_provider=raw.RawMasterKey(
            provider_id="bench", key_id="one", wrapping_key=wrapping
        ),
        max_age=600.0,
        max_messages_encrypted=1 << 32,
    )
    policy = sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    client = sdk.EncryptionSDKClient(commitment_policy=policy)

    def encrypt(value: bytes) -> bytes:
        sealed: bytes = client.encrypt(
            source=value,
            materials_manager=materials,
            algorithm=names.Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
            encryption_context=CONTEXT,
        )[0]
        return sealed

    return Peer(
        2_000,
        encrypt,
        lambda sealed: client.decrypt(source=sealed, materials_manager=materials)[0],
    )


PEERS = {
    "AES-GCM": aes_gcm,
    "Fernet": fernet,
    "Tink": tink_aead,
    "AWS Encryption SDK": encryption_sdk,
}


def main() -> None:
    """Answer turns until standard input ends."""
    peers = {name: make() for name, make in PEERS.items()}
    sealed = {name: peer.encrypt(VALUE) for name, peer in peers.items()}
    for name, peer in peers.items():
        if peer.decrypt(sealed[name]) != VALUE:
            raise AssertionError(f"{name} does not open what it sealed")
    print(json.dumps(list(peers)), flush=True)
    for line in sys.stdin:
        name, _, operation = line.strip().rpartition(" ")
        peer = peers[name]
        work, value = (
            (peer.encrypt, VALUE) if operation == "encrypt" else (peer.decrypt, sealed[name])
        )
        began = time.process_time()
        for _ in range(peer.turn):
            work(value)
        seconds = time.process_time() - began
        print(json.dumps({"values": peer.turn, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
