"""What the contracts say of each method: how long it may take, and whether it may be repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto, MethodOptions

from secmesh.options.v1 import method_pb2

DEFAULT_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True)
class Rule:
    """One method as a caller must know it."""

    path: str
    """As gRPC writes it, ``/package.Service/Method``."""
    timeout: timedelta
    idempotent: bool
    """Safe to send again."""
    watches: bool
    """A stream that begins with the state as it stands: one that broke can be begun again."""
    request: str
    """Full name of the request message."""


def time_limit(options: MethodOptions) -> timedelta:
    """Give the longest that a call of a method with these options may take."""
    rule = options.Extensions[method_pb2.method]
    return rule.timeout.ToTimedelta() if rule.HasField("timeout") else DEFAULT_TIMEOUT


def is_idempotent(options: MethodOptions) -> bool:
    """Tell whether the contract states NO_SIDE_EFFECTS or IDEMPOTENT."""
    return options.idempotency_level != MethodOptions.IdempotencyLevel.IDEMPOTENCY_UNKNOWN


@cache
def rules(package: str = "") -> Mapping[str, Rule]:
    """Give the rules of a package's methods, or of all packages, by gRPC path.

    Raises ValueError if there is no such package.
    """
    found = {}
    for file in _image().file:
        if package in ("", file.package):
            for service in file.service:
                for method in service.method:
                    if method.options.HasExtension(method_pb2.method):
                        rule = _rule(f"/{file.package}.{service.name}/{method.name}", method)
                        found[rule.path] = rule
    if not found:
        raise ValueError(f"no contract of {package} has a method")
    return MappingProxyType(found)


def rule_of(request: str) -> Rule | None:
    """Give the method that takes a message; requests belong to one method each (AIP-136)."""
    return next((rule for rule in rules().values() if rule.request == request), None)


def _image() -> FileDescriptorSet:
    # Not kept: it takes 9 MiB.
    return FileDescriptorSet.FromString((files("secmesh") / "image.binpb").read_bytes())


def _rule(path: str, method: MethodDescriptorProto) -> Rule:
    idempotent = is_idempotent(method.options)
    return Rule(
        path=path,
        timeout=time_limit(method.options),
        idempotent=idempotent,
        watches=idempotent and method.server_streaming and method.name.startswith("Watch"),
        request=method.input_type.removeprefix("."),
    )
