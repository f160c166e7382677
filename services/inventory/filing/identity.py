"""What makes a claim, and a failing resource, the same one in the next assessment."""

import hashlib
from typing import TypeAlias

from secmesh.inventory.v1 import assessment_pb2 as pb

VERSION = "secmesh/v1"
"""Stands before each fingerprint, so that a later way to make them can tell these apart."""
Key: TypeAlias = tuple[str, str]
"""A failing resource: the cloud's id of its account, and its fingerprint."""


def resource_key(account: str, check_id: str, resource: str) -> Key:
    """Give the key of a resource under a check; ``resource`` is its ARN, or account and region."""
    return account, f"{VERSION}:{_digest(check_id, resource)}"


def is_ours(fingerprint: str) -> bool:
    """Tell whether a fingerprint was made here: what other tools found is left to them."""
    return fingerprint.startswith(f"{VERSION}:")


def claim_prefix(ssp: str) -> str:
    """Give what the ids of a plan's claims begin with; ids of plans hold no dot."""
    return f"claim.{ssp.rpartition('/')[2]}."


def claim_id(ssp: str, verdict: pb.ClaimVerdict) -> str:
    """Give the record id of a claim: its plan, and a digest of control, statement, component.

    Not of its UUID, which tools make anew when they write the plan again.
    """
    told = _digest(ssp, verdict.control_id, verdict.statement_id, verdict.component_title)
    return f"{claim_prefix(ssp)}{told[:32]}"


def _digest(*parts: str) -> str:
    """Give SHA-256 of the parts, each after its length: no two lists of parts share their text."""
    hashed = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        hashed.update(len(encoded).to_bytes(8, "big"))
        hashed.update(encoded)
    return hashed.hexdigest()
