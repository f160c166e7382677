"""How long a process takes to import the stubs of every kind of the security service.

Run with ``python -m benchmarks.contract_import``. Each round is a process of its own that has
imported protobuf's runtime and the options before; CPU time of the import is counted, bytecode
being cached as after an installation. Beside it stands what the descriptors alone take, which no
stub can do without: adding the same files to a pool.
"""

import os
import subprocess
import sys
import tempfile

ROUNDS = 5
LIMIT = 50.0
"""Milliseconds that the import may take."""
_BEFORE = """
import time
import google.protobuf.struct_pb2, google.protobuf.timestamp_pb2, buf.validate.validate_pb2
import google.api.annotations_pb2, google.api.field_behavior_pb2, google.api.resource_pb2
import secmesh.options.v1.kind_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
"""
_STUBS = """
began = time.process_time()
import secmesh.security.v1.record_pb2
print((time.process_time() - began) * 1000)
"""
_DESCRIPTORS = """
from mesh.contract.image import image_bytes
files = descriptor_pb2.FileDescriptorSet.FromString(image_bytes()).file
written = [(file.package, file.SerializeToString()) for file in files]
pool, own = descriptor_pool.DescriptorPool(), 0.0
for package, file in written:
    began = time.process_time()
    pool.AddSerializedFile(file)
    own += (time.process_time() - began) * (package == "secmesh.security.v1")
print(own * 1000)
"""


def milliseconds(script: str, environment: dict[str, str]) -> float:
    """Run a script in processes of its own and give the least that it told."""
    command = [sys.executable, "-c", _BEFORE + script]
    told = [
        float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
        for _ in range(ROUNDS)
    ]
    return min(told)


def main() -> int:
    """Print both; exit code 1 above the limit."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        stubs = milliseconds(_STUBS, environment)
        descriptors = milliseconds(_DESCRIPTORS, environment)
    print(
        f"stubs of all kinds {stubs:.1f} ms CPU (limit {LIMIT:.0f}), "
        f"their descriptors alone {descriptors:.1f} ms"
    )
    return 0 if stubs <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
