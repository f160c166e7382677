"""Reads Prometheus' text format."""

import re

LINE = re.compile(r"([a-z0-9_]+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def samples(text: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Give the labels and values of one metric."""
    matches = filter(None, map(LINE.fullmatch, text.splitlines()))
    return [
        (dict(LABEL.findall(match[2] or "")), float(match[3]))
        for match in matches
        if match[1] == name
    ]


def total(text: str, name: str, **labels: str) -> float:
    """Give the sum of the values that have these labels."""
    return sum(value for found, value in samples(text, name) if labels.items() <= found.items())
