"""When traces are made, and what statements they show."""

import pytest

from mesh.sql.tracing import MAX_TEXT, without_literals
from mesh.telemetry.tracing import outgoing, wants_tracing

COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (COLLECTOR, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4317"}, True),
        ({**COLLECTOR, "OTEL_SDK_DISABLED": "true"}, False),
        ({**COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**COLLECTOR, "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_the_environment_turns_traces_on(environment: dict[str, str], wanted: bool) -> None:
    assert wants_tracing(environment) is wanted


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT a FROM s3_buckets WHERE b = ?", "SELECT a FROM s3_buckets WHERE b = ?"),
        ("SELECT 'it''s secret' AS a", "SELECT ? AS a"),
        ("SET LOCAL statement_timeout = 4999", "SET LOCAL statement_timeout = ?"),
        ("SELECT x WHERE a = %(a_1)s LIMIT 20", "SELECT x WHERE a = %(a_1)s LIMIT ?"),
        ("SELECT x WHERE y > 1.5 AND z=-7", "SELECT x WHERE y > ? AND z=-?"),
        ("SELECT v1.a FROM t2 AS v1 WHERE v1.a = $1", "SELECT v1.a FROM t2 AS v1 WHERE v1.a = $1"),
    ],
)
def test_statements_are_shown_without_values(statement: str, shown: str) -> None:
    assert without_literals(statement) == shown


def test_long_statements_are_cut() -> None:
    assert len(without_literals("SELECT " + "a, " * 5000)) == MAX_TEXT


def test_outside_of_a_trace_nothing_is_sent_on() -> None:
    assert outgoing() == ()
