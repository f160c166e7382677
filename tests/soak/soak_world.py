"""An account that changes at random, and what must hold of the records of it at any time."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from mesh.embedded.aws import AwsEndpoint
from secmesh.inventory.v1.record_pb2 import Record
from tests.service.collect_world import World, client

ACCOUNT = "555566667777"
"""Of these tests alone."""
MOST_BUCKETS = 12


@dataclass
class ChangingAccount:
    """Buckets come, go and change, repeatably by the seed."""

    endpoint: AwsEndpoint
    seed: int
    buckets: dict[str, str] = field(default_factory=dict)
    """State of versioning by name, as it is now."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._s3 = client(self.endpoint, "s3", ACCOUNT)
        self._made = 0

    def change(self, times: int = 3) -> None:
        """Change something, as often as this."""
        for _ in range(times):
            self._random.choice(self._possible(len(self.buckets)))()

    def _possible(self, buckets: int) -> list[Callable[[], None]]:
        if not buckets:
            return [self._create]
        if buckets >= MOST_BUCKETS:
            return [self._delete, self._version]
        return [self._create, self._create, self._delete, self._version]

    def clear(self) -> None:
        for name in self.buckets:
            self._s3.delete_bucket(Bucket=name)
        self.buckets.clear()

    def _create(self) -> None:
        name = f"soak-{self.seed}-{self._made}"
        self._made += 1
        self._s3.create_bucket(Bucket=name)
        self.buckets[name] = "Disabled"

    def _delete(self) -> None:
        name = self._random.choice(sorted(self.buckets))
        self._s3.delete_bucket(Bucket=name)
        del self.buckets[name]

    def _version(self) -> None:
        name = self._random.choice(sorted(self.buckets))
        status = self._random.choice(["Enabled", "Suspended"])
        self._s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": status})
        self.buckets[name] = status


async def check_versions(made: World, collection: str) -> int:
    """Check that versions of a record follow one another; gives how many there are.

    One at most is current, none overlaps another, and none says what the one right before it said.
    """
    by_name: dict[str, list[Record]] = defaultdict(list)
    versions = await made.versions(collection)
    for version in versions:
        by_name[version.name].append(version)
    for name, history in by_name.items():
        assert sum(not each.HasField("valid_to") for each in history) <= 1, name
        for old, new in pairwise(history):
            assert old.HasField("valid_to"), name
            assert old.valid_from.ToMicroseconds() < old.valid_to.ToMicroseconds(), name
            assert old.valid_to.ToMicroseconds() <= new.valid_from.ToMicroseconds(), name
            if old.valid_to == new.valid_from:
                assert old.etag != new.etag, name
    return len(versions)


async def check_buckets(made: World, wanted: dict[str, str]) -> None:
    """Check that the current records are the account as it is."""
    rows = (await made.rows("s3_buckets")).values()
    found = {each.s3_bucket.bucket_name: each.s3_bucket.versioning for each in rows}
    assert found == wanted


def resident_megabytes(pid: int) -> float:
    """Give the memory that a process holds now, in MiB (proc(5), VmRSS)."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def grants(**more: Any) -> dict[str, str]:
    """Give the settings that let the service read the account."""
    return {
        "SECMESH_INVENTORY_ACCOUNTS": f"acme={ACCOUNT}",
        "SECMESH_INVENTORY_ROLE": "arn:aws:iam::{account}:role/audit",
        **more,
    }
