"""A contract with an index of every sort, and rows enough that each is worth using."""

from functools import cache
from typing import Any

import sqlalchemy as sa

from mesh.contract.catalogue import Catalogue
from mesh.sql.tables import Tables
from tests.unit.sql_contract import compile_contract

CONTRACT = """
syntax = "proto3";
package secmesh.indexes.v1;
import "google/api/resource.proto";
import "google/protobuf/timestamp.proto";
import "secmesh/options/v1/field.proto";
import "secmesh/options/v1/kind.proto";

enum State { STATE_UNSPECIFIED = 0; STATE_OPEN = 1; STATE_CLOSED = 2; }

message Project {
  option (google.api.resource) = {
    type: "secmesh.dev/Project" pattern: "tenants/{tenant}/projects/{project}"
  };
  option (secmesh.options.v1.kind) = {module: "sample" collection: "projects"};
  string name = 1;
}

message Finding {
  option (google.api.resource) = {
    type: "secmesh.dev/Finding" pattern: "tenants/{tenant}/findings/{finding}"
  };
  option (secmesh.options.v1.kind) = {
    module: "sample" collection: "findings"
    natural_key: ["project_id", "fingerprint"]
    indexes: {fields: ["state", "score"]}
    indexes: {fields: ["seen", "state"]}
    indexes: {fields: ["owner_id", "state"]}
  };
  string name = 1;
  optional string project_id = 2 [(secmesh.options.v1.field).references = "projects"];
  optional string owner_id = 3 [
    (secmesh.options.v1.field) = {references: "projects" on_delete: ON_DELETE_SET_NULL}
  ];
  optional string fingerprint = 4;
  optional State state = 5;
  optional double score = 6 [(secmesh.options.v1.field).indexed = true];
  optional int64 line = 7 [(secmesh.options.v1.field).indexed = true];
  optional string path = 8 [(secmesh.options.v1.field).indexed = true];
  optional string key = 9 [(secmesh.options.v1.field).unique = true];
  google.protobuf.Timestamp seen = 10;
  repeated string tags = 11 [(secmesh.options.v1.field).indexed = true];
  repeated State states = 12 [(secmesh.options.v1.field).indexed = true];
}
"""
ROWS = 6000
"""Findings of each tenant."""
FILL = """
INSERT INTO projects (tenant_id, id) SELECT tenant, 'p' || n
FROM unnest(ARRAY['acme', 'umbrella']) AS tenant, generate_series(0, 99) AS n;
INSERT INTO findings
  (tenant_id, id, project_id, owner_id, fingerprint, state, score, line, path, key, seen,
   tags, states)
SELECT tenant, 'f' || n, 'p' || n %% 100, 'p' || n %% 99, 'print' || n,
  CASE WHEN n %% 500 = 0 THEN 1 ELSE 2 END, n / 10.0, n, 'src/' || n || '.py', 'key' || n,
  timestamptz '2026-01-01' + make_interval(hours => n),
  jsonb_build_array('t' || n %% 500, 'all'),
  CASE WHEN n %% 500 = 0 THEN '[1, 2]' ELSE '[2]' END::jsonb
FROM unnest(ARRAY['acme', 'umbrella']) AS tenant, generate_series(1, 6000) AS n;
ANALYZE;
"""


@cache
def index_catalogue() -> Catalogue:
    return compile_contract("index_sample.proto", CONTRACT, "secmesh.indexes.v1")


@cache
def index_tables() -> Tables:
    return Tables(index_catalogue(), isolated=True)


FILTERS: dict[str, list[str]] = {
    "project_id": [
        'project_id == "tenants/acme/projects/p7"',
        'project_id in ["tenants/acme/projects/p7", "tenants/acme/projects/p8"]',
    ],
    "owner_id": ['owner_id == "tenants/acme/projects/p7"'],
    "state": ["state == STATE_OPEN", "state in [STATE_OPEN]"],
    "seen": ['seen < timestamp("2026-01-02T00:00:00Z")'],
    "score": ["score < 2.0", "score == 7.5"],
    "line": ["line == 77", "line < 20"],
    "path": ['path == "src/77.py"', 'path.startsWith("src/77")'],
    "key": ['key == "key77"', 'key.startsWith("key77")'],
}
"""Conditions on the first field of each index, each of which few rows meet."""
IN_LISTS: dict[str, list[str]] = {
    "tags": ['"t7" in tags', 'tags.exists(each, each == "t7")', '"t7" in tags && line < 3000'],
    "states": ["STATE_OPEN in states", "states.exists(each, STATE_OPEN == each)"],
}
"""Conditions on the values of each list that has an index."""


def first_fields(table: sa.Table) -> dict[str, set[str]]:
    """Give the names of the indexes that begin with each field, after the tenant."""
    found: dict[str, set[str]] = {}
    for index in table.indexes:
        columns: list[Any] = list(index.columns)
        found.setdefault(columns[1].name, set()).add(str(index.name))
    return found
