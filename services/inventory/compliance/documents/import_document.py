"""A document of any format, read into a plan with its claims and passages."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from secmesh.inventory.v1 import ssp_pb2
from services.inventory.compliance.document import MAX_BYTES, root_of
from services.inventory.compliance.documents.blocks import DocumentRefused
from services.inventory.compliance.documents.bounded import extract_bounded, yaml_bounded
from services.inventory.compliance.documents.document_plan import Origin, plan_of
from services.inventory.compliance.documents.recognition import recognise
from services.inventory.compliance.ssp import Plan, plan_in, read_plan
from services.inventory.errors import SspInvalid


@dataclass(frozen=True)
class Import:
    """What is asked of a document."""

    name: str
    """Of the plan."""
    format: ssp_pb2.SspFormat.ValueType
    """Unspecified if it is to be recognised."""
    file_name: str
    baseline: ssp_pb2.Baseline.ValueType
    import_time: datetime


def read_ssp(content: bytes, wanted: Import) -> Plan:
    """Read a plan; raises SspInvalid, saying where and why, if it cannot be read."""
    if len(content) > MAX_BYTES:
        raise SspInvalid("", f"the document has {len(content):,} bytes; {MAX_BYTES:,} are taken")
    try:
        kind = wanted.format or recognise(content, wanted.file_name)
        return _read(content, kind, wanted)
    except DocumentRefused as refused:
        raise SspInvalid(refused.place, refused.problem) from None


def _read(content: bytes, kind: ssp_pb2.SspFormat.ValueType, wanted: Import) -> Plan:
    if kind == ssp_pb2.SSP_FORMAT_OSCAL_JSON:
        return read_plan(
            wanted.name, content, baseline=wanted.baseline, import_time=wanted.import_time
        )
    digest = hashlib.sha256(content).hexdigest()
    if kind == ssp_pb2.SSP_FORMAT_OSCAL_YAML:
        known = ssp_pb2.Ssp(
            name=wanted.name, baseline=wanted.baseline, document_sha256=digest, format=kind
        )
        known.create_time.FromDatetime(wanted.import_time)
        return plan_in(root_of(yaml_bounded(content)), known)
    extract = extract_bounded(ssp_pb2.SspFormat.Name(kind), content)
    stem = PurePath(wanted.file_name).stem or wanted.name.rpartition("/")[2]
    origin = Origin(wanted.name, kind, digest, stem, wanted.baseline, wanted.import_time)
    return plan_of(extract, origin)
