"""The frameworks: baselines of SP 800-53 as they are, others by ``mappings/*.yaml``.

A mapping holds ids, our own short titles and relations, with who says so and when. A framework
that names checks is tested by these alone; another one by the checks of its related controls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

import protovalidate
import yaml
from google.protobuf import json_format

from mesh.errors import FieldInvalid
from secmesh.inventory.v1 import framework_pb2 as pb
from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.check_catalogue import (
    BoundCheck,
    CheckCatalogue,
    shipped_ids,
)
from services.inventory.compliance.controls import (
    baseline_controls,
    baseline_title,
    load_controls,
)

_NIST = pb.FrameworkMapping(
    source="nist",
    reference="NIST SP 800-53B, control baselines",
    url="https://csrc.nist.gov/pubs/sp/800/53/b/upd1/final",
    date="2020-12-10",
)
_FEDRAMP = pb.FrameworkMapping(
    source="fedramp",
    reference="FedRAMP rev 5 baselines as OSCAL profiles",
    url="https://github.com/GSA/fedramp-automation",
    date="2024-12-09",
)


class FrameworkInvalid(Exception):
    """A mapping breaks a rule; the message names the file, the control and the rule."""


@dataclass(frozen=True)
class BoundFramework:
    """A framework with its controls."""

    message: pb.Framework
    controls: Sequence[pb.FrameworkControl]
    """In the order of the publication."""
    names_checks: bool
    """Whether only the checks that it names speak for its controls."""

    def checks_of(
        self, checks: CheckCatalogue, control: pb.FrameworkControl
    ) -> tuple[BoundCheck, ...]:
        """Give the checks that speak for a control, each once, by id."""
        if self.names_checks:
            named = sorted(control.check_ids)
            return tuple(checks.checks[each] for each in named if each in checks.checks)
        found = {
            check.id: check
            for related in control.related_control_ids
            for check in checks.of(related)
        }
        return tuple(found[each] for each in sorted(found))


def framework_of(framework_id: str, field: str = "framework") -> BoundFramework:
    """Give a framework; FieldInvalid if there is none of the id."""
    found = load_frameworks().get(framework_id)
    if found is None:
        known = ", ".join(load_frameworks())
        raise FieldInvalid.of(field, f"is no framework; one of {known}")
    return found


def framework_of_baseline(baseline: ssp_pb2.Baseline.ValueType) -> BoundFramework:
    """Give the framework that a baseline is."""
    return load_frameworks()[baseline_id(baseline)]


def baseline_id(baseline: ssp_pb2.Baseline.ValueType) -> str:
    """Give the id of a baseline among the frameworks, such as ``fedramp-moderate``."""
    return ssp_pb2.Baseline.Name(baseline).removeprefix("BASELINE_").lower().replace("_", "-")


@cache
def load_frameworks() -> Mapping[str, BoundFramework]:
    """Give every framework by id, sorted. Raises FrameworkInvalid naming the culprit."""
    folder = resources.files(__package__) / "mappings"
    files = {
        file.name: file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    }
    baselines = [_baseline(each) for each in ssp_pb2.Baseline.values() if each]
    found = [*baselines, *(bind_framework(name, text) for name, text in files.items())]
    by_id = {each.message.id: each for each in found}
    if len(by_id) < len(found):
        raise FrameworkInvalid("a framework stands there twice")
    return MappingProxyType(dict(sorted(by_id.items())))


def bind_framework(file: str, text: str) -> BoundFramework:
    """Read a mapping written in YAML. Raises FrameworkInvalid naming the culprit."""
    read = pb.FrameworkFile()
    try:
        json_format.ParseDict(yaml.load(text, yaml.CSafeLoader), read)
        protovalidate.validate(read)
    except (
        yaml.YAMLError,
        json_format.ParseError,
        protovalidate.ValidationError,
        # What YAML holds may be no mapping at all.
        AttributeError,
        TypeError,
    ) as error:
        raise FrameworkInvalid(f"{file}: {error}") from error
    _check_rules(file, read.framework_controls)
    return _counted(read.framework, read.framework_controls)


def _check_rules(file: str, controls: Sequence[pb.FrameworkControl]) -> None:
    seen: set[str] = set()
    for control in controls:
        culprit = f"{file}: {control.control_id}"
        if control.control_id in seen:
            raise FrameworkInvalid(f"{culprit} stands there twice")
        seen.add(control.control_id)
        for related in control.related_control_ids:
            known = load_controls().get(related)
            if known is None or known.withdrawn:
                raise FrameworkInvalid(f"{culprit}: {related} is no control of SP 800-53 rev 5")
        for check in control.check_ids:
            if check not in shipped_ids():
                raise FrameworkInvalid(
                    f"{culprit}: {check} is no check that comes with the service"
                )


def _baseline(baseline: ssp_pb2.Baseline.ValueType) -> BoundFramework:
    identifier = baseline_id(baseline)
    mapping = _FEDRAMP if identifier.startswith("fedramp-") else _NIST
    message = pb.Framework(
        id=identifier,
        title=baseline_title(baseline),
        publisher="FedRAMP" if mapping is _FEDRAMP else "NIST",
        version="SP 800-53 rev 5",
        baseline=baseline,
        mapping=mapping,
    )
    known = load_controls()
    controls = [
        pb.FrameworkControl(control_id=each, title=known[each].title, related_control_ids=[each])
        for each in baseline_controls(baseline)
    ]
    return _counted(message, controls)


def _counted(message: pb.Framework, controls: Sequence[pb.FrameworkControl]) -> BoundFramework:
    message.controls = len(controls)
    message.mapped = sum(bool(each.related_control_ids or each.check_ids) for each in controls)
    names_checks = any(each.check_ids for each in controls)
    return BoundFramework(message, tuple(controls), names_checks)
