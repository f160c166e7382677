"""A contract whose records callers write, with every rule a field can have."""

from functools import cache
from typing import Any

from google.protobuf import message_factory

from mesh.contract.catalogue import Catalogue
from tests.unit.sql_contract import compile_contract

PACKAGE = "secmesh.store.v1"
RULES = 'pattern: "^tenants/[a-z][a-z0-9-]{2,62}/[a-z_]+(/[A-Za-z0-9._~-]{1,128})?$"'
CONTRACT = """
syntax = "proto3";
package secmesh.store.v1;

import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/api/resource.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
import "google/rpc/status.proto";
import "secmesh/options/v1/field.proto";
import "secmesh/options/v1/kind.proto";
import "secmesh/options/v1/method.proto";
import "secmesh/records/v1/aggregate.proto";
import "secmesh/records/v1/ingest.proto";
import "secmesh/records/v1/record_requests.proto";
import "secmesh/records/v1/watch.proto";
import "secmesh/records/v1/write_requests.proto";

message Record {
  string name = 1;
  string etag = 2 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.protobuf.Timestamp create_time = 3 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.protobuf.Timestamp update_time = 4 [(google.api.field_behavior) = OUTPUT_ONLY];
  map<string, string> labels = 5 [(buf.validate.field).map = {
    max_pairs: 3 keys: {string: {max_len: 8}}
  }];
  google.protobuf.Timestamp valid_from = 6 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.protobuf.Timestamp valid_to = 7 [(google.api.field_behavior) = OUTPUT_ONLY];
  oneof body {
    Item item = 100;
    Shelf shelf = 101;
    Tale tale = 102;
    Reading reading = 103;
    Entry entry = 104;
    Safe safe = 105;
  }
}

message Item {
  option (secmesh.options.v1.kind) = {module: "store" collection: "items"};

  optional string title = 1 [
    (google.api.field_behavior) = REQUIRED,
    (buf.validate.field).string = {min_len: 1 max_len: 20}
  ];
  optional int32 rank = 2 [(buf.validate.field).int32.lte = 100];
  optional string origin = 3 [(google.api.field_behavior) = IMMUTABLE];
  optional int32 score = 4 [(google.api.field_behavior) = OUTPUT_ONLY];
  optional string password = 5 [(secmesh.options.v1.field).sensitivity = SENSITIVITY_SECRET];
  Door door = 6;
  repeated Door doors = 7;
  map<string, Door> named_doors = 8;
  repeated string tags = 9 [(buf.validate.field).repeated.max_items = 3];
  bool sealed = 10;
  optional string serial = 11 [(secmesh.options.v1.field).unique = true];
  optional string shelf = 12 [
    (buf.validate.field).string.min_len = 20,
    (secmesh.options.v1.field).references = "shelves"
  ];
  optional string spare_shelf = 13 [
    (secmesh.options.v1.field) = {references: "shelves" on_delete: ON_DELETE_SET_NULL}
  ];
  optional string parent_item = 14 [
    (secmesh.options.v1.field) = {references: "items" on_delete: ON_DELETE_CASCADE}
  ];
}

message Door {
  optional string colour = 1;
  optional string code = 2 [(secmesh.options.v1.field).sensitivity = SENSITIVITY_SECRET];
  optional int32 width = 3;
  optional int32 opened = 4 [(google.api.field_behavior) = OUTPUT_ONLY];
}

message Shelf {
  option (secmesh.options.v1.kind) = {
    module: "store" collection: "shelves" natural_key: ["room", "wall", "place"]
  };

  string room = 1;
  optional int32 place = 2;
  optional string wall = 3;
}

message Tale {
  option (secmesh.options.v1.kind) = {module: "store" collection: "tales" history: true};

  optional string text = 1;
}

message Reading {
  option (secmesh.options.v1.kind) = {module: "store" collection: "readings" output_only: true};

  optional double value = 1;
}

message Entry {
  option (secmesh.options.v1.kind) = {module: "store" collection: "entries" append_only: true};

  optional string line = 1 [(buf.validate.field).string.max_len = 100];
  google.protobuf.Timestamp at = 2;
}

message Safe {
  option (secmesh.options.v1.kind) = {module: "store" collection: "safes" history: true};

  optional string title = 1;
  optional string pin = 2 [
    (buf.validate.field).string.max_len = 12,
    (secmesh.options.v1.field) = {sensitivity: SENSITIVITY_SECRET at_rest: AT_REST_HASHED}
  ];
  optional string code = 3 [
    (google.api.field_behavior) = IMMUTABLE,
    (buf.validate.field).string.max_len = 20,
    (secmesh.options.v1.field) = {
      unique: true sensitivity: SENSITIVITY_SECRET at_rest: AT_REST_HASHED
    }
  ];
  optional string token = 4 [
    (buf.validate.field).string.max_len = 20,
    (secmesh.options.v1.field) = {sensitivity: SENSITIVITY_SECRET at_rest: AT_REST_SEALED}
  ];
  repeated string words = 5 [
    (secmesh.options.v1.field) = {sensitivity: SENSITIVITY_SECRET at_rest: AT_REST_SEALED}
  ];
  Door door = 6 [
    (secmesh.options.v1.field) = {sensitivity: SENSITIVITY_SECRET at_rest: AT_REST_SEALED}
  ];
  optional string phone = 7 [
    (buf.validate.field).string.max_len = 20,
    (secmesh.options.v1.field) = {sensitivity: SENSITIVITY_PII at_rest: AT_REST_SEALED}
  ];
  repeated string notes = 8 [
    (secmesh.options.v1.field) = {sensitivity: SENSITIVITY_PII at_rest: AT_REST_SEALED}
  ];
}

message IngestRecordsRequest {
  string parent = 1 [(google.api.resource_reference).type = "*"];
  bool validate_only = 2;
  string stream_id = 3;
  repeated IngestItem items = 4 [(buf.validate.field).repeated.items.ignore = IGNORE_ALWAYS];
}

message IngestItem {
  int64 sequence = 1;
  Record record = 2 [(buf.validate.field).ignore = IGNORE_ALWAYS];
}

message CreateRecordRequest {
  string parent = 1 [
    (google.api.field_behavior) = REQUIRED,
    (google.api.resource_reference).type = "*",
    (buf.validate.field).string = {RULES}
  ];
  Record record = 2 [(buf.validate.field).ignore = IGNORE_ALWAYS];
  string record_id = 3;
  string request_id = 4 [(buf.validate.field) = {UUID}];
}

message UpdateRecordRequest {
  Record record = 1 [(buf.validate.field).ignore = IGNORE_ALWAYS];
  google.protobuf.FieldMask update_mask = 2;
  bool allow_missing = 3;
  string request_id = 4 [(buf.validate.field) = {UUID}];
}

message BatchWriteRecordsRequest {
  string parent = 1 [
    (google.api.field_behavior) = REQUIRED,
    (google.api.resource_reference).type = "*"
  ];
  repeated RecordWrite writes = 2;
  bool return_partial_success = 3;
  bool validate_only = 4;
  string request_id = 5 [(buf.validate.field) = {UUID}];
}

message RecordWrite {
  oneof write {
    CreateRecordRequest create = 1;
    UpdateRecordRequest update = 2;
    secmesh.records.v1.DeleteRecordRequest delete = 3;
  }
}

message BatchWriteRecordsResponse {
  repeated RecordWriteResult results = 1;
}

message RecordWriteResult {
  Record record = 1;
  google.rpc.Status error = 2;
}

message ListRecordsResponse {
  repeated Record records = 1;
  string next_page_token = 2;
  map<string, Record> expanded = 3;
}

message WatchRecordsResponse {
  string revision = 1;
  oneof event {
    RecordEvent changed = 2;
    secmesh.records.v1.WatchBookmark bookmark = 3;
    google.rpc.Status ended = 4;
  }
}

message RecordEvent {
  string name = 1;
  secmesh.records.v1.RecordChangeType type = 2;
  Record before = 3;
  Record after = 4;
  google.protobuf.Timestamp change_time = 5;
  string actor = 6;
}

message ListRecordVersionsResponse {
  repeated Record records = 1;
  string next_page_token = 2;
}

service RecordService {
  rpc GetRecord(secmesh.records.v1.GetRecordRequest) returns (Record) {
    option (secmesh.options.v1.method).permission = "{kind}.get";
    option (google.api.http).get = "/store/v1/{name=tenants/*/*/*}";
  }
  rpc ListRecords(secmesh.records.v1.ListRecordsRequest) returns (ListRecordsResponse) {
    option (secmesh.options.v1.method).permission = "{kind}.list";
    option (google.api.http).get = "/store/v1/{parent=tenants/*/*}";
  }
  rpc ListRecordVersions(secmesh.records.v1.ListRecordVersionsRequest)
      returns (ListRecordVersionsResponse) {
    option (secmesh.options.v1.method).permission = "{kind}.get";
    option (google.api.http).get = "/store/v1/{parent=tenants/*/*/*}:versions";
  }
  rpc WatchRecords(secmesh.records.v1.WatchRecordsRequest) returns (stream WatchRecordsResponse) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (secmesh.options.v1.method) = {
      permission: "{kind}.list" timeout: {seconds: 3600} any_kind: true
    };
    option (google.api.http) = {
      get: "/store/v1/{parent=tenants/*/*}:watch"
      additional_bindings {get: "/store/v1/{parent=tenants/*}:watch"}
    };
  }
  rpc AggregateRecords(secmesh.records.v1.AggregateRecordsRequest)
      returns (secmesh.records.v1.AggregateRecordsResponse) {
    option (secmesh.options.v1.method).permission = "{kind}.list";
    option (google.api.http) = {post: "/store/v1/{parent=tenants/*/*}:aggregate" body: "*"};
  }
  rpc CreateRecord(CreateRecordRequest) returns (Record) {
    option (secmesh.options.v1.method).permission = "{kind}.create";
    option (google.api.http) = {post: "/store/v1/{parent=tenants/*/*}" body: "record"};
  }
  rpc UpdateRecord(UpdateRecordRequest) returns (Record) {
    option (secmesh.options.v1.method).permission = "{kind}.update";
    option (google.api.http) = {patch: "/store/v1/{record.name=tenants/*/*/*}" body: "record"};
  }
  rpc DeleteRecord(secmesh.records.v1.DeleteRecordRequest) returns (google.protobuf.Empty) {
    option (secmesh.options.v1.method).permission = "{kind}.delete";
    option (google.api.http).delete = "/store/v1/{name=tenants/*/*/*}";
  }
  rpc BatchWriteRecords(BatchWriteRecordsRequest) returns (BatchWriteRecordsResponse) {
    option (secmesh.options.v1.method).permission = "store.records.batch";
    option (google.api.http) = {post: "/store/v1/{parent=tenants/*}:batchWrite" body: "*"};
  }
  rpc IngestRecords(stream IngestRecordsRequest)
      returns (stream secmesh.records.v1.IngestRecordsResponse) {
    option (secmesh.options.v1.method) = {
      permission: "store.records.ingest" timeout: {seconds: 600}
    };
    option (google.api.http) = {post: "/store/v1/{parent=tenants/*}:ingest" body: "*"};
  }
}
""".replace("RULES", RULES).replace("UUID", "ignore: IGNORE_IF_ZERO_VALUE string: {uuid: true}")


@cache
def store_catalogue() -> Catalogue:
    """Give the catalogue of CONTRACT."""
    return compile_contract("record_contract.proto", CONTRACT, PACKAGE)


def message(name: str, **fields: Any) -> Any:
    """Make a message of the contract."""
    catalogue = store_catalogue()
    file = catalogue.kinds["items"].descriptor.file
    return message_factory.GetMessageClass(file.message_types_by_name[name])(**fields)


def request_of(method: str, **fields: Any) -> Any:
    """Make the request of a method."""
    path = f"/{PACKAGE}.RecordService/{method}"
    descriptor = store_catalogue().methods[path].descriptor.input_type
    return message_factory.GetMessageClass(descriptor)(**fields)
