"""Which events of a trail a metric filter matches."""

from typing import Any

import pytest

from services.inventory.collect.filter_pattern import matcher
from services.inventory.collect.watched_events import CLASSES, classes_of, watcher

EVENT: dict[str, Any] = {
    "eventName": "ConsoleLogin",
    "eventSource": "signin.amazonaws.com",
    "userIdentity": {"type": "Root", "sessionContext": None},
    "additionalEventData": {"MFAUsed": "No"},
    "readOnly": False,
    "bytes": 12,
    "resources": [{"ARN": "arn:aws:s3:::acme"}],
}


@pytest.mark.parametrize(
    "pattern",
    [
        "{ $.eventName = ConsoleLogin }",
        '{$.eventName="ConsoleLogin"}',
        "{ $.eventName = Console* }",
        '{ $.eventName = "*sole*" }',
        "{ $.eventName = %^Console[A-Z]% }",
        '{ ($.eventName = "ConsoleLogin") && ($.additionalEventData.MFAUsed != "Yes") }',
        "{ $.eventName = X || $.eventName = ConsoleLogin && $.bytes > 10 }",
        "{ $.bytes >= 12 && $.bytes <= 12 && $.bytes < 13 }",
        "{ $.userIdentity.invokedBy NOT EXISTS }",
        "{ $.userIdentity.sessionContext IS NULL }",
        "{ $.readOnly IS FALSE }",
        '{ $.resources[0].ARN = "arn:aws:s3:::*" }',
        '{ $["eventName"] = ConsoleLogin }',
    ],
)
def test_patterns_that_match(pattern: str) -> None:
    assert matcher(pattern)(EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "ConsoleLogin",
        "[a, b]",
        "{ $.eventName = Console }",
        "{ $.eventName != ConsoleLogin }",
        # What is not there is neither equal nor unequal.
        "{ $.errorCode != AccessDenied }",
        "{ $.errorCode = * }",
        "{ $.bytes > 12 }",
        "{ $.eventName > 12 }",
        "{ $.readOnly IS TRUE }",
        "{ $.eventName NOT EXISTS }",
        "{ $.userIdentity = Root }",
        "{ $.resources[1].ARN = * }",
        "{ $.resources.ARN = * }",
        '{ $.eventName = "[A-Z]onsoleLogin" }',
    ],
)
def test_patterns_that_do_not_match(pattern: str) -> None:
    assert not matcher(pattern)(EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        "{",
        "{ }",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = b",
        "{ $.a = b } }",
        "{ ($.a = b }",
        "{ $.a < b }",
        "{ $.a IS ODD }",
        "{ $.a NOT NULL }",
        "{ $.a = %[% }",
        "{ $.a && $.b }",
        "{ a = b }",
        "{ $.a = ; | }",
        "{" + "(" * 20_000 + "$.a = b" + ")" * 20_000 + "}",
    ],
)
def test_what_is_no_pattern_matches_nothing(pattern: str) -> None:
    assert not matcher(pattern)({"a": "b"})


def test_patterns_of_the_benchmark_pick_their_class() -> None:
    for name, events in CLASSES.items():
        if name == "root-use":
            continue
        named = " || ".join(f"($.eventName = {event['eventName']})" for event in events)
        pattern = f"{{ ($.eventSource = {events[0]['eventSource']}) && ({named}) }}"
        picks = watcher(pattern)
        assert picks is not None
        assert classes_of(picks) == [name]
        assert all(map(picks, events))


def test_the_root_users_pattern() -> None:
    picks = watcher(
        '{ $.userIdentity.type = "Root" && $.userIdentity.invokedBy NOT EXISTS && '
        '$.eventType != "AwsServiceEvent" }'
    )
    assert picks is not None
    assert classes_of(picks) == ["root-use"]


def test_a_pattern_that_picks_everything_picks_nothing_out() -> None:
    assert watcher("{ $.eventName = * }") is None
