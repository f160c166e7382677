"""IAM's credential report, read."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.collect.credential_report import KeyLine, UserLine, parse
from services.inventory.collect.iam_users import device_type, unused_since

COLUMNS = [
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    *(
        f"access_key_{slot}_{name}"
        for slot in (1, 2)
        for name in (
            "active",
            "last_rotated",
            "last_used_date",
            "last_used_region",
            "last_used_service",
        )
    ),
    *(f"cert_{slot}_{name}" for slot in (1, 2) for name in ("active", "last_rotated")),
]
ABSENT = st.sampled_from(["N/A", "no_information", "not_supported"])
T = datetime(2026, 1, 1, tzinfo=UTC)


def written(*rows: dict[str, str], columns: list[str] = COLUMNS) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="N/A", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({"mfa_active": "false", **row} for row in rows)
    return text.getvalue().encode()


moments = st.datetimes(
    datetime(2010, 1, 1),  # noqa: DTZ001  # hypothesis takes naive bounds; the zone is added
    datetime(2100, 1, 1),  # noqa: DTZ001  # as above
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))


@st.composite
def keys(draw: st.DrawFn, slot: int) -> KeyLine:
    return KeyLine(
        slot=slot,
        active=draw(st.booleans()),
        last_rotated=draw(moments),
        last_used=draw(st.none() | moments),
        last_used_service=draw(st.sampled_from(["", "s3", "iam"])),
    )


@st.composite
def lines(draw: st.DrawFn) -> UserLine:
    # IAM's own alphabet for names, the comma included.
    name = draw(st.from_regex(r"[A-Za-z0-9_+=,.@-]{1,64}", fullmatch=True))
    chosen = [draw(st.none() | keys(slot)) for slot in (1, 2)]
    return UserLine(
        user=name,
        arn=f"arn:aws:iam::123456789012:user/{name}",
        created=draw(moments),
        password_enabled=draw(st.none() | st.booleans()),
        password_last_used=draw(st.none() | moments),
        password_last_changed=draw(st.none() | moments),
        mfa_active=draw(st.booleans()),
        keys=tuple(key for key in chosen if key is not None),
    )


def row_of(draw: Callable[[Any], Any], line: UserLine) -> dict[str, str]:
    """Write a line as IAM would, with any of its words for nothing."""

    def moment(value: datetime | None) -> str:
        return value.isoformat() if value else str(draw(ABSENT))

    def flag(value: bool | None) -> str:
        return str(draw(ABSENT)) if value is None else str(value).lower()

    row = {
        "user": line.user,
        "arn": line.arn,
        "user_creation_time": moment(line.created),
        "password_enabled": flag(line.password_enabled),
        "password_last_used": moment(line.password_last_used),
        "password_last_changed": moment(line.password_last_changed),
        "mfa_active": flag(line.mfa_active),
    }
    for slot in (1, 2):
        key = next((key for key in line.keys if key.slot == slot), None)
        prefix = f"access_key_{slot}"
        row |= {
            f"{prefix}_active": flag(key.active if key else False),
            f"{prefix}_last_rotated": moment(key.last_rotated if key else None),
            f"{prefix}_last_used_date": moment(key.last_used if key else None),
            f"{prefix}_last_used_service": (key.last_used_service if key else "") or draw(ABSENT),
        }
    return row


@given(st.data(), st.lists(lines(), max_size=5, unique_by=lambda line: line.arn))
def test_what_is_written_is_read(data: st.DataObject, wanted: list[UserLine]) -> None:
    text = written(*(row_of(data.draw, line) for line in wanted))
    assert parse(text) == {line.arn: line for line in wanted}


def test_the_root_user_has_a_line() -> None:
    arn = "arn:aws:iam::123456789012:root"
    line = parse(
        written(
            {"user": "<root_account>", "arn": arn, "password_enabled": "not_supported"},
            {"user": "ann", "arn": "arn:aws:iam::123456789012:user/ann"},
        )
    )
    assert line[arn].is_root
    assert line[arn].password_enabled is None
    assert not line["arn:aws:iam::123456789012:user/ann"].is_root


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_in_another_way(content: bytes) -> None:
    try:
        parse(content)
    except ValueError:
        return


@pytest.mark.parametrize("missing", ["arn", "mfa_active", "access_key_2_last_rotated"])
def test_a_missing_column_is_named(missing: str) -> None:
    columns = [name for name in COLUMNS if name != missing]
    with pytest.raises(ValueError, match=missing):
        parse(written({"user": "ann", "arn": "a"}, columns=columns))


@pytest.mark.parametrize(
    ("column", "value"), [("mfa_active", "perhaps"), ("user_creation_time", "yesterday")]
)
def test_a_word_of_no_known_form_is_refused(column: str, value: str) -> None:
    with pytest.raises(ValueError, match=value):
        parse(written({"user": "ann", "arn": "a", column: value}))


def line(
    *keys: KeyLine, enabled: bool = False, used: int | None = None, changed: int | None = None
) -> UserLine:
    return UserLine(
        user="ann",
        arn="arn",
        created=T,
        password_enabled=enabled,
        password_last_used=day(used),
        password_last_changed=day(changed),
        mfa_active=False,
        keys=keys,
    )


def day(number: int | None) -> datetime | None:
    return None if number is None else T + timedelta(days=number)


def key(*, active: bool = True, rotated: int = 0, used: int | None = None) -> KeyLine:
    return KeyLine(1, active, day(rotated), day(used), "")


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (line(), None),
        (line(key(active=False, used=9)), None),
        (line(enabled=False, used=3), None),
        (line(enabled=True, used=3, changed=1), 3),
        (line(enabled=True, changed=1), 1),
        (line(enabled=True), 0),
        (line(key(rotated=2)), 2),
        (line(key(rotated=2, used=8)), 8),
        (line(key(rotated=2, used=8), enabled=True, used=5), 5),
        (line(key(rotated=2, used=8), key(active=False, used=1), enabled=True, used=9), 8),
    ],
)
def test_idleness_counts_from_the_longest_idle_enabled_credential(
    user: UserLine, expected: int | None
) -> None:
    assert unused_since(user) == day(expected)


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        ("arn:aws:iam::123456789012:mfa/ann", "virtual"),
        ("arn:aws:iam::123456789012:u2f/user/ann/key-X", "u2f"),
        ("GAHT12345678", "hardware"),
        ("arn:aws-us-gov:iam::123456789012:mfa/path/ann", "virtual"),
    ],
)
def test_a_serial_number_tells_the_kind_of_device(serial: str, expected: str) -> None:
    assert device_type(serial) == expected
