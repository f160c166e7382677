"""Versions of one small contract, to migrate databases between."""

from functools import cache

from mesh.sql.tables import Tables
from tests.unit.sql_contract import compile_contract

_HEAD = """
syntax = "proto3";
package secmesh.{package}.v1;
import "buf/validate/validate.proto";
import "google/api/resource.proto";
import "google/protobuf/timestamp.proto";
import "secmesh/options/v1/field.proto";
import "secmesh/options/v1/kind.proto";
enum Genre {{ GENRE_UNSPECIFIED = 0; GENRE_POETRY = 1; {genres} }}
"""
_BOOK = """
message Book {{
  option (google.api.resource) = {{
    type: "secmesh.dev/Book" pattern: "tenants/{{tenant}}/books/{{book}}"
  }};
  option (secmesh.options.v1.kind) = {{
    module: "sample" collection: "books" history: {history} {options}
  }};
  string name = 1;
  google.protobuf.Timestamp valid_from = 2;
  google.protobuf.Timestamp valid_to = 3;
  string title = 4 [(buf.validate.field).string.max_len = 20];
  Genre genre = 5;
  {fields}
}}
"""
_PAGE = """
message Page {
  option (google.api.resource) = {
    type: "secmesh.dev/Page" pattern: "tenants/{tenant}/books/{book}/pages/{page}"
  };
  option (secmesh.options.v1.kind) = {module: "sample" collection: "pages"};
  string name = 1;
  string text = 2;
}
"""
OLD_FIELDS = "optional int32 sheets = 6;"


@cache
def library(
    package: str,
    *,
    fields: str = OLD_FIELDS,
    genres: str = "",
    options: str = "",
    history: str = "true",
    pages: bool = False,
    title: str = "",
) -> Tables:
    """Give the tables of a version; each needs a package name of its own."""
    text = _HEAD.format(package=package, genres=genres)
    text += _BOOK.format(fields=fields, options=options, history=history)
    if title:
        text = text.replace("string title = 4 [(buf.validate.field).string.max_len = 20]", title)
    if pages:
        text += _PAGE
    name = f"{package}.proto"
    return Tables(compile_contract(name, text, f"secmesh.{package}.v1"))


@cache
def old_library() -> Tables:
    """Give the version that databases start from."""
    return library("library_old")
