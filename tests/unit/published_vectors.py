"""Published test vectors of the primitives, as the distribution cryptography-vectors holds them."""

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cryptography_vectors


def read(name: str) -> str:
    with cryptography_vectors.open_vector_file(name, "r") as file:
        return str(file.read())


def cases(name: str) -> Iterator[dict[str, str]]:
    """Give the cases of a file of lines ``Name = value``; sections in brackets stay in force.

    A case ends where a name comes again, or a section.
    """
    section: dict[str, str] = {}
    case: dict[str, str] = {}
    for line in read(name).splitlines():
        key, _, value = (part.strip() for part in line.strip("[]").lower().partition("="))
        if not line or line.startswith("#"):
            continue
        if case and (key in case or line.startswith("[")):
            yield section | case
            case = {}
        (section if line.startswith("[") else case)[key] = value
    yield section | case


def data(case: dict[str, str], name: str) -> bytes:
    return bytes.fromhex(case.get(name, ""))


def chunked_encryption() -> list[dict[str, Any]]:
    """Give the vectors of C2SP chunked encryption with AES-256-GCM, made bytes.

    Their keys are derived with SHA-256, not with the SHA-512 of Cobblestone: they show how chunks
    are sealed. Those that end before the chunks have no key.
    """
    vectors = json.loads(read("chunked-encryption/vectors.json"))["vectors"]
    found = [each for each in vectors if each["aead"] == "AEAD_AES_256_GCM" and "aead_key" in each]
    for each in found:
        sealed = base64.b64decode(each["ciphertext"])
        each["sealed"] = zlib.decompress(sealed) if each.get("compressed") else sealed
    return found


def cobblestone() -> list[dict[str, Any]]:
    """Give the vectors of Cobblestone-256 that are kept beside this file, made bytes."""
    vectors = json.loads(Path(__file__).with_name("cobblestone_256.json").read_text())["tests"]
    for each in vectors:
        each["sealed"] = zlib.decompress(bytes.fromhex(each["ct"]))
        each["key"], each["ctx"] = bytes.fromhex(each["key"]), bytes.fromhex(each["ctx"])
    return list(vectors)
