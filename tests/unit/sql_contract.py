"""A contract with every type of field, compiled when the tests run."""

import importlib
import tempfile
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from mesh.contract.catalogue import Catalogue, build_catalogue

SAMPLE = """
syntax = "proto3";
package secmesh.sample.v1;

import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/resource.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/timestamp.proto";
import "google/rpc/status.proto";
import "secmesh/options/v1/field.proto";
import "secmesh/options/v1/kind.proto";
import "secmesh/options/v1/method.proto";
import "secmesh/records/v1/record_requests.proto";

enum Level {
  LEVEL_UNSPECIFIED = 0;
  LEVEL_LOW = 1;
  LEVEL_HIGH = 5;
}

message Everything {
  option (google.api.resource) = {
    type: "secmesh.dev/Everything"
    pattern: "tenants/{tenant}/boxes/{box}/everythings/{everything}"
  };
  option (secmesh.options.v1.kind) = {
    module: "sample"
    collection: "everythings"
    natural_key: ["a_string", "an_int64"]
    indexes: {fields: ["a_bool", "a_double"]}
    indexes: {fields: ["an_sint32", "an_sint64"] unique: true}
  };

  string name = 1;
  int32 an_int32 = 2 [(buf.validate.field).int32 = {gte: -5 lte: 1000}];
  int64 an_int64 = 3;
  uint32 a_uint32 = 4;
  sint32 an_sint32 = 5;
  sint64 an_sint64 = 6;
  fixed32 a_fixed32 = 7;
  sfixed32 an_sfixed32 = 8 [(buf.validate.field).sfixed32 = {gt: 100 lt: -100}];
  sfixed64 an_sfixed64 = 9;
  float a_float = 10;
  double a_double = 11;
  bool a_bool = 12;
  string a_string = 13 [(buf.validate.field).string.max_len = 20];
  bytes some_bytes = 14 [(buf.validate.field).bytes.max_len = 16];
  Level level = 15 [(secmesh.options.v1.field).indexed = true];
  google.protobuf.Timestamp moment = 16;
  google.protobuf.Duration length = 17;
  Nested nested = 18;
  google.rpc.Status status = 19;

  optional int32 maybe_int32 = 20 [(buf.validate.field).int32.gt = 0];
  optional int64 maybe_int64 = 21;
  optional double maybe_double = 22;
  optional bool maybe_bool = 23;
  optional string maybe_string = 24 [
    (buf.validate.field).string = {min_len: 2 max_len: 8},
    (secmesh.options.v1.field).unique = true
  ];
  optional bytes maybe_bytes = 25;
  optional Level maybe_level = 26;
  optional string word = 27 [(buf.validate.field).string = {in: ["left", "right"]}];

  repeated int32 int32s = 30;
  repeated int64 int64s = 31;
  repeated uint64 uint64s = 32;
  repeated double doubles = 33;
  repeated float floats = 34;
  repeated bool bools = 35;
  repeated string strings = 36;
  repeated bytes byte_strings = 37;
  repeated Level levels = 38;
  repeated google.protobuf.Timestamp moments = 39;
  repeated google.protobuf.Duration lengths = 40;
  repeated Nested nesteds = 41;
  repeated google.rpc.Status statuses = 42;

  map<string, string> words = 50;
  map<int64, double> numbers = 51;
  map<bool, bytes> truths = 52;
  map<string, Nested> named = 53;
  map<uint32, google.rpc.Status> named_statuses = 54;
  map<string, google.protobuf.Timestamp> named_moments = 55;
  map<sint32, Level> named_levels = 56;

  oneof choice {
    string chosen_text = 60;
    int64 chosen_number = 61;
    Nested chosen_nested = 62;
  }
}

message Nested {
  string text = 1;
  optional int64 number = 2;
  uint64 big = 3;
  double ratio = 4;
  bytes raw = 5;
  Level level = 6;
  google.protobuf.Timestamp moment = 7;
  google.protobuf.Duration length = 8;
  repeated Nested inner = 9;
  map<string, Nested> named = 10;
  google.rpc.Status status = 11;
  oneof choice {
    bool yes = 12;
    string why = 13;
  }
}

message Record {
  string name = 1;
  string etag = 2;
  google.protobuf.Timestamp valid_from = 3;
  google.protobuf.Timestamp valid_to = 4;
  map<string, string> labels = 5;
  oneof body {
    Vault vault = 100;
    Plain plain = 101;
  }
}

// Holds what must never leave.
message Vault {
  option (secmesh.options.v1.kind) = {module: "sample" collection: "vaults" history: true};

  // Who owns it.
  optional string owner = 1 [(secmesh.options.v1.field).indexed = true];
  // Opens it.
  optional string password = 2 [(secmesh.options.v1.field).sensitivity = SENSITIVITY_SECRET];
  // Keys of the vault.
  repeated Key keys = 3;
  optional Key main_key = 4;
  map<string, Key> named_keys = 5;
  optional int32 size = 6;
}

message Key {
  optional string label = 1;
  optional bytes material = 2 [(secmesh.options.v1.field).sensitivity = SENSITIVITY_SECRET];
}

message Plain {
  option (secmesh.options.v1.kind) = {module: "sample" collection: "plains"};

  optional string title = 1;
  optional int32 rank = 2;
  google.rpc.Status trouble = 3;
}

service RecordService {
  rpc GetRecord(secmesh.records.v1.GetRecordRequest) returns (Record) {
    option (secmesh.options.v1.method).permission = "{kind}.get";
    option (google.api.http).get = "/sample/v1/{name=tenants/*/*/*}";
  }
  rpc ListRecords(secmesh.records.v1.ListRecordsRequest) returns (ListRecordsResponse) {
    option (secmesh.options.v1.method).permission = "{kind}.list";
    option (google.api.http).get = "/sample/v1/{parent=tenants/*/*}";
  }
  rpc ListKinds(secmesh.records.v1.ListKindsRequest)
      returns (secmesh.records.v1.ListKindsResponse) {
    option (secmesh.options.v1.method).permission = "sample.kinds.list";
    option (google.api.http).get = "/sample/v1/kinds";
  }
}

message ListRecordsResponse {
  repeated Record records = 1;
  string next_page_token = 2;
}
"""
PACKAGE = "secmesh.sample.v1"


@cache
def sample_catalogue() -> Catalogue:
    """Give the catalogue of SAMPLE."""
    return compile_contract("sql_sample.proto", SAMPLE, PACKAGE)


@cache
def compile_contract(path: str, text: str, package: str) -> Catalogue:
    """Compile a contract whose path and package no other contract of the process has."""
    with (
        tempfile.TemporaryDirectory() as folder,
        as_file(files("secmesh") / "image.binpb") as image,
    ):
        source, output = Path(folder) / path, Path(folder) / "out.binpb"
        source.write_text(text)
        code = protoc.main(
            [
                "protoc",
                f"--descriptor_set_in={image}",
                f"--proto_path={folder}",
                f"--descriptor_set_out={output}",
                str(source),
            ]
        )
        if code:
            raise ValueError(f"{path} does not compile")
        compiled = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    for dependency in compiled.file[0].dependency:
        importlib.import_module(dependency.removesuffix(".proto").replace("/", ".") + "_pb2")
    pool = descriptor_pool.Default()
    pool.Add(compiled.file[0])
    return build_catalogue(package, [pool.FindFileByName(path)])


def new(collection: str, catalogue: Catalogue | None = None) -> Any:
    """Make an empty message of a kind."""
    kinds = (catalogue or sample_catalogue()).kinds
    return message_factory.GetMessageClass(kinds[collection].message)()
