"""Equal content has an equal digest, in whichever way a database writes it."""

import sqlalchemy as sa

from mesh.sql.content_digest import EMPTY, RowDigest
from mesh.sql.types import Json

DIGEST = RowDigest([sa.Column("a", sa.Text()), sa.Column("b", Json())])


def of(*rows: tuple[object, object]) -> bytes:
    digest = EMPTY
    for row in rows:
        digest = DIGEST.add(digest, row)
    return digest


def test_json_counts_by_what_it_means() -> None:
    written = of(("x", '{"b": [1.0, 1e16, {"d": null}], "a": 18446744073709551615}'))
    again = of(("x", '{"a":18446744073709551615,"b":[1,10000000000000000,{"d":null}]}'))
    assert written == again
    assert of((None, "1" + "0" * 300)) == of((None, "1e300"))
    assert of(("x", "[1.5]")) != of(("x", "[1.25]"))
    assert of(("x", "[1]")) != of(("x", "[true]"))


def test_rows_and_values_are_kept_apart() -> None:
    several = [
        of(),
        of(("", "[]")),
        of((None, "[]")),
        of(("", "{}")),
        of(("", "[]"), ("", "[]")),
        of(("a", '["b"]'), ("c", "[]")),
        of(("c", "[]"), ("a", '["b"]')),
    ]
    assert len(set(several)) == len(several)


def test_kinds_of_values_are_told_apart_and_negative_zero_is_zero() -> None:
    plain = RowDigest([sa.Column("a", sa.Double())])
    values = [1.0, 1, "1", b"1", None, 0.0]
    assert len({plain.add(EMPTY, [each]) for each in values}) == len(values)
    assert plain.add(EMPTY, [-0.0]) == plain.add(EMPTY, [0.0])
    assert plain.add(EMPTY, [True]) == plain.add(EMPTY, [1])
