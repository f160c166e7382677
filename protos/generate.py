"""Build everything that follows from the contracts into one ignored folder.

Run as ``python protos/generate.py [OUT]``. It writes ``OUT/secmesh/image.binpb``
(all descriptors with their comments), the message and service modules with
exact types, and nothing else. Foreign contracts come from installed
distributions: ``google/*`` from googleapis-common-protos, ``buf/validate`` from
protovalidate.
"""

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

PROTOS = Path(__file__).parent
OUT = PROTOS.parent / "gen"


def validate_descriptors() -> bytes:
    """Give ``buf/validate/validate.proto`` and its imports as a FileDescriptorSet."""
    from google.protobuf import (
        descriptor_pb2,
        duration_pb2,
        field_mask_pb2,
        timestamp_pb2,
    )
    from protovalidate._gen.buf.validate import validate_pb

    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def protoc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)


def build_image(image: Path, protos: Path = PROTOS) -> list[str]:
    """Compile a folder of contracts into one descriptor image; return their paths."""
    names = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    google = distribution("googleapis-common-protos").locate_file("")
    with tempfile.NamedTemporaryFile(suffix=".binpb") as validate:
        validate.write(validate_descriptors())
        validate.flush()
        protoc(
            f"--descriptor_set_in={validate.name}",
            f"-I{protos}",
            f"-I{google}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={image}",
            *names,
            # REST errors carry these inside google.rpc.Status, so the gateway must know them.
            "google/rpc/error_details.proto",
        )
    return names


def package_markers(root: Path) -> None:
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        if folder.name != "__pycache__":
            (folder / "__init__.py").touch()
    (root / "py.typed").touch()


def generate(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    (out / "secmesh").mkdir(parents=True)
    image = out / "secmesh" / "image.binpb"
    names = build_image(image)
    scripts = Path(sys.executable).parent
    protoc(
        f"--descriptor_set_in={image}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
        "buf/validate/validate.proto",
        *names,
    )
    services = [name for name in names if name.endswith("_service.proto")]
    protoc(
        f"--descriptor_set_in={image}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--grpc_python_out={out}",
        f"--mypy_grpc_out=quiet:{out}",
        *services,
    )
    package_markers(out / "secmesh")
    package_markers(out / "buf")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
