"""A contract with every form of route, parameter and bound, compiled when the tests run."""

import importlib
import tempfile
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_tools import protoc

from gateway.contracts import Deployable
from mesh.contract.catalogue import Method, build_catalogue

PACKAGE = "secmesh.trial.v1"
TRIAL = """
syntax = "proto3";
package secmesh.trial.v1;

import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/api/httpbody.proto";
import "google/api/resource.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "secmesh/options/v1/field.proto";
import "secmesh/options/v1/kind.proto";
import "secmesh/options/v1/method.proto";

enum Colour {
  COLOUR_UNSPECIFIED = 0;
  COLOUR_RED = 1;
  COLOUR_BLUE = 2;
}

message Box {
  option (google.api.resource) = {
    type: "secmesh.dev/Box"
    pattern: "tenants/{tenant}/boxes/{box}"
  };
  option (secmesh.options.v1.kind) = {module: "trial" collection: "boxes"};

  string name = 1 [(google.api.field_behavior) = IDENTIFIER];
  string title = 2 [
    (google.api.field_behavior) = REQUIRED,
    (buf.validate.field).string = {min_len: 1 max_len: 9 pattern: "^[a-z]*$"}
  ];
  Colour colour = 3 [(buf.validate.field).enum = {in: [1, 2]}];
  int32 size = 4 [(buf.validate.field).int32 = {gt: 0 lte: 10}];
  int64 weight = 5 [(buf.validate.field).int64 = {gte: 1 lt: 100}];
  bytes seal = 6 [(buf.validate.field).bytes = {min_len: 1 max_len: 4}];
  repeated string tags = 7 [(buf.validate.field).repeated = {
    min_items: 1 max_items: 3 unique: true items: {string: {in: ["a", "b"]}}
  }];
  map<string, int32> counts = 8 [(buf.validate.field).map = {
    min_pairs: 1 max_pairs: 2 keys: {string: {max_len: 5}} values: {int32: {gte: 0}}
  }];
  Box inner = 9;
  map<string, Box> named = 10;
  repeated Box listed = 11;
  google.protobuf.Struct facts = 12;
  google.protobuf.Any thing = 13;
  string secret = 14 [(secmesh.options.v1.field).sensitivity = SENSITIVITY_SECRET];
  string etag = 15 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.protobuf.Duration age = 16 [(buf.validate.field).duration = {gte: {seconds: 1}}];
  double ratio = 17 [(buf.validate.field).double = {gte: 0 lt: 1}];
  string mail = 18 [(buf.validate.field).string.email = true];
  string nick = 19 [(buf.validate.field) = {
    ignore: IGNORE_IF_ZERO_VALUE string: {min_len: 3}
  }];
  optional string alias = 24 [(buf.validate.field) = {
    ignore: IGNORE_IF_ZERO_VALUE string: {min_len: 3}
  }];
  int32 level = 25 [(buf.validate.field) = {ignore: IGNORE_IF_ZERO_VALUE int32: {gte: 5}}];
  oneof content {
    string text = 20;
    bytes data = 21;
  }
  oneof owner {
    option (buf.validate.oneof).required = true;
    string person = 22;
    string team = 23;
  }
}

message FindRequest {
  bool open = 1;
  double ratio = 2;
  int64 weight = 3;
  uint32 count = 4;
  Colour colour = 5;
  repeated Colour colours = 6;
  repeated string tags = 7;
  google.protobuf.Timestamp since = 8;
  google.protobuf.Duration within = 9;
  google.protobuf.FieldMask mask = 10;
  bytes seal = 11;
  Range range = 12;
  map<string, string> labels = 13;
  repeated Range ranges = 14;
  string text = 15;
}

message Range {
  int32 low = 1;
  int32 high_end = 2;
}

message GetBoxRequest {
  string name = 1;
}

message PutBoxRequest {
  string parent = 1 [(google.api.field_behavior) = REQUIRED];
  Box box = 2;
  bytes image = 3 [(buf.validate.field).bytes.max_len = 30000000];
}

message UpdateBoxRequest {
  Box box = 1 [(google.api.field_behavior) = REQUIRED];
  google.protobuf.FieldMask update_mask = 2;
}

message UploadBoxRequest {
  string parent = 1;
  google.api.HttpBody file = 2;
}

service BoxService {
  rpc GetBox(GetBoxRequest) returns (Box) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (secmesh.options.v1.method).permission = "trial.boxes.get";
    option (google.api.http) = {
      get: "/trial/v1/{name=tenants/*/boxes/*}"
      additional_bindings {get: "/trial/v1/files/{name=**}"}
    };
  }
  rpc GetDefault(google.protobuf.Empty) returns (Box) {
    option (secmesh.options.v1.method).permission = "trial.boxes.get";
    option (google.api.http).get = "/trial/v1/tenants/all/boxes/default";
  }
  rpc Find(FindRequest) returns (Box) {
    option (secmesh.options.v1.method).permission = "trial.boxes.list";
    option (google.api.http).get = "/trial/v1/boxes:find";
  }
  rpc PutBox(PutBoxRequest) returns (google.protobuf.Empty) {
    option (secmesh.options.v1.method).permission = "trial.boxes.create";
    option (google.api.http) = {post: "/trial/v1/{parent=tenants/*}/boxes" body: "*"};
  }
  rpc UpdateBox(UpdateBoxRequest) returns (Box) {
    option (secmesh.options.v1.method).permission = "trial.boxes.update";
    option (google.api.http) = {patch: "/trial/v1/{box.name=tenants/*/boxes/*}" body: "box"};
  }
  rpc UploadBox(stream UploadBoxRequest) returns (Box) {
    option idempotency_level = IDEMPOTENT;
    option (secmesh.options.v1.method) = {permission: "trial.boxes.create" upload_bytes: 9000000};
    option (google.api.http) = {post: "/trial/v1/{parent=tenants/*}/boxes:upload" body: "file"};
  }
  rpc DownloadBox(GetBoxRequest) returns (google.api.HttpBody) {
    option (secmesh.options.v1.method).permission = "trial.boxes.get";
    option (google.api.http).get = "/trial/v1/{name=tenants/*/boxes/*}:download";
  }
}
"""


@cache
def trial() -> Deployable:
    """Give the deployable of TRIAL."""
    return Deployable("trial", build_catalogue(PACKAGE, [_compile("gateway_trial.proto", TRIAL)]))


def method(name: str) -> Method:
    return trial().catalogue.methods[f"/{PACKAGE}.BoxService/{name}"]


def _compile(path: str, text: str) -> FileDescriptor:
    """Compile a contract and add it to the pool of this process."""
    with (
        tempfile.TemporaryDirectory() as folder,
        as_file(files("secmesh") / "image.binpb") as image,
        as_file(files("grpc_tools") / "_proto") as known,
    ):
        source, output = Path(folder) / path, Path(folder) / "out.binpb"
        source.write_text(text)
        paths = [f"--descriptor_set_in={image}", f"--proto_path={folder}", f"--proto_path={known}"]
        code = protoc.main(["protoc", *paths, f"--descriptor_set_out={output}", str(source)])
        if code:
            raise ValueError(f"{path} does not compile")
        compiled = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file[0]
    for dependency in compiled.dependency:
        importlib.import_module(dependency.removesuffix(".proto").replace("/", ".") + "_pb2")
    pool = descriptor_pool.Default()
    pool.Add(compiled)
    return pool.FindFileByName(path)
