"""The RecordService of one service, as the commands on its records see it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from cli.completion import INVENTORY_WORDS, Words
from secmesh.inventory.v1 import record_service_pb2_grpc as inventory_pb2_grpc
from secmesh.security.v1 import record_pb2 as security_pb2
from secmesh.security.v1 import record_service_pb2_grpc as security_pb2_grpc


@dataclass(frozen=True)
class RecordsOf:
    """What differs between services whose records are shown alike."""

    stub: Callable[[grpc.Channel], Any]
    """Makes the stub of its RecordService; its requests are those of ``secmesh.records.v1``."""
    words: Words
    example: str
    """A collection, for help texts."""
    condition: str
    """A CEL condition on its records, for help texts."""
    keeps_past: bool = False
    """Whether what stood at an earlier time can be asked for."""


INVENTORY = RecordsOf(
    stub=inventory_pb2_grpc.RecordServiceStub,
    words=INVENTORY_WORDS,
    example="s3_buckets",
    condition='encryption == "NONE"',
    keeps_past=True,
)
SECURITY = RecordsOf(
    stub=security_pb2_grpc.RecordServiceStub,
    words=Words(security_pb2.Record.DESCRIPTOR),
    example="sast_issues",
    condition="severity == SEVERITY_HIGH",
)
